"""Options: a Struct declares them, and a file, the environment and flags give their values.

A settings Struct says everything about an option once, in the field's annotation: type, bounds, unit, help, and whether
it may hold a secret. Flags, variables, documentation and error messages are made from it. This module declares no option
itself.

An option has three spellings: `[mirror] expiry` in the file, `PKGINDEX_MIRROR_EXPIRY`, `--mirror-expiry`. A flag beats a
variable, a variable beats the file. All problems of all sources are reported together, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields, replace

from pkgindex_core.errors import Refused
from pkgindex_core.formats.quantities import QUANTITY, quantity
from pkgindex_core.spelling import nearest, suggestion

PREFIX: Final = "PKGINDEX_"
OTHER_VARIABLES: Final = frozenset({"PKGINDEX_CONFIG", "PKGINDEX_FAILPOINTS"})
"""Variables that are not options: the path of the file, and the failpoints of tests."""
CREDENTIALS: Final = "PKGINDEX_CREDENTIALS_"
"""The beginning of variables that are not options either: `user:password` for a host, whose name follows in capitals."""

Declared = TypeVar("Declared", bound=Struct)

# A Kubernetes service or a linked container called `pkgindex` puts PKGINDEX_PORT=tcp://10.0.0.1:3141 and its like into
# the environment of every pod beside it. They are ignored.
_SERVICE_LINK = re.compile(r"\APKGINDEX_(?:SERVICE_(?:HOST|PORT\w*)|PORT_\d+_(?:TCP|UDP)\w*|NAME|ENV_\w+)\Z")
_SERVICE_LINK_VALUE = re.compile(r"\A(?:tcp|udp)://")


def option(
    text: str,
    *,
    unit: Literal["", "bytes", "seconds"] = "",
    default: str = "",
    check: Callable[[Any], Any] | None = None,
    secret: bool = False,
    hidden: bool = False,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Meta:
    """Describe an option, inside `Annotated`, beyond its type.

    `default` is the text for a default that is not a constant. `check` gets each given value and returns it, perhaps normalised,
    or raises `Refused` or `ValueError`. A `secret` is shown without its credentials, a `hidden` option not at all.
    With a type `… | None`, an option that was not given differs from an empty one.
    """
    extra = {"unit": unit, "default": default, "check": check, "secret": secret or hidden, "hidden": hidden}
    return Meta(description=text, extra=extra, ge=at_least, le=at_most)


class Option(Struct, frozen=True, kw_only=True):
    """One option, for documentation and command lines."""

    path: tuple[str, ...]
    """The names of the tables and the option: `("mirror", "expiry")`."""
    annotation: Any
    text: str
    unit: str
    default: Any
    default_text: str
    check: Callable[[Any], Any] | None
    secret: bool
    hidden: bool

    @property
    def key(self) -> str:
        """The name in messages and in the file: `mirror.expiry`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def kind(self) -> str:
        """The form of its values, in words."""
        return _kind(self.annotation, self.unit)

    @property
    def is_open_table(self) -> bool:
        """Whether plugins define the keys of the table: it has no flag, and its variables have double underscores."""
        return get_origin(_bare(self.annotation)) is dict


def options_of(settings: type[Struct], path: tuple[str, ...] = ()) -> tuple[Option, ...]:
    """Every option that a settings Struct and its tables declare, in order."""
    return tuple(found for field in _declared(settings) for found in _options(field, path))


def load(
    settings: type[Declared],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    others: bool = False,
) -> Declared:
    """Read settings from their sources. `flags` and `defaults` go by key (`mirror.expiry`); None means not given.

    With `others` the file and the environment may have options of another program too, which are left alone.
    """
    reader = _OptionReader(options_of(settings), others=others)
    for key, value in (defaults or {}).items():
        reader.found[key] = _WrittenValue(value, "default")
    if file is not None:
        reader.read_file(file)
    reader.read_environment(environ or {})
    reader.read_flags(flags or {})
    values = reader.converted()
    if reader.problems:
        raise Refused(reader.problems, hint="the documentation of the server lists every option")
    return _build(settings, values)


def load_one(settings: type[Struct], key: str, *, file: Path | None, environ: Mapping[str, str]) -> Any:
    """The value of one option, or None without a good one. What is wrong with others is for `load` to say."""
    reader = _OptionReader(options_of(settings))
    if file is not None:
        reader.read_file(file)
    reader.read_environment(environ)
    return reader.converted().get(key)


class _WrittenValue(Struct, frozen=True):
    """A value as it was given, and where."""

    value: Any
    place: str
    lax: bool = False
    """Whether the value is text from a variable or a flag, which may stand for a number, a truth value or a list."""
    base: Path | None = None
    """The directory from which relative paths count."""


@cache
def _declared(settings: type[Struct]) -> tuple[FieldInfo, ...]:
    """The fields of a settings Struct. Kept, since msgspec evaluates the annotations each time."""
    return fields(settings)


def _options(field: FieldInfo, path: tuple[str, ...]) -> Iterator[Option]:
    path = (*path, field.name)
    if _is_table(field):
        yield from options_of(field.type, path)
        return
    metas = [part for part in get_args(field.type)[1:] if isinstance(part, Meta)]
    if not metas or not metas[0].description or not metas[0].extra:
        raise TypeError(f"the option {'.'.join(path)} is declared without option(…)")
    extra = metas[0].extra
    default = field.default_factory() if callable(field.default_factory) else field.default
    yield Option(
        path=path,
        annotation=_always_given(field.type),
        text=metas[0].description,
        unit=extra["unit"],
        default=default,
        default_text=extra["default"],
        check=extra["check"],
        secret=extra["secret"],
        hidden=extra["hidden"],
    )


class _OptionReader:
    """Collects the values of all sources, later ones over earlier ones, and all problems."""

    def __init__(self, options: Iterable[Option], *, others: bool = False) -> None:
        self._options = {option.key: option for option in options}
        self.found: dict[str, _WrittenValue] = {}
        self.problems: list[str] = []
        self._others = others

    def read_file(self, file: Path) -> None:
        import tomllib  # most starts read no file

        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.problems.append(f"{file}: {reason}")
            return
        tables = {key.rpartition(".")[0] for key in self._options}
        waiting: list[tuple[str, Mapping[str, Any]]] = [("", document)]
        while waiting:
            table, entries = waiting.pop()
            for name, value in entries.items():
                key = f"{table}.{name}" if table else name
                if key in self._options:
                    self.found[key] = _WrittenValue(value, f"{file}: {key}", base=file.parent)
                elif key not in tables:
                    if self._others:
                        continue
                    self.problems.append(f"{file}: unknown option {key!r}; {self._meant(key)}")
                elif isinstance(value, dict):
                    waiting.append((key, value))
                else:
                    self.problems.append(f"{file}: {key!r} is a table; write [{key}] with its options below it")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        variables = {one.variable: key for key, one in self._options.items() if not one.is_open_table}
        open_tables = {f"{one.variable}__": key for key, one in self._options.items() if one.is_open_table}
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or variable.startswith(CREDENTIALS):
                continue
            if _SERVICE_LINK.match(variable) or _SERVICE_LINK_VALUE.match(text):
                continue
            start = next((start for start in open_tables if variable.startswith(start)), "")
            if variable in variables:
                self.found[variables[variable]] = _WrittenValue(text, variable, lax=True)
            elif start:
                self._put_in_table(open_tables[start], variable.removeprefix(start), text)
            elif not self._others:
                self.problems.append(f"unknown variable {variable}; {suggestion(variable, variables)}")

    def read_flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            if value is not None:
                self.found[key] = _WrittenValue(value, self._options[key].flag, lax=True)

    def converted(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, one in self.found.items():
            try:
                values[key] = _convert(self._options[key], one)
            except Refused as error:
                self.problems += [f"{one.place}: {problem}" for problem in error.problems]
        return values

    def _put_in_table(self, key: str, rest: str, text: str) -> None:
        """Put one entry into an open table: `NAME__KEY`. Text that is a TOML value becomes that value."""
        name, separator, entry = rest.lower().partition("__")
        variable = f"{self._options[key].variable}__{rest}"
        if not (separator and name and entry):
            self.problems.append(f"unknown variable {variable}; write {self._options[key].variable}__NAME__OPTION")
            return
        value = _toml_value(text)
        before = self.found.get(key, _WrittenValue({}, variable))
        table = before.value if isinstance(before.value, dict) else {}
        entries = table.get(name)
        self.found[key] = replace(
            before, value={**table, name: {**(entries if isinstance(entries, dict) else {}), entry: value}}
        )

    def _meant(self, key: str) -> str:
        """Suggest an option or table: one of the same name elsewhere, otherwise one that is spelled alike."""
        tables = {other.rpartition(".")[0] for other in self._options} - {""}
        by_last = {other.rpartition(".")[2]: other for other in self._options}
        close = by_last.get(key.rpartition(".")[2]) or nearest(key, {*self._options, *tables})
        return f"did you mean {close!r}?" if close else "the documentation of the server lists every option"


def _convert(one: Option, found: _WrittenValue) -> Any:
    """Convert a value to the option's type and check it. Errors do not repeat secrets."""
    value = found.value
    if isinstance(value, str):
        value = _from_text(one, value, lax=found.lax)
    try:
        value = msgspec.convert(value, one.annotation, strict=not found.lax, dec_hook=_decode)
    except msgspec.ValidationError as error:
        written = "" if one.secret else f", not {found.value!r}"
        raise Refused(f"{one.kind} is expected{written}") from error
    if isinstance(value, Path):
        value = (found.base or Path()) / value.expanduser()
    if one.check is None:
        return value
    try:
        return one.check(value)
    except ValueError as error:
        raise Refused(str(error)) from error


def _from_text(one: Option, text: str, *, lax: bool) -> Any:
    """Read text: a quantity with its unit; in variables and flags also a list."""
    amount = quantity(text, one.unit) if one.unit and QUANTITY.match(text) else None
    if amount is not None:
        return amount
    if lax and get_origin(_bare(one.annotation)) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)) and value:
        return Path(value)
    raise ValueError(value)


def _toml_value(text: str) -> Any:
    import tomllib

    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


def _build(settings: type[Declared], values: Mapping[str, Any], table: str = "") -> Declared:
    arguments: dict[str, Any] = {}
    for field in _declared(settings):
        key = f"{table}.{field.name}" if table else field.name
        if _is_table(field):
            arguments[field.name] = _build(field.type, values, key)
        elif key in values:
            arguments[field.name] = values[key]
    return settings(**arguments)


def _is_table(field: FieldInfo) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, Struct)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _always_given(annotation: Any) -> Any:
    """The annotation without None."""
    bare, *metas = get_args(annotation)
    kinds = [kind for kind in get_args(bare) if kind is not NoneType] if get_origin(bare) is UnionType else [bare]
    return Annotated[(kinds[0], *metas)]


def _kind(annotation: Any, unit: str) -> str:
    bare = _bare(annotation)
    origin = get_origin(bare)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(bare))
    if origin is tuple:
        return "a list of texts"
    if origin is dict:
        return "a table for each name"
    limits = next((part for part in get_args(annotation)[1:] if isinstance(part, Meta)), Meta())
    if limits.ge is not None and limits.le is not None:
        bounds = f" from {limits.ge} to {limits.le}"
    else:
        bounds = f" of at least {limits.ge}" if limits.ge is not None else ""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return f"{names[bare]}{f' of {unit}' if unit else ''}{bounds}"
