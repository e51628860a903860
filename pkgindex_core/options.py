"""Options: from a Struct that declares them to values out of a file, the environment and flags.

A settings Struct says everything about an option once, in the field's annotation: its type, bounds, unit, help, and whether
it may hold a secret. From that come the flag, the variable, the documentation and the error messages. This module
knows no option; `config` declares them.

One name, three spellings: `[mirror] expiry` in the file, `PKGINDEX_MIRROR_EXPIRY`, `--mirror-expiry`. A flag beats a
variable, a variable beats the file. All problems of all sources are told at once, each with its place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields, replace

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import nearest, suggestion

PREFIX: Final = "PKGINDEX_"
OTHER_VARIABLES: Final = frozenset({"PKGINDEX_CONFIG", "PKGINDEX_FAILPOINTS"})
"""Variables that are no options: where the file is, and what tests arm."""

Declared = TypeVar("Declared", bound=Struct)

# A Kubernetes service or a linked container called `pkgindex` puts PKGINDEX_PORT=tcp://10.0.0.1:3141 and its like into
# the environment of every pod beside it. They are not meant for us.
_SERVICE_LINK = re.compile(r"\APKGINDEX_(?:SERVICE_(?:HOST|PORT\w*)|PORT_\d+_(?:TCP|UDP)\w*|NAME|ENV_\w+)\Z")
_SERVICE_LINK_VALUE = re.compile(r"\A(?:tcp|udp)://")

_QUANTITY = re.compile(r"\A\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*\Z")
_MULTIPLES: Final[Mapping[str, Mapping[str, float]]] = {
    "bytes": {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
    | {f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgt", 1)},
    "seconds": {"s": 1, "min": 60, "h": 3600, "d": 86400},
}


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
    """Say what a field's type does not. For use inside `Annotated`.

    `default` is how documentation shows a default that is not a constant. `check` gets each value that was set and returns
    it, perhaps in a normal form, or raises `Refused` or `ValueError`. A `secret` is only shown without its credentials, a `hidden` one not at all.
    A type `… | None` tells an option that was not given from an empty one.
    """
    extra = {"unit": unit, "default": default, "check": check, "secret": secret or hidden, "hidden": hidden}
    return Meta(description=text, extra=extra, ge=at_least, le=at_most)


class Option(Struct, frozen=True, kw_only=True):
    """One option, as documentation and command lines need it."""

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
        """How messages and the file name it: `mirror.expiry`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return PREFIX + "_".join(self.path).upper()

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def kind(self) -> str:
        """What values look like, in words."""
        return _kind(self.annotation, self.unit)

    @property
    def is_open_table(self) -> bool:
        """A table whose keys are somebody else's to define: no flag, and variables with double underscores."""
        return get_origin(_bare(self.annotation)) is dict


def options_of(settings: type[Struct], path: tuple[str, ...] = ()) -> tuple[Option, ...]:
    """Every option that a settings Struct declares, those of its tables included, in order."""
    hints = get_type_hints(settings, include_extras=True)
    return tuple(found for field in fields(settings) for found in _options(field, hints[field.name], path))


def load(
    settings: type[Declared],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Declared:
    """Read settings from their sources. `flags` and `defaults` go by key (`mirror.expiry`); None means not given."""
    reader = _Reader(options_of(settings))
    for key, value in (defaults or {}).items():
        reader.found[key] = _Found(value, "default")
    if file is not None:
        reader.read_file(file)
    reader.read_environment(environ or {})
    reader.read_flags(flags or {})
    values = reader.converted()
    if reader.problems:
        raise Refused(reader.problems, hint="the documentation of the server lists every option")
    return _build(settings, values)


class _Found(Struct, frozen=True):
    """A value as it was written."""

    value: Any
    place: str
    lax: bool = False
    """Text that stands for a number, a truth value or a list."""
    base: Path | None = None
    """The directory from which relative paths count."""


def _options(field: FieldInfo, annotation: Any, path: tuple[str, ...]) -> Iterator[Option]:
    path = (*path, field.name)
    bare = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, Struct):
        yield from options_of(bare, path)
        return
    metas = [part for part in get_args(annotation)[1:] if isinstance(part, Meta)]
    if not metas or not metas[0].description or not metas[0].extra:
        raise TypeError(f"the option {'.'.join(path)} is declared without option(…)")
    extra = metas[0].extra
    default = field.default_factory() if callable(field.default_factory) else field.default
    yield Option(
        path=path,
        annotation=_always_given(annotation),
        text=metas[0].description,
        unit=extra["unit"],
        default=default,
        default_text=extra["default"],
        check=extra["check"],
        secret=extra["secret"],
        hidden=extra["hidden"],
    )


class _Reader:
    """What was found for each option so far, later sources over earlier ones, and everything that was wrong."""

    def __init__(self, options: Iterable[Option]) -> None:
        self._options = {option.key: option for option in options}
        self.found: dict[str, _Found] = {}
        self.problems: list[str] = []

    def read_file(self, file: Path) -> None:
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
                    self.found[key] = _Found(value, f"{file}: {key}", base=file.parent)
                elif key not in tables:
                    self.problems.append(f"{file}: unknown option {key!r}; {self._meant(key)}")
                elif isinstance(value, dict):
                    waiting.append((key, value))
                else:
                    self.problems.append(f"{file}: {key!r} is a table; write [{key}] with its options below it")

    def read_environment(self, environ: Mapping[str, str]) -> None:
        variables = {one.variable: key for key, one in self._options.items() if not one.is_open_table}
        open_tables = {f"{one.variable}__": key for key, one in self._options.items() if one.is_open_table}
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
                continue
            if _SERVICE_LINK.match(variable) or _SERVICE_LINK_VALUE.match(text):
                continue
            start = next((start for start in open_tables if variable.startswith(start)), "")
            if variable in variables:
                self.found[variables[variable]] = _Found(text, variable, lax=True)
            elif start:
                self._put_in_table(open_tables[start], variable.removeprefix(start), text)
            else:
                self.problems.append(f"unknown variable {variable}; {suggestion(variable, variables)}")

    def read_flags(self, flags: Mapping[str, Any]) -> None:
        for key, value in flags.items():
            if value is not None:
                self.found[key] = _Found(value, self._options[key].flag, lax=True)

    def converted(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, one in self.found.items():
            try:
                values[key] = _convert(self._options[key], one)
            except Refused as error:
                self.problems += [f"{one.place}: {problem}" for problem in error.problems]
        return values

    def _put_in_table(self, key: str, rest: str, text: str) -> None:
        """One entry of an open table: `NAME__KEY`. Text that reads as a TOML value is that value."""
        name, separator, entry = rest.lower().partition("__")
        variable = f"{self._options[key].variable}__{rest}"
        if not (separator and name and entry):
            self.problems.append(f"unknown variable {variable}; write {self._options[key].variable}__NAME__OPTION")
            return
        value = _toml_value(text)
        before = self.found.get(key, _Found({}, variable))
        table = before.value if isinstance(before.value, dict) else {}
        entries = table.get(name)
        self.found[key] = replace(
            before, value={**table, name: {**(entries if isinstance(entries, dict) else {}), entry: value}}
        )

    def _meant(self, key: str) -> str:
        """The option or table that was meant: of the same name elsewhere before one that is only spelled alike."""
        tables = {other.rpartition(".")[0] for other in self._options} - {""}
        by_last = {other.rpartition(".")[2]: other for other in self._options}
        close = by_last.get(key.rpartition(".")[2]) or nearest(key, {*self._options, *tables})
        return f"did you mean {close!r}?" if close else "see the documentation for what there is"


def _convert(one: Option, found: _Found) -> Any:
    """The value in the option's own type, checked. What is wrong is said without repeating a secret."""
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
    """What a text stands for: a quantity with its unit; in variables and flags a list too."""
    quantity = _QUANTITY.match(text) if one.unit else None
    if quantity:
        multiple = _MULTIPLES[one.unit].get(quantity[2].lower())
        if multiple is not None:
            amount = float(quantity[1]) * multiple
            return int(amount) if amount.is_integer() else amount
    if lax and get_origin(_bare(one.annotation)) is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)) and value:
        return Path(value)
    raise ValueError(value)


def _toml_value(text: str) -> Any:
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text


def _build(settings: type[Declared], values: Mapping[str, Any], table: str = "") -> Declared:
    arguments: dict[str, Any] = {}
    hints = get_type_hints(settings)
    for field in fields(settings):
        key = f"{table}.{field.name}" if table else field.name
        if isinstance(hints[field.name], type) and issubclass(hints[field.name], Struct):
            arguments[field.name] = _build(hints[field.name], values, key)
        elif key in values:
            arguments[field.name] = values[key]
    return settings(**arguments)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _always_given(annotation: Any) -> Any:
    """The annotation of a value that was given: without None."""
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
