"""The form of bandersnatch.conf: INI with `=` only, keys in their case, `%` interpolation and comments on lines of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from configparser import (
    ConfigParser,
    DuplicateOptionError,
    DuplicateSectionError,
    Error,
    InterpolationError,
    MissingSectionHeaderError,
    ParsingError,
)
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_mirror.bandersnatch.options import MIRROR_OPTIONS, OTHER_SPELLINGS
from pkgindex_mirror.bandersnatch.raw_settings import Place, RawSettings

_SECTION = re.compile(r"\[(.+)\]")
_DEFAULTS: Final = {
    option.key: option.default
    for option in (*MIRROR_OPTIONS, *OTHER_SPELLINGS)
    if option.known_to_bandersnatch and option.key not in {"directory", "keep_index_versions"}
}
"""The keys in bandersnatch's file of defaults, which are below those of the user's file."""
_HINT = "the form is: a line [section], below it lines key = value, and entries of a list on lines of their own that are indented"


def read_ini(data: bytes) -> RawSettings:
    """Read the bytes of a file. Raises `Refused` with the lines that are wrong.

    The defaults are read first, as in bandersnatch, so that references find them, and they count more than `[DEFAULT]` of the file.
    """
    content = decoded(data)
    alone, parser = _parser(), _parser()
    parser.read_dict({"mirror": _DEFAULTS})
    try:
        alone.read_string(content)
        parser.read_string(content)
    except Error as error:
        raise Refused(list(problems_of(error)), hint=_HINT) from error
    sections: dict[str, dict[str, str]] = {}
    inherited: dict[str, dict[str, str]] = {"DEFAULT": {}}
    faults: dict[Place, str] = {}
    lines = dict(_lines(content))
    for section in alone.sections():
        sections[section], inherited[section] = {}, {}
        own = alone._sections[section]  # type: ignore[attr-defined]  # the only place that tells own keys from inherited ones
        for key in parser.options(section):
            if section == "mirror" and key in _DEFAULTS and key not in own:
                continue
            target = sections if key in own else inherited
            try:
                target[section][key] = parser.get(section, key)
            except InterpolationError as error:
                target[section][key] = parser.get(section, key, raw=True)
                faults[section, key] = _fault(error)
    for key in parser.defaults():
        inherited["DEFAULT"][key] = parser.get("DEFAULT", key, raw=True)
    return RawSettings(form="ini", sections=sections, inherited=inherited, lines=lines, faults=faults)


def _parser() -> ConfigParser:
    parser = ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case: the documented way to say so
    return parser


def decoded(data: bytes) -> str:
    """The text of a file. Raises `Refused` if it is not UTF-8."""
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"line {line} is not UTF-8", hint="save the file as UTF-8") from error
    if "\0" in content:
        raise Refused(
            f"line {content[: content.index(chr(0))].count(chr(10)) + 1} has a NUL", hint="this is no text file"
        )
    return content


def problems_of(error: Error) -> Iterator[str]:
    """The problems of a file, with their lines. They do not repeat the lines, which may hold a secret."""
    match error:
        case MissingSectionHeaderError():
            yield f"line {error.lineno} stands before the first [section]"
        case ParsingError():
            for number, line in error.errors:
                colon = ": only = separates a key from its value" if ":" in line else ""
                yield f"line {number} has no '='{colon}"
        case DuplicateOptionError():
            yield f"line {error.lineno}: [{error.section}] has the key {error.option} twice"
        case DuplicateSectionError():
            yield f"line {error.lineno}: the section [{error.section}] is there twice"
        case _:
            yield error.message


def _fault(error: InterpolationError) -> str:
    missing = getattr(error, "reference", "")
    if missing:
        return f"%({missing})s stands for a key that is not in this section"
    return "a single % is the beginning of a reference such as %(key)s"


def _lines(content: str) -> Iterator[tuple[Place, int]]:
    """Where sections and keys begin. Lines that are indented belong to the key before them."""
    section = ""
    seen: set[Place] = set()
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip() or line[0] in "#; \t":
            continue
        header = _SECTION.match(line)
        key = ""
        if header:
            section = header[1]
        elif "=" in line:
            key = line.partition("=")[0].strip()
        if section and (section, key) not in seen:
            seen.add((section, key))
            yield (section, key), number
