"""Rules for the names of archive members.

A name is refused when an extractor could write outside of its directory, or when two extractors could write to different
places. A name that fails on some systems only gets a warning.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from itertools import chain, pairwise

from pkgindex_core.formats.upload_rules import Findings

NAME_LIMIT = 4096
"""Bytes of a member's whole path: PATH_MAX of the usual systems."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_NOT_ON_WINDOWS = re.compile(
    r"""(?:\A|/)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.[^/]*)?(?:/|\Z)|[<>:"|?*]|[. ](?:/|\Z)""",
    re.IGNORECASE,
)


def shown(name: str) -> str:
    """A member's name for messages: short, ASCII, and without control sequences of terminals."""
    return ascii(name if len(name) <= 120 else name[:117] + "…")


def decode_name(raw: bytes) -> str | None:
    """A member's name as text; None when it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def name_problem(name: str) -> str | None:
    """Why a name is refused; None when it is valid. A trailing slash marks a directory."""
    if _CONTROL.search(name) or (
        not name.isascii() and any(unicodedata.category(mark) in {"Cc", "Zl", "Zp"} for mark in name)
    ):
        return f"the member name {shown(name)} has control characters"
    if "\\" in name:
        return f"the member name {shown(name)} has a backslash"
    if name.startswith("/"):
        return f"the member name {shown(name)} is absolute"
    if _DRIVE.match(name):
        return f"the member name {shown(name)} begins with a drive"
    if len(name) > NAME_LIMIT:
        return f"the member name {shown(name)} is longer than {NAME_LIMIT} characters"
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        return f"the member name {shown(name)} leaves the archive"
    if "." in parts or "" in parts:
        return f"the member name {shown(name)} is not in its simplest form"
    return None


def check_tree(files: Iterable[str], directories: Iterable[str], findings: Findings) -> None:
    """Compare the names with each other. `directories` come without their trailing slash.

    A file that is also a directory cannot be unpacked. Names that differ only in case are one file on some systems.
    """
    kept = set(files)
    folders = set(directories)
    below = files_below(sorted([f"{path}/" for path in kept | folders]), kept)
    for name in chain(sorted(kept & folders), below):
        findings.refuse(f"{shown(name)} is a file and a directory")
    if len({path.casefold() for path in kept}) != len(kept):
        seen: dict[str, str] = {}
        for path in sorted(kept):
            twin = seen.setdefault(path.casefold(), path)
            if twin != path:
                findings.warn(f"{shown(twin)} and {shown(path)} are the same file on systems that ignore case")
    for path in kept:
        if _NOT_ON_WINDOWS.search(path):
            findings.warn(f"the name {shown(path)} cannot exist on Windows")


def files_below(slashed: list[str], files: Collection[str]) -> Iterator[str]:
    """The files that have other paths below them. `slashed` is every path with a slash at its end, sorted.

    In this order the paths below a path follow it at once, so no list of ancestors is needed. Such a list would grow with
    the square of the length of the paths.
    """
    for path, following in pairwise(slashed):
        if following.startswith(path) and path[:-1] in files:
            yield path[:-1]
