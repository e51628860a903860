"""Reads the sections of bandersnatch's filters: lists with one entry a line, numbers and sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final

from pkgindex_core.errors import Refused

Settings = Mapping[str, Mapping[str, str]]
"""Texts by section and key."""

_NUMBER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)")
_UNITS: Final = "kmgtpezy"


def lines_of(sections: Settings, section: str, key: str) -> list[str]:
    """The lines of a list, without blanks around them and without empty ones."""
    return [line.strip() for line in sections.get(section, {}).get(key, "").split("\n") if line.strip()]


def whole_number(sections: Settings, section: str, key: str) -> int | None:
    """A whole number; None when there is none. Raises `Refused` for other texts."""
    text = sections.get(section, {}).get(key)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise Refused(
            f"[{section}] {key} = {text!r} is no whole number", hint=f"write {key} = 5, or leave it out"
        ) from error


def bytes_of(text: str) -> int | None:
    """The bytes of a size for people, such as `1G` or `2.5 MB`, with binary units; None for a text that is no size."""
    tokens: list[str] = [token.strip() for token in _NUMBER.split(text) if token.strip()]
    if not tokens or not _NUMBER.fullmatch(tokens[0]) or len(tokens) > 2:
        return None
    unit = tokens[1].lower() if len(tokens) == 2 else "b"
    power = 0 if unit.startswith("b") else _UNITS.find(unit[0]) + 1
    if not power and not unit.startswith("b"):
        return None
    size = float(tokens[0]) * 1024**power
    return int(size) if math.isfinite(size) else None


def compiled(pattern: str, where: str) -> re.Pattern[str]:
    """A regular expression. Raises `Refused` for a text that is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise Refused(
            f"{where}: {pattern!r} is no regular expression: {error}",
            hint="write it as Python's module re reads it; in the file, a percent sign is written twice",
        ) from error


def compiled_lines(sections: Settings, section: str, key: str) -> list[re.Pattern[str]]:
    """The regular expressions of a list."""
    return [compiled(line, f"[{section}] {key}") for line in lines_of(sections, section, key)]
