"""Files by their releases, and versions and specifiers that are parsed once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File
from pkgindex_mirror.filters.legacy_documents import LegacyDocument
from pkgindex_mirror.syncing.values import UpstreamProject

_REMEMBERED: Final = 65_536
_SPECIFIERS: Final = 4096
_LENGTH_LIMIT: Final = 512


@lru_cache(maxsize=_REMEMBERED)
def parsed_version(text: str) -> Version | None:
    """A version of PEP 440; None for another one."""
    if len(text) > _LENGTH_LIMIT:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


@lru_cache(maxsize=_SPECIFIERS)
def parsed_specifier(text: str) -> SpecifierSet | None:
    """A set of version specifiers; None for another text."""
    try:
        return SpecifierSet(text) if len(text) <= _LENGTH_LIMIT else None
    except InvalidSpecifier:
        return None


def by_release(
    project: UpstreamProject, files: Iterable[File], document: LegacyDocument | None = None
) -> dict[str, list[File]]:
    """Group files by release, in the order of the document, or else of the spelling of the versions.

    A release is named as the document spells it, or the page, or else its first file. Files of unknown version are the release "".
    """
    if document is not None:
        return _as_documented(files, document)
    spelled: dict[str, list[File]] = {}
    for file in files:
        spelled.setdefault(file.version, []).append(file)
    names = {canonical_version(version): version for version in project.head.versions}
    releases: dict[str, list[File]] = {}
    for version, group in spelled.items():
        releases.setdefault(names.setdefault(canonical_version(version), version), []).extend(group)
    return dict(sorted(releases.items()))


def _as_documented(files: Iterable[File], document: LegacyDocument) -> dict[str, list[File]]:
    """The same in the order of the document, also within releases. Files that it does not have come last."""
    left = {file.filename: file for file in files}
    releases = {
        version: [left.pop(name) for entry in entries if (name := str(entry.get("filename"))) in left]
        for version, entries in document.releases.items()
    }
    for file in left.values():
        releases.setdefault(file.version, []).append(file)
    return {version: group for version, group in releases.items() if group}
