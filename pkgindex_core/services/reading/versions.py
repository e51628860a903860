"""Documents of a project's versions for devpi's client: metadata, links to files, documentation, test results.

Layers are those of the project's page. An unreadable index is not mentioned, not even in the histories of files that were pushed
from it, and a mirror is not asked for a private name. The document names the mirrors that could not be asked.

    resolution -> outline, packed (shared by equal requests, few made at a time) -> piece by piece, one version's metadata at a time

Descriptions of thousands of versions have hundreds of megabytes, so a document is never in memory as a whole. A slow reader holds
an outline, which equal requests share, and one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Final, Protocol
from weakref import WeakValueDictionary

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.formats.project_documents import DocumentWriter
from pkgindex_core.formats.project_outlines import Outline, OutlineLayer, OutlineVersion, Shown, outline
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, Page, Serial, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, ChangeLog, PageFilter, Principal, ReleaseRecords
from pkgindex_core.rules.filtering import applying, fingerprints, needs_releases, releases_of, why_hidden
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.resolution import Layer as ResolvedLayer
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

PIECE: Final = 64 * 1024
"""The size in bytes at which a piece is sent."""
_MANY_FILES: Final = 500
"""The number of files from which on a project counts as large. Few large documents are made at a time."""
_TURNS: Final = 16
_TURNS_OF_LARGE: Final = 2


class VersionsDocument(Struct, frozen=True, kw_only=True):
    """A JSON object in pieces, and the mirrors that are missing from it."""

    pieces: AsyncGenerator[bytes, None]
    stale: tuple[tuple[IndexName, str], ...]
    unknown: tuple[tuple[IndexName, str], ...]
    """Joining mirrors that could not be asked and have nothing stored, each with the reason."""


class _Store(ReleaseRecords, ChangeLog, Protocol): ...


class Versions:
    """Makes JSON objects, in pieces. Errors are raised before the first piece."""

    def __init__(
        self,
        *,
        store: _Store,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._assembling = assembling
        self._filters = filters
        self._workers = workers
        self._clock = clock
        self._building: SingleFlight[Outline] = SingleFlight(turns=_TURNS)
        self._building_large: SingleFlight[Outline] = SingleFlight(turns=_TURNS_OF_LARGE)
        self._outlines: WeakValueDictionary[Hashable, Outline] = WeakValueDictionary()

    async def project(
        self, start: IndexName, project: ProjectName, *, principal: Principal, root: str, alone: bool = False
    ) -> VersionsDocument:
        """All versions, by version. With `alone` those of this index only. `root` is the server's URL, without a slash.

        Raises `Missing` when no layer has the project, `Unavailable` when one could not be asked and no other has it.
        """
        resolution = await self._resolving.resolve(start, project, principal, alone=alone)
        resolution.require_some()
        serial = await self._store.head()
        found = await self._outline(resolution, None, serial)
        writer = DocumentWriter(project, root, _named(resolution.tree, principal))
        return VersionsDocument(
            pieces=self._written(found, project, writer, serial), stale=resolution.stale, unknown=resolution.unknown
        )

    async def version(
        self, start: IndexName, project: ProjectName, version: str, *, principal: Principal, root: str
    ) -> VersionsDocument:
        """One version, in any spelling."""
        resolution = await self._resolving.resolve(start, project, principal)
        resolution.require_some()
        serial = await self._store.head()
        found = await self._outline(resolution, canonical_version(version), serial)
        if not found.chunks:
            if resolution.unknown:
                index, reason = resolution.unknown[0]
                raise Unavailable(f"it is not known whether {index} has {project} {version}: {reason}")
            raise Missing(
                "version",
                f"{project} {version}",
                message=f"The version {version} of project {project} does not exist.",
            )
        writer = DocumentWriter(project, root, _named(resolution.tree, principal), alone=True)
        return VersionsDocument(
            pieces=self._written(found, project, writer, serial), stale=resolution.stale, unknown=resolution.unknown
        )

    async def _outline(self, resolution: Resolution, version: str | None, serial: Serial) -> Outline:
        """The outline of all versions, or of one. Concurrent equal requests share it."""
        moment = self._clock.now()
        key = (
            resolution.start,
            resolution.project,
            version,
            serial,
            resolution.key,
            fingerprints(self._filters, resolution.tree, resolution.start, moment, resolution.project),
        )
        known = self._outlines.get(key)
        if known is None:
            many = sum(layer.standing.file_count for layer in resolution.shown) >= _MANY_FILES
            building = self._building_large if many else self._building
            known = await building.get(key, lambda: self._outlined(resolution, version, serial, moment))
            self._outlines[key] = known
        return known

    async def _outlined(
        self, resolution: Resolution, version: str | None, serial: Serial, moment: Timestamp
    ) -> Outline:
        """Make an outline as of one commit. As on the page, a quarantined layer has nothing (PEP 792)."""
        parts = await self._assembling.read_at(replace(resolution, shown=resolution.offering), serial)
        layers = await asyncio.gather(*(self._layer(page, layer, version, serial) for layer, page in parts.pages))
        return await in_worker(self._workers, outline, layers, self._shown(resolution, layers, moment), version)

    async def _layer(self, page: Page, layer: ResolvedLayer, version: str | None, serial: Serial) -> OutlineLayer:
        if layer.config.mirrored:
            return OutlineLayer(page=page, mirrored=True)
        return OutlineLayer(
            page=page,
            mirrored=False,
            released=await self._released(layer.index, page.project, version, serial),
            attachments=await self._store.attachments(layer.index, page.project, at=serial),
        )

    async def _released(
        self, index: IndexName, project: ProjectName, version: str | None, serial: Serial
    ) -> tuple[str, ...]:
        if version is None:
            return tuple(await self._store.released(index, project, at=serial))
        release = await self._store.release(index, project, version, at=serial)
        return () if release is None else (release.version,)

    async def _written(
        self, found: Outline, project: ProjectName, writer: DocumentWriter, serial: Serial
    ) -> AsyncGenerator[bytes, None]:
        """Write the document in pieces. Metadata of a version is read when it is written, as of the outline's commit.

        A version whose metadata is no longer stored is written without it.
        """
        piece = bytearray()
        for record in found.records():
            if isinstance(record, OutlineVersion):
                release = None
                if record.released:
                    release = await self._store.release(record.index, project, record.spelled, at=serial)
                piece += writer.part(record, release)
            else:
                piece += writer.link(record)
            if len(piece) >= PIECE:
                yield bytes(piece)
                piece.clear()
                await asyncio.sleep(0)  # a fast client must not block the event loop
        yield bytes(piece) + writer.end()

    def _shown(self, resolution: Resolution, layers: Sequence[OutlineLayer], moment: Timestamp) -> Shown:
        filters = applying(self._filters, resolution.tree, resolution.start)
        if not filters:
            return _everything
        build = Build(tree=resolution.tree, start=resolution.start, project=resolution.project, moment=moment)
        if needs_releases(filters):
            files = ((each.page.index, decode_file(row.body)) for each in layers for row in each.page.rows)
            build = replace(build, release=releases_of(files))

        def shown(index: IndexName, file: File) -> bool:
            return not why_hidden(index, file, filters, build)

        return shown


def _named(tree: Tree, principal: Principal) -> Callable[[str], bool]:
    """A predicate for the indexes that a history may name: all except existing ones that the principal may not read."""
    judged: dict[str, bool] = {}

    def named(index: str) -> bool:
        if index not in judged:
            there = tree.indexes.get(IndexName(index))
            judged[index] = there is None or bool(permits(principal, Action.READ, index=there, some_project=True))
        return judged[index]

    return named


def _everything(_index: IndexName, _file: File) -> bool:
    return True
