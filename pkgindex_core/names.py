"""Names of projects, users and indexes: how they are spelled, compared and refused.

A `ProjectName` is always normalised, an `IndexName` always has the form `user/index`. Only this module makes them from
raw text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NewType, cast

from pkgindex_core.errors import Refused

ProjectName = NewType("ProjectName", str)
"""A project name, normalised as the name-normalisation specification says."""

IndexName = NewType("IndexName", str)
"""`user/index`."""

# `\Z`, not `$`, which would admit a trailing newline. ASCII only, so that letters of two scripts never look like one name.
_LEGAL_PROJECT = re.compile(r"\A(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9])\Z")
_SEPARATORS = re.compile(r"[-_.]+")
_NORMAL_PROJECT = re.compile(r"\A[a-z0-9]+(?:-[a-z0-9]+)*\Z")
PROJECT_NAME_LIMIT = 214
_NORMALIZING = bytes(
    ord("-" if character in "-_." else character.lower() if character.isalnum() or character == "\n" else "?")
    for character in map(chr, range(128))
).ljust(256, b"?")

_LEGAL_PART = re.compile(r"\A[A-Za-z0-9_@][A-Za-z0-9_@.-]*\Z")
PART_LIMIT = 64
_DEVPI_BLOCKS = re.compile(r"[\x00-\x20!-,/:-?\[-^`{-\x7f]")
"""ASCII except letters, digits and `-.@_`."""

RESERVED_USERS = frozenset(
    {
        "simple",
        "legacy",
        "pypi",
        "integrity",
        "packages",
        "project",
        "static",
        "favicon.ico",
        "robots.txt",
        "index.html",
    }
)
"""First path segments of the server's own URLs. Users cannot have these names."""


def parse_project_name(raw: str) -> ProjectName:
    """Normalise a project name, or refuse it.

    >>> parse_project_name("A.b_-C")
    'a-b-c'
    """
    name = normalized_or_none(raw)
    if name is None:
        raise Refused(
            f"invalid project name {raw[:80]!r}",
            hint="use ASCII letters, digits, '.', '-' and '_'; begin and end with a letter or digit",
        )
    return name


def normalized_or_none(raw: str) -> ProjectName | None:
    """Normalise a project name; None when it is not valid."""
    if _NORMAL_PROJECT.match(raw) and len(raw) <= PROJECT_NAME_LIMIT:
        return ProjectName(raw)
    if len(raw) > PROJECT_NAME_LIMIT or not _LEGAL_PROJECT.match(raw):
        return None
    return ProjectName(_SEPARATORS.sub("-", raw).lower())


def normalized_or_unknown(raws: Sequence[str]) -> list[ProjectName] | None:
    """Normalise many project names together, in a tenth of the time; None when they have to be looked at one by one.

    >>> normalized_or_unknown(["A.b_-C", "demo"]), normalized_or_unknown(["demo", "-"])
    (['a-b-c', 'demo'], None)
    """
    if not raws or max(map(len, raws)) > PROJECT_NAME_LIMIT:
        return None
    try:
        text = "\n".join(("", *raws, "")).encode("ascii").translate(_NORMALIZING)
    except UnicodeEncodeError:
        return None
    while b"--" in text:
        text = text.replace(b"--", b"-")
    if any(wrong in text for wrong in (b"?", b"\n-", b"-\n", b"\n\n")):
        return None
    names = text.decode("ascii").split("\n")[1:-1]
    return cast("list[ProjectName]", names) if len(names) == len(raws) else None


def parse_user_name(raw: str) -> str:
    """Check a user name, which becomes the first segment of its URLs."""
    _check_part(raw, "user")
    if raw.lower() in RESERVED_USERS:
        raise Refused(f"user name {raw!r} is taken by a URL of the server", hint="choose another name")
    return raw


def parse_index_name(raw: str) -> IndexName:
    """Check a `user/index` name."""
    user, slash, index = raw.partition("/")
    if not slash:
        raise Refused(f"invalid index name {raw[:80]!r}", hint="write it as user/index, for example team/dev")
    parse_user_name(user)
    _check_part(index, "index")
    return IndexName(raw)


def _check_part(raw: str, what: str) -> None:
    """Refuse an invalid name of a user or an index. Messages are devpi's where devpi has one: its client shows no hints."""
    if _LEGAL_PART.match(raw) and len(raw) <= PART_LIMIT and not raw.endswith("."):
        return
    if _DEVPI_BLOCKS.search(raw):
        problem = "contains characters that aren't allowed. Any ascii symbol besides -.@_ is blocked."
    elif not raw.isascii():
        problem = "contains characters that aren't allowed. Of letters and digits only those of ASCII are."
    elif len(raw) > PART_LIMIT:
        problem = f"is longer than {PART_LIMIT} characters."
    else:
        problem = "must begin with a letter, a digit, '_' or '@', and must not end with '.'."
    raise Refused(
        f"{what}name {raw[:80]!r} {problem}",
        hint=f"use at most {PART_LIMIT} ASCII letters, digits, '_', '@', '.' and '-'",
    )


def index_name_or_none(user: str, index: str) -> IndexName | None:
    """Join two path segments into an index name; None when it is not valid."""
    if _LEGAL_PART.match(user) and _LEGAL_PART.match(index) and len(user) <= PART_LIMIT and len(index) <= PART_LIMIT:
        return IndexName(f"{user}/{index}")
    return None


def owner(index: IndexName) -> str:
    """The user to whom an index belongs."""
    return index.partition("/")[0]
