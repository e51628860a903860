"""A release as one index has it, ready to be sent: to another index here, or to another server.

    rights -> is it known, shown, not quarantined -> its files, documentation, test results, metadata -> every blob is stored

What a mirror lists without having stored it is fetched and verified, a wheel's metadata too. What a page filter hides is not there to
be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Release, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import BlobStore, Build, OnDisk, PageFilter, Principal, Projects, Redirect, ReleaseRecords
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.promoting import Holding
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.sources import Sources

_FETCHES = 8
"""Files of one push that are fetched, or looked for, at once."""
_RESTORE = "restore the blob from a backup, or upload the same file to the source again"


class Parcel(Struct, frozen=True, kw_only=True):
    """A release as one index has it. Once it was completed, every blob that it names is stored."""

    source: IndexConfig
    project: ProjectName
    stamp: Serial
    content: str
    """As `Standing.content`."""
    holding: Holding


class _Store(Projects, ReleaseRecords, Protocol): ...


class Parcels:
    """Makes up parcels of what indexes have."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        resolving: Resolving,
        sources: Sources,
        filters: Mapping[str, PageFilter],
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._resolving = resolving
        self._sources = sources
        self._filters = filters
        self._clock = clock

    async def whole(
        self,
        source: IndexName,
        project: ProjectName,
        version: str,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
    ) -> Parcel:
        """A release as it would be pushed, for those who send it somewhere else."""
        return await self.complete(await self.select(source, project, version, principal, files=files, docs=docs))

    async def select(
        self,
        source: IndexName,
        project: ProjectName,
        version: str,
        principal: Principal,
        *,
        files: bool,
        docs: bool,
    ) -> Parcel:
        """What is to be pushed of what the source has. Raises `Missing` for a version that is not known, and for nothing to push."""
        resolution = await self._resolving.resolve(source, project, principal, action=Action.PUSH, alone=True)
        resolution.require_whole()
        if not resolution.offering:
            raise Missing("version", f"{project} {version}"[:160])
        (layer,) = resolution.offering
        config = layer.config
        holding = await self.holding(config, project, version, holds=True)
        if not holding.knows(version):
            raise Missing("version", f"{project} {version}"[:160])
        part = holding.of(version)
        shown = self._shown(resolution, part.files) if files else ()
        names = {file.filename for file in shown}
        attachments = tuple(
            each for each in part.attachments if (docs if each.kind == "doczip" else each.about in names)
        )
        if not shown and not attachments:
            raise Missing("release", f"{project} {version}"[:160])
        part = replace(part, files=shown, attachments=attachments)
        standing = layer.standing
        return Parcel(source=config, project=project, stamp=standing.stamp, content=standing.content, holding=part)

    async def holding(self, config: IndexConfig, project: ProjectName, version: str, *, holds: bool) -> Holding:
        """What an index has of one version; of a project with thousands of files no other is decoded."""
        page = await self._store.page(config.name, project) if holds else None
        if page is None:
            return Holding(index=config.name)
        hosted = not config.mirrored
        release = await self._store.release(config.name, project, version) if hosted else None
        wanted = canonical_version(version)
        return Holding(
            index=config.name,
            holds=True,
            head=page.head,
            files=tuple(decode_file(row.body) for row in page.rows if canonical_version(row.version) == wanted),
            attachments=tuple(await self._store.attachments(config.name, project)) if hosted else (),
            releases=(release,) if release is not None else (),
        )

    def _shown(self, resolution: Resolution, files: Iterable[File]) -> tuple[File, ...]:
        """The files that no filter of the index hides."""
        filters = applying(self._filters, resolution.tree, resolution.start)
        build = Build(
            tree=resolution.tree, start=resolution.start, project=resolution.project, moment=self._clock.now()
        )
        return tuple(file for file in files if not why_hidden(resolution.start, file, filters, build))

    async def complete(self, parcel: Parcel) -> Parcel:
        """Make sure that every blob of a parcel is stored; what that taught of its files stands in the one returned."""
        files = await _all(self._complete_file(parcel, file) for file in parcel.holding.files)
        for attachment in parcel.holding.attachments:
            blob = await self._blobs.stat(attachment.sha256)
            if blob is None or blob.size != attachment.size:
                raise Corrupt(
                    f"the bytes of {attachment.filename} are not in the blob store, or damaged", hint=_RESTORE
                )
        holding = replace(parcel.holding, files=files)
        if parcel.source.mirrored:
            holding = replace(holding, releases=(await self._described(holding, parcel.project),))
        return replace(parcel, holding=holding)

    async def _described(self, holding: Holding, project: ProjectName) -> Release:
        """What a mirror's files say of their release: a wheel if there is one, otherwise no more than the page."""
        for sidecar in (file.metadata_sha256 for file in holding.files):
            if sidecar is not None:
                data = b"".join([chunk async for chunk in self._blobs.read(sidecar)])
                metadata = read_metadata(data)
                if normalized_or_none(metadata.name) != project or not holding.of(metadata.version).files:
                    continue  # it speaks of something else
                return Release(version=metadata.version, metadata=version_documents.from_archive(metadata))
        version = holding.files[0].version
        requires_python = next((file.requires_python for file in holding.files if file.requires_python), "")
        name = holding.head.display_name or project
        return Release(version=version, metadata=version_documents.bare(name, version, requires_python))

    async def _complete_file(self, parcel: Parcel, file: File) -> File:
        config, project = parcel.source, parcel.project
        source = self._sources.of(config)
        opened = await source.open(config, project, file, elsewhere=False)
        if isinstance(opened, Redirect):
            raise Unavailable(f"the bytes of {file.filename} cannot be had here")
        blob = opened.blob if isinstance(opened, OnDisk) else await opened.file.finished()
        file = replace(file, digests={**file.digests, "sha256": blob.sha256}, size=blob.size)
        if not file.filename.endswith(".whl"):
            return file
        try:
            return replace(file, metadata_sha256=(await source.metadata(config, project, file)).sha256)
        except Missing:
            return replace(file, metadata_sha256=None)  # a wheel without core metadata


async def _all(jobs: Iterable[Awaitable[File]]) -> tuple[File, ...]:
    """Run jobs, a few at once; the first failure, after all have ended."""
    gate = asyncio.Semaphore(_FETCHES)

    async def one(job: Awaitable[File]) -> File:
        async with gate:
            return await job

    outcomes = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return tuple(outcome for outcome in outcomes if isinstance(outcome, File))
