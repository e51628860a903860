"""The JSON document of a project (`/pypi/NAME/json`), as filters read it.

    {"info": {"name": …, "version": …, …}, "releases": {"1.0": [{"filename": …, "packagetype": …, …}, …], …}, …}

Where an upstream gave no document, the part of it that a page has too is made from the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeGuard

import msgspec

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.errors import BadUpstream
from pkgindex_core.formats.filenames import kind_of
from pkgindex_core.models import File
from pkgindex_mirror.syncing.values import UpstreamProject

_PACKAGE_TYPES: Final = {
    "wheel": "bdist_wheel",
    "sdist": "sdist",
    "egg": "bdist_egg",
    "wininst": "bdist_wininst",
    "msi": "bdist_msi",
    "rpm": "bdist_rpm",
    "dmg": "bdist_dmg",
    "dumb": "bdist_dumb",
}
_REMEMBERED: Final = 2
"""Documents; several filters read the one of the project at hand. A large one takes tens of megabytes."""


class LegacyDocument:
    """A decoded document. The mappings are shared and must not be changed."""

    def __init__(self, info: Mapping[str, Any], releases: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self.info = info
        self.releases = releases
        self._files = {
            str(entry.get("filename")): (version, entry) for version, entries in releases.items() for entry in entries
        }

    def file(self, filename: str) -> tuple[str, Mapping[str, Any]] | None:
        """The version and the entry of a file."""
        return self._files.get(filename)


def legacy_document(project: UpstreamProject) -> LegacyDocument | None:
    """The document of a project; None when it has none. Raises `BadUpstream` for one that cannot be read."""
    return _decoded(project.document, project.name) if project.document else None


def needed_document(project: UpstreamProject, word: str) -> LegacyDocument:
    """The document of a project, for the filter with this word. Raises `BadUpstream` if there is none, or if it cannot be read."""
    document = legacy_document(project)
    if document is None:
        raise BadUpstream(
            f"{project.name} has no JSON document, which the filter {word} needs",
            hint="mirror from an upstream with /pypi/NAME/json, or disable the filter",
        )
    return document


def plain_document(project: UpstreamProject) -> dict[str, Any]:
    """A new copy of the document, which may be changed. Raises as `needed_document`."""
    try:
        value = msgspec.json.decode(project.document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _broken(project.name) from error
    if not isinstance(value, dict):
        raise _broken(project.name)
    return value


def package_type(file: File) -> str:
    """The package type that the name of a file tells."""
    return _PACKAGE_TYPES.get(kind_of(file.filename), "")


def entry_of(file: File) -> dict[str, Any]:
    """The entry of a file as far as a page has it."""
    time = to_rfc3339(file.upload_time) if file.upload_time is not None else None
    return {
        "filename": file.filename,
        "packagetype": package_type(file) or None,
        "requires_python": file.requires_python or None,
        "size": file.size,
        "upload_time_iso_8601": time,
        "yanked": file.yanked is not False,
        "yanked_reason": file.yanked if isinstance(file.yanked, str) else None,
    }


@lru_cache(maxsize=_REMEMBERED)
def _decoded(data: bytes, name: str) -> LegacyDocument:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _broken(name) from error
    info = value.get("info") if isinstance(value, dict) else None
    releases = value.get("releases") if isinstance(value, dict) else None
    if not isinstance(info, dict) or not _are_releases(releases):
        raise _broken(name)
    return LegacyDocument(info, releases)


def _are_releases(value: Any) -> TypeGuard[dict[str, list[dict[str, Any]]]]:
    return isinstance(value, dict) and all(
        isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries) for entries in value.values()
    )


def _broken(name: str) -> BadUpstream:
    return BadUpstream(
        f"the JSON document of {name} cannot be read", hint="ask the upstream's operator; the project is tried again"
    )
