"""Patterns of paths and the templates that are filled in from them, as simpleindex reads them.

A pattern is one of Starlette's: `corp-{name}`, `{project}`, `team/{project}`, `{number:int}`, `{rest:path}`. A template is text with `{name}` of
the pattern, as in `str.format`, without its attributes, indexes and conversions.

The last segment of a path is a project. Installers ask for normalised names, so the literal text there is normalised too: otherwise
`Corp_{name}` would claim nothing, and the name would go on to the next route.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion

_PARAMETER: Final = re.compile(r"\{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?\}")
_KINDS: Final = {"str": "[^/]+", "path": ".*", "int": "[0-9]+"}
_SEPARATORS: Final = re.compile(r"[-_.]+")


class Pattern(Struct, frozen=True):
    """A compiled pattern."""

    text: str
    head: str
    """The literal text before the first parameter. Every path that matches begins with it."""
    parameters: tuple[str, ...]
    numbers: frozenset[str]
    """The parameters that are whole numbers."""
    expression: re.Pattern[str]

    def match(self, path: str) -> Mapping[str, str] | None:
        """The values of the parameters; None if the path does not match."""
        found = self.expression.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = found.groupdict()
        for name in self.numbers:
            values[name] = values[name].lstrip("0") or "0"
        return values


def parse_pattern(text: str) -> Pattern:
    """Compile a pattern. A pattern that can match nothing is `Refused`."""
    if text.strip("/") != text or not text:
        raise Refused(f"the pattern {text!r} begins or ends with a slash", hint=f"write {text.strip('/')!r}")
    parts: list[str] = []
    head = ""
    parameters: list[str] = []
    numbers: set[str] = set()
    end = 0
    last = _start_of_last_segment(text)
    for found in _PARAMETER.finditer(text):
        literal = _literal(text, end, found.start(), last)
        head += "" if parameters else literal
        name, kind = found[1], found[2] or "str"
        if kind not in _KINDS:
            raise Refused(f"the pattern {text!r} has a parameter of the kind {kind!r}", hint=suggestion(kind, _KINDS))
        if name in parameters:
            raise Refused(f"the pattern {text!r} has two parameters called {name!r}", hint="rename one of them")
        parameters.append(name)
        numbers |= {name} if kind == "int" else set()
        parts += [re.escape(literal), f"(?P<{name}>{_KINDS[kind]})"]
        end = found.end()
    literal = _literal(text, end, len(text), last)
    head += "" if parameters else literal
    expression = re.compile("".join([*parts, re.escape(literal)]))
    return Pattern(text, head, tuple(parameters), frozenset(numbers), expression)


def last_segment(text: str) -> tuple[str, str]:
    """Split a pattern before its last segment: `team/{project}` is `team` and `{project}`."""
    start = _start_of_last_segment(text)
    return text[:start].rstrip("/"), text[start:]


def is_literal(text: str) -> bool:
    """Whether a pattern has no parameter."""
    return _PARAMETER.search(text) is None


def has_stray_brace(text: str) -> bool:
    """Whether a pattern has a brace that is no part of a parameter. It is literal text, and no project is called so."""
    return not {"{", "}"}.isdisjoint(_PARAMETER.sub("", text))


def _start_of_last_segment(text: str) -> int:
    return text.rfind("/") + 1


def _literal(text: str, start: int, end: int, last: int) -> str:
    """The literal text between two parameters, normalised where it is part of the project."""
    before, within = text[start : max(start, min(end, last))], text[max(start, min(end, last)) : end]
    return before + _SEPARATORS.sub("-", within).lower()


class Template(Struct, frozen=True):
    """Text in which the parameters of a pattern are filled in."""

    text: str
    pieces: tuple[tuple[str, str], ...]
    """Literal text, and the parameter that follows it; the last one may be empty."""

    @property
    def is_constant(self) -> bool:
        return not any(name for _, name in self.pieces)

    @property
    def start(self) -> str:
        """The literal text before the first parameter."""
        return self.pieces[0][0] if self.pieces else ""

    def filled(self, values: Mapping[str, str]) -> str:
        return "".join(literal + (values[name] if name else "") for literal, name in self.pieces)


def parse_template(text: str, parameters: Sequence[str]) -> Template:
    """Parse a template; what `str.format` would do beyond filling in a parameter is `Refused`."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise Refused(
            f"{text!r} cannot be filled in: {error}", hint="a brace that is no parameter is written twice"
        ) from error
    pieces = []
    for literal, name, form, conversion in parsed:
        if name is not None and (form or conversion or name not in parameters):
            known = suggestion(name, parameters) if parameters else "the pattern has no parameters"
            raise Refused(f"{text!r} has {{{name}}}, which is no parameter of the pattern", hint=known)
        pieces.append((literal, name or ""))
    return Template(text, tuple(pieces))


def escaped(text: str) -> str:
    """Text that stands for itself in a template."""
    return text.replace("{", "{{").replace("}", "}}")
