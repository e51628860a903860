"""Reads the provenance of files (PEP 740): what was kept at the upload, or what the upstream of a mirror says.

A file that pages hide has no provenance either.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.attestations import KIND, SUFFIX
from pkgindex_core.formats.fragments import directory
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, Principal, ReleaseRecords, Trees
from pkgindex_core.protocols.sources import Proving
from pkgindex_core.rules.permissions import Action, as_for_files, permits
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.tools.sources import Sources


class FileProvenance(Struct, frozen=True, kw_only=True):
    """The provenance of one file."""

    document: bytes
    publisher: str
    """The verified publisher, as `formats.publishers` writes it; empty: the document is not verified."""
    public: bool
    """Whether anonymous clients may have it, so that shared caches may keep it."""


class _Store(Trees, ReleaseRecords, Protocol): ...


class Provenances:
    """Reads provenance."""

    def __init__(self, *, store: _Store, blobs: BlobStore, files: Files, locating: Locating, sources: Sources) -> None:
        self._store = store
        self._blobs = blobs
        self._files = files
        self._locating = locating
        self._sources = sources

    async def read(
        self, start: IndexName, project: ProjectName, version: str, filename: str, *, principal: Principal
    ) -> FileProvenance:
        """The provenance of a file that an index shows. Raises `Missing` without one, and `Unavailable` when an upstream does not answer."""
        index, file = await self._locating.locate(start, filename, principal=principal, project=project)
        await self._files.describe(index, directory(file), filename, principal=principal)
        if canonical_version(file.version) != canonical_version(version) or not file.provenance:
            raise _missing(project, version, filename)
        config = (await self._store.tree()).indexes[index]
        source = self._sources.of(config)
        publisher = file.publisher
        if file.url:
            if not isinstance(source, Proving):
                raise Unavailable(
                    f"the provenance of {filename} is at the upstream of {index}, which is not asked here"
                )
            document, publisher = await source.provenance(config, project, file)
        else:
            document = await self._kept(index, project, version, file)
        public = permits(Principal(), Action.READ, index=as_for_files(config)).allowed
        return FileProvenance(document=document, publisher=publisher, public=public)

    async def _kept(self, index: IndexName, project: ProjectName, version: str, file: File) -> bytes:
        name = f"{file.filename}{SUFFIX}"
        for each in await self._store.attachments(index, project):
            if (each.kind, each.filename) == (KIND, name):
                return b"".join([chunk async for chunk in self._blobs.read(each.sha256)])
        raise _missing(project, version, file.filename)


def _missing(project: ProjectName, version: str, filename: str) -> Missing:
    return Missing("provenance", f"{project}/{version}/{filename}"[:300])
