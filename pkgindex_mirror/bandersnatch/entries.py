"""The entries of a list, which has one a line, and also the lists that people write on one line.

bandersnatch takes `a, b` or `a b` for one entry. That is never meant: neither names nor versions have blanks or commas. Patterns may have
them, so that those of metadata are never split. Only platforms may stand on one line, with blanks between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from pkgindex_core.names import normalized_or_none
from pkgindex_mirror.bandersnatch.plugins import Content

_BETWEEN = re.compile(r"[\s,]+")
_COMPARISON = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*")
_REQUIREMENT_FILE = re.compile(r".+\.(?:txt|in)\Z|.*\*.*")


class ListEntries(Struct, frozen=True):
    """The entries of a list."""

    entries: tuple[str, ...]
    crowded: tuple[str, ...] = ()
    """Lines with several entries, as they are written."""


def read_entries(text: str, content: Content, *, split: bool = True) -> ListEntries:
    """Read a list. Without `split` each line is one entry, as in bandersnatch.

    Blanks around entries, empty lines and comments are left out. Text behind ` #` is a comment, except in patterns for metadata.
    """
    entries: list[str] = []
    crowded: list[str] = []
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#"):
            continue
        written = line if content == "patterns" else _without_comment(line, content)
        parts = _SPLITTERS[content](written) if split else written.split() if content == "words" else [written]
        if len(parts) > 1 and (content != "words" or "," in written):
            crowded.append(line)
        entries.extend(parts)
    return ListEntries(tuple(entries), tuple(crowded))


def _without_comment(line: str, content: Content) -> str:
    before = line.partition("#")[0] if content in {"requirements", "paths"} else re.split(r"\s#", line, maxsplit=1)[0]
    return before.strip()


def _all(line: str) -> list[str]:
    return [each for each in _BETWEEN.split(line) if each]


def _by_blanks(line: str) -> list[str]:
    """Split at blanks alone: a pattern for names may have a comma, as in `a{1,3}`, and a blank in it would match nothing."""
    return line.split()


def _whole(line: str) -> list[str]:
    return [line]


def _files(line: str) -> list[str]:
    """Split only if each part looks like a requirement file: a path may have blanks and commas."""
    parts = _all(line)
    return parts if all(map(_REQUIREMENT_FILE.match, parts)) else [line]


def _requirements(line: str) -> list[str]:
    """Split a line that is no requirement, if each part of it is one: `requests, numpy>=1,<2 pandas`."""
    if is_requirement(line):
        return [line]
    parts = list(_with_versions(_all(_COMPARISON.sub(r"\1", line))))
    return parts if all(map(is_requirement, parts)) else [line]


def _with_versions(parts: list[str]) -> Iterator[str]:
    """Join each further comparison (`<2`) to the requirement before it."""
    pending = ""
    for part in parts:
        if pending and _COMPARISON.match(part):
            pending = f"{pending},{part}"
            continue
        if pending:
            yield pending
        pending = part
    if pending:
        yield pending


def is_requirement(line: str) -> bool:
    """Whether a line is a requirement as PEP 508 has it."""
    if normalized_or_none(line) is not None:  # a bare name, as most are
        return True
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(line)
    except InvalidRequirement:
        return False
    return True


_SPLITTERS: Final[dict[Content, Callable[[str], list[str]]]] = {
    "requirements": _requirements,
    "names": _all,
    "paths": _files,
    "words": _all,
    "name patterns": _by_blanks,
    "patterns": _whole,
    "versions": _all,
    "lines": _whole,
    "text": _whole,
}
