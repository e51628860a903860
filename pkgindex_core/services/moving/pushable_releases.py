"""A release as one index has it, ready to be pushed: to another index here, or to another server.

    rights -> is it known, shown, not quarantined -> its files, documentation, test results, metadata -> every blob is stored

Files that a mirror lists but has not stored are fetched and verified, and so is the metadata of wheels. Files that a page filter
hides are not pushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Release, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import (
    Blob,
    Build,
    OnDisk,
    PageFilter,
    Principal,
    Projects,
    Redirect,
    ReleaseRecords,
    Source,
)
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.pushing import Holding
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.sources import Sources

_FETCHES = 8
"""The number of files of one push that are fetched at once."""
_TRIES = 3
_RESTORE = "restore the blob from a backup, or upload the same file to the source again"


class PushableRelease(Struct, frozen=True, kw_only=True):
    """A release as one index has it. After `complete`, every blob that it names is stored."""

    source: IndexConfig
    project: ProjectName
    stamp: Serial
    content: str
    """As `Standing.content`."""
    holding: Holding


class _Store(Projects, ReleaseRecords, Protocol): ...


class PushableReleases:
    def __init__(
        self,
        *,
        store: _Store,
        blobs: LearningBlobs,
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
    ) -> PushableRelease:
        """Select and complete a release."""
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
    ) -> PushableRelease:
        """Select the part of a release that is to be pushed. Raises `Missing` when the version is unknown or has nothing to push."""
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
        shown = self._shown(resolution, part.files)
        if part.files and not shown:
            raise Missing("release", f"{project} {version}"[:160], hint="its files are hidden")
        shown = shown if files else ()
        names = {file.filename for file in shown}
        attachments = tuple(
            each for each in part.attachments if (docs if each.kind == "doczip" else each.about in names)
        )
        if not shown and not attachments:
            raise Missing("release", f"{project} {version}"[:160])
        part = replace(part, files=shown, attachments=attachments)
        standing = layer.standing
        return PushableRelease(
            source=config, project=project, stamp=standing.stamp, content=standing.content, holding=part
        )

    async def holding(self, config: IndexConfig, project: ProjectName, version: str, *, holds: bool) -> Holding:
        """Read what an index has of one version. Files of other versions are not decoded: a project may have thousands."""
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
        files = tuple(files)
        build = Build(
            tree=resolution.tree,
            start=resolution.start,
            project=resolution.project,
            moment=self._clock.now(),
            release=lambda _origin, _file: files,
        )
        return tuple(file for file in files if not why_hidden(resolution.start, file, filters, build))

    async def complete(self, pushable: PushableRelease, *, own: bool = False) -> PushableRelease:
        """Make sure that every blob is stored, and with `own` that a hosted index may name it.

        The release that is returned has the digests and sizes that were missing.
        """
        files = await _all(self._complete_file(pushable, file, own=own) for file in pushable.holding.files)
        for attachment in pushable.holding.attachments:
            blob = await self._blobs.stat(attachment.sha256)
            if blob is None or blob.size != attachment.size:
                raise Corrupt(
                    f"the bytes of {attachment.filename} are not in the blob store, or damaged", hint=_RESTORE
                )
        holding = replace(pushable.holding, files=files)
        if pushable.source.mirrored:
            holding = replace(holding, releases=(await self._described(holding, pushable.project),))
        return replace(pushable, holding=holding)

    async def _described(self, holding: Holding, project: ProjectName) -> Release:
        """The metadata of a mirrored release: from a wheel if there is one, otherwise what the page says."""
        for sidecar in (file.metadata_sha256 for file in holding.files):
            if sidecar is not None:
                data = b"".join([chunk async for chunk in self._blobs.read(sidecar)])
                metadata = read_metadata(data)
                if normalized_or_none(metadata.name) != project or not holding.of(metadata.version).files:
                    continue  # the metadata of another release
                return Release(version=metadata.version, metadata=version_documents.from_archive(metadata))
        version = holding.files[0].version
        requires_python = next((file.requires_python for file in holding.files if file.requires_python), "")
        name = holding.head.display_name or project
        return Release(version=version, metadata=version_documents.bare(name, version, requires_python))

    async def _complete_file(self, pushable: PushableRelease, file: File, *, own: bool) -> File:
        config, project = pushable.source, pushable.project
        source = self._sources.of(config)
        blob = await (self._own_blob if own else self._blob)(source, config, project, file)
        file = replace(file, digests={**file.digests, "sha256": blob.sha256}, size=blob.size)
        if not file.filename.endswith(".whl"):
            return file
        try:
            sidecar = (await source.metadata(config, project, file)).sha256
        except Missing:
            return replace(file, metadata_sha256=None)  # a wheel without core metadata
        if not config.mirrored:
            await self._look_for(sidecar, f"{file.filename}.metadata")
        return replace(file, metadata_sha256=sidecar)

    async def _blob(self, source: Source, config: IndexConfig, project: ProjectName, file: File) -> Blob:
        opened = await source.open(config, project, file, elsewhere=False)
        if isinstance(opened, Redirect):
            raise Unavailable(f"the bytes of {file.filename} cannot be had here")
        if not isinstance(opened, OnDisk):
            return await opened.file.finished()
        if opened.place is None and not config.mirrored:
            await self._look_for(opened.blob.sha256, file.filename)
        return opened.blob

    async def _look_for(self, key: Sha256, filename: str) -> None:
        """Ask the store: a source may believe a row, but a new row must not name bytes that are lost."""
        if await self._blobs.stat(key) is None:
            raise Corrupt(f"the bytes of {filename} are not in the blob store, or damaged", hint=_RESTORE)

    async def _own_blob(self, source: Source, config: IndexConfig, project: ProjectName, file: File) -> Blob:
        for _ in range(_TRIES):
            blob = await self._blob(source, config, project, file)
            try:
                await self._blobs.make_own(blob.sha256)
            except Missing:
                continue  # it was fetched earlier, and was evicted just now
            return blob
        raise Unavailable(f"{file.filename} is evicted faster than it can be pushed", hint="push it again")


async def _all(jobs: Iterable[Awaitable[File]]) -> tuple[File, ...]:
    """Run jobs, a few at once. Raises the first failure after all have ended."""
    gate = asyncio.Semaphore(_FETCHES)

    async def one(job: Awaitable[File]) -> File:
        async with gate:
            return await job

    outcomes = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return tuple(outcome for outcome in outcomes if isinstance(outcome, File))
