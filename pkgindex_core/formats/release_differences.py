"""The difference between two releases of a project: what was added, removed and changed. Pure.

Every subject (metadata, dependencies, files, entry points, members of an archive) is a mapping from names to values, so that one comparison does.
Names and paths that contain the version are compared without it: `demo-1.0.dist-info/METADATA` and `demo-2.0.dist-info/METADATA` are one file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.formats.archives.listing import ArchiveListing, ListedMember, is_zip
from pkgindex_core.formats.archives.wheel_layout import INFO, runs_at_start, script_of
from pkgindex_core.models import File
from pkgindex_core.names import normalized_or_none

_FACTS: Final[Mapping[str, str]] = {
    "requires_python": "Requires Python",
    "license_expression": "License expression",
    "license": "License",
    "author": "Author",
    "author_email": "Author's address",
    "maintainer": "Maintainer",
    "maintainer_email": "Maintainer's address",
    "summary": "Summary",
    "home_page": "Home page",
}
_LISTS: Final[Mapping[str, str]] = {"project_urls": "Links", "provides_extras": "Extras"}


class Change(Struct, frozen=True):
    """One name whose value differs. None: that release does not have it."""

    name: str
    old: Any
    new: Any


class Pair(Struct, frozen=True):
    """The two archives whose members are compared."""

    old: File
    new: File


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """The names whose values differ, in order."""
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def facts_of(metadata: Mapping[str, Any]) -> Mapping[str, str]:
    """The metadata that people decide by, by label. Empty fields are left out."""
    found = {label: metadata[key] for key, label in _FACTS.items() if metadata.get(key)}
    return found | {label: "; ".join(sorted(metadata[key])) for key, label in _LISTS.items() if metadata.get(key)}


def dependencies_of(requirements: Iterable[str]) -> Mapping[str, str]:
    """The requirements of each project. One project may be required several times, with different markers."""
    found: dict[str, list[str]] = {}
    for text in requirements:
        end = next((place for place, mark in enumerate(text) if not (mark.isalnum() or mark in "-_.")), len(text))
        found.setdefault(normalized_or_none(text[:end]) or text[:end], []).append(text)
    return {name: "; ".join(sorted(texts)) for name, texts in found.items()}


def files_of(files: Iterable[File]) -> Mapping[str, int | None]:
    """The sizes of the files of a release, by what their names have besides project and version."""
    return {_suffix(each): each.shown_size for each in files}


def comparable(old: Sequence[File], new: Sequence[File]) -> Pair | None:
    """The wheels with equal tags, pure ones first; else the source distributions; else any two wheels. None: there is no such pair."""
    older, newer = ({_suffix(each): each for each in files} for files in (old, new))
    shared = sorted(older.keys() & newer.keys(), key=lambda each: (_order(each), each))
    if shared and _order(shared[0]) < len(_ORDER):
        return Pair(older[shared[0]], newer[shared[0]])
    wheels = [next((each for each in files if each.filename.endswith(".whl")), None) for files in (old, new)]
    return Pair(wheels[0], wheels[1]) if wheels[0] and wheels[1] else None


_ORDER: Final = ("none-any.whl", ".whl", ".tar.gz", ".zip", ".tar.bz2")


def _order(suffix: str) -> int:
    return next((place for place, end in enumerate(_ORDER) if suffix.endswith(end)), len(_ORDER))


def _suffix(file: File) -> str:
    """The tags and the ending of a filename: all behind the version."""
    _, _, rest = file.filename.partition("-")
    behind = rest.partition(file.version)[2] if file.version else ""
    return behind.lstrip("-") or file.filename


def members_of(listing: ArchiveListing, filename: str) -> Mapping[str, ListedMember]:
    """The members by their paths without the version of the release."""
    if is_zip(filename) and not filename.endswith(".zip"):
        return {_unversioned(each.name): each for each in listing.members}
    return {each.name.partition("/")[2] or each.name: each for each in listing.members}


def contents_of(members: Mapping[str, ListedMember]) -> Mapping[str, tuple[int, int, str]]:
    """Size, checksum and target of each member, by which it is compared."""
    return {name: (each.size, each.crc, each.target) for name, each in members.items()}


def startup_of(members: Mapping[str, ListedMember]) -> Mapping[str, int]:
    """The checksums of the files that run at every start of Python."""
    return {name: each.crc for name, each in members.items() if runs_at_start(name)}


def scripts_of(members: Mapping[str, ListedMember]) -> Mapping[str, int]:
    """The checksums of the scripts that are files of their own, by command."""
    return {script_of(name): each.crc for name, each in members.items() if script_of(name)}


def points_of(groups: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """The objects of entry points, by group and name."""
    return {f"{group}: {name}": value for group, points in groups.items() for name, value in points.items()}


def _unversioned(path: str) -> str:
    """`demo-1.0.dist-info/METADATA` as `demo.dist-info/METADATA`."""
    top, slash, rest = path.partition("/")
    for end in (INFO, ".data"):
        if slash and top.endswith(end):
            return f"{top.removesuffix(end).partition('-')[0]}{end}/{rest}"
    return path
