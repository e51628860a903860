"""The source of all indexes of a replica whose content its primary has from elsewhere.

Pages of mirrors are commits of the primary. When one is asked for, the primary asks its upstream if the page is old, and the new page arrives with
a commit. Files of mirrors are fetched from the primary at their first request, and kept. Files of directories are blobs here, as uploads are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.hosted_source import HostedSource, stored
from pkgindex_core.errors import Corrupt, Missing, PkgIndexError, ReadOnlyReplica, Unavailable
from pkgindex_core.formats.feed import Refreshed
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Blob,
    ChangeLog,
    Freshness,
    IndexWriter,
    ListedNames,
    Names,
    OnDisk,
    Projects,
    Source,
)
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.replicas import ReplicaState
from pkgindex_core.protocols.sources import NOTHING_SPOOLED
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_mirror.replicas.primary import Primary
from pkgindex_mirror.settings import MirrorSettings

_BELIEVED_SECONDS: Final = 30.0
"""How long an answer of the primary counts. The primary decides when its upstream is asked."""
_REMEMBERED: Final = 100_000
_METADATA_LIMIT: Final = 32 << 20


class _Store(Projects, ListedNames, IndexWriter, ChangeLog, Protocol): ...


class FollowedSource:
    """A `Source` over the copy and its primary."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: LearningBlobs,
        primary: Primary,
        state: ReplicaState,
        clock: Clock,
        settings: MirrorSettings,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._primary = primary
        self._state = state
        self._clock = clock
        self._settings = settings
        self._hosted = HostedSource(store=store, blobs=blobs)
        self._asked: BoundedCache[tuple[IndexName, ProjectName], float] = BoundedCache(_REMEMBERED)
        self._news: SingleFlight[Refreshed] = SingleFlight()
        self._files: SingleFlight[Blob] = SingleFlight(turns=settings.concurrent_files)

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("asked", self._asked), *self._hosted.caches()]

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:  # noqa: ARG002  # the role's signature
        if not index.mirrored:
            return True
        asked = self._asked.get((index.name, project))
        return asked is not None and self._state.follows and self._clock.monotonic() - asked < _BELIEVED_SECONDS

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        if not index.mirrored:
            return await self._hosted.refresh(index, project, standing)
        if self.is_current(index, project, standing) and not again:
            return Freshness(state="fresh" if standing.holds else "absent")
        wait = self._settings.stale_wait if standing.holds else self._settings.wait
        try:
            async with asyncio.timeout(wait):
                news = await self._told(index.name, project, again=again)
        except TimeoutError:
            return self._stale(index, project, standing, f"{self._primary.url} did not answer in time")
        except PkgIndexError as error:
            return self._stale(index, project, standing, error.message)
        if news.state == "stale":
            return Freshness(state="stale", reason=news.reason)
        self._asked.put((index.name, project), self._clock.monotonic())
        return Freshness(state="absent" if news.state == "absent" and not standing.holds else "fresh")

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        if not index.mirrored:
            return await self._hosted.names(index)
        listing = await self._store.listing(index.name)
        if ask and not listing.is_whole:
            raise Unavailable(
                f"the project list of {index.name} is not here: {self._primary.url} has not asked for it yet",
                hint="list the projects there once",
            )

        def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        fresh = (
            Freshness(state="fresh") if self._state.follows else Freshness(state="stale", reason=self._state.problem)
        )
        return Names(read=read, stamp=listing.stamp, freshness=fresh, is_whole=listing.is_whole)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> OnDisk:
        if not index.mirrored:
            return await self._hosted.open(index, project, file, elsewhere=elsewhere)
        if (blob := await stored(self._blobs, file)) is not None:
            return OnDisk(blob)
        digest = file.sha256
        if digest is None:
            raise Unavailable(
                f"{file.filename} of {index.name} is not here, and its digest is not known", retry_after=None
            )
        self._require_primary(f"{file.filename} of {index.name}")
        return OnDisk(await self._files.get(digest, lambda: self._fetched(index.name, project, file, digest)))

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        if not index.mirrored:
            return await self._hosted.metadata(index, project, file)
        known = file.metadata_sha256
        if known and (blob := await self._blobs.stat(known)) is not None:
            return blob
        digest = known or file.sha256
        if digest is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        self._require_primary(f"{file.filename}.metadata of {index.name}")
        data = bytearray()
        async for chunk in self._primary.file(index.name, project, digest, file.filename, "sidecar"):
            data += chunk
            if len(data) > _METADATA_LIMIT:
                raise Corrupt(f"the metadata of {file.filename} is larger than {_METADATA_LIMIT} bytes")
        if known and sha256_of(bytes(data)) != known:
            raise Unavailable(f"{self._primary.url} sent other metadata of {file.filename} than it announced")
        return await self._blobs.learn(bytes(data))

    async def put(
        self,
        index: IndexConfig,  # noqa: ARG002  # the role's signature
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnlyReplica(self._primary.url)

    async def close(self) -> None:
        await self._primary.close()

    async def _told(self, index: IndexName, project: ProjectName, *, again: bool) -> Refreshed:
        """The state of a project at the primary, after its page has arrived here."""
        self._require_primary(f"news of {project} in {index}")
        news = await self._news.get(
            (index, project, again), lambda: self._primary.refreshed(index, project, again=again)
        )
        here = await self._store.head()
        while here < news.head:
            here = await self._store.wait(here, timeout=self._settings.wait)
        return news

    async def _fetched(self, index: IndexName, project: ProjectName, file: File, digest: Sha256) -> Blob:
        target = await self._blobs.copies() or self._blobs
        async with target.spool() as spool:
            async for chunk in self._primary.file(index, project, digest, file.filename, "file"):
                await spool.write(chunk)
            if spool.hexdigest() != digest:
                raise Unavailable(f"{self._primary.url} sent other bytes than those of {file.filename} of {index}")
            return await spool.keep()

    def _require_primary(self, what: str) -> None:
        if not self._state.follows:
            raise Unavailable(f"{what} is not here, and the replica does not follow now: {self._state.problem}")

    def _stale(self, index: IndexConfig, project: ProjectName, standing: Standing, reason: str) -> Freshness:
        if not standing.holds:
            raise Unavailable(f"project {project} of {index.name} is not here: {reason}")
        return Freshness(state="stale", reason=reason)


if TYPE_CHECKING:
    _: type[Source] = FollowedSource
