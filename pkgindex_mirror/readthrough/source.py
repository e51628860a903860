"""`ReadThrough`, the `Source` of mirror indexes. It owns all that a mirror needs, and hands each call to the part that does it.

    pages and lists   `asking`, which uses `refreshing` and `refreshing_names`
    files             `mirrored_files`, within the bound of `file_cache`
    metadata          `mirrored_metadata`
    provenance        `mirrored_provenance`

The modules that `TYPE_CHECKING` names are loaded at the first question of their kind, so that a server starts without them. Those for pages and
metadata are loaded when the upstream is examined.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import ReadOnly, Unavailable
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import (
    Blob,
    Freshness,
    IndexWriter,
    ListedNames,
    Names,
    Notes,
    Opened,
    Projects,
    Source,
    Trees,
)
from pkgindex_core.protocols.attestations import AttestationVerifier
from pkgindex_core.protocols.learning import Learning, LearningBlobs
from pkgindex_core.protocols.measuring import Figures, Measured
from pkgindex_core.protocols.sources import NOTHING_SPOOLED, Doubting, Examiner, Excerpting, FilePart, Proving, Wanted
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.policing.lines import ServerPolicies, lines_of
from pkgindex_core.tools.bounded_cache import Caching, NamedCache
from pkgindex_core.tools.name_streams import stored_names
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.readthrough.checks import Checks
from pkgindex_mirror.readthrough.counts import IndexesCounts
from pkgindex_mirror.readthrough.noted_checks import NotedChecks
from pkgindex_mirror.readthrough.pages.asking import Asking
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.synced_indexes import is_synced, synced_freshness, synced_names
from pkgindex_mirror.upstreams.sites import site_of

if TYPE_CHECKING:
    from pkgindex_mirror.readthrough.files.mirrored_files import MirroredFiles
    from pkgindex_mirror.readthrough.files.mirrored_metadata import MirroredMetadata
    from pkgindex_mirror.readthrough.files.mirrored_provenance import MirroredProvenance
    from pkgindex_mirror.readthrough.files.stated_sizes import StatedSizes
    from pkgindex_mirror.readthrough.pages.flat_pages import FlatPages
    from pkgindex_mirror.readthrough.pages.refreshing import Refreshing
    from pkgindex_mirror.readthrough.pages.refreshing_names import RefreshingNames
    from pkgindex_mirror.readthrough.stale_limit import StaleLimit
    from pkgindex_mirror.upstreams.upstream import UpstreamClient

_READY_THREADS = 3
"""Threads that an examination starts, because a client would wait for the start of a thread too."""
_REHEARSED = (
    b'{"meta":{"api-version":"1.0"},"name":"a","versions":["1.0"],"files":[{"filename":"a-1.0.linux-x86_64.tar.gz",'
    b'"hashes":{"sha256":"%b"},"url":"https://example.org/a-1.0.linux-x86_64.tar.gz","size":1}]}' % (b"0" * 64)
)
"""A page with a name of the kind that takes longest to read."""
_EXAMINATION = 5.0
"""Seconds for the check of an upstream's URL, while the request that makes the index waits."""


class _Store(Trees, Projects, ListedNames, IndexWriter, Learning, Notes, Protocol): ...


class ReadThrough:
    """The source of all mirrors. Owns its client and its tasks; `close` ends both. `data`: the data directory."""

    def __init__(
        self,
        *,
        store: _Store,
        blob_store: LearningBlobs,
        clock: Clock,
        workers: Executor,
        data: Path,
        settings: MirrorSettings | None = None,
        client: UpstreamClient | None = None,
        verifier: Callable[[], AttestationVerifier | None] = lambda: None,
        policies: ServerPolicies = ServerPolicies(),  # noqa: B008 - a frozen value
    ) -> None:
        self._settings = settings or MirrorSettings()
        if client is not None:
            self._client = client
        self._store = store
        self._blobs = blob_store
        self._clock = clock
        self._workers = workers
        self._data = data
        self._verifier = verifier
        self._policies = policies
        self._checks = Checks(self._settings, clock)
        self._noted = NotedChecks(store)
        self.cache = FileCache(
            notes=store,
            blobs=blob_store,
            clock=clock,
            workers=workers,
            # While no upstream is asked, a file that was removed could not be fetched again.
            size=0 if self._settings.offline else self._settings.cache_bytes,
            age=0 if self._settings.offline else self._settings.cache_seconds,
        )
        self._counts = IndexesCounts()
        self._tasks = Tasks(self._settings.pending, full=self._busy)
        self._asking = Asking(
            client=lambda: self._client,
            refreshing=lambda: self._refreshing,
            refreshing_names=lambda: self._refreshing_names,
            stale_limit=lambda: self._stale_limit,
            checks=self._checks,
            tasks=self._tasks,
            clock=clock,
            settings=self._settings,
        )

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        if is_synced(index):
            if not standing.holds:
                return False
        elif not self._asking.is_current(index, project, standing):
            return False
        if standing.holds:
            self._counts[index.name].hit += 1
        else:
            self._counts[index.name].negative += 1
        return True

    def doubt(self, index: IndexConfig, project: ProjectName | None) -> None:
        self._asking.doubt(index, project)

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        before, counts = self._checks.get(index, project), self._counts[index.name]
        try:
            if is_synced(index):
                freshness = await synced_freshness(self._store, index, project, standing)
            else:
                freshness = await self._asking.refresh(index, project, standing, again=again)
        except Unavailable:
            counts.unknown += 1
            raise
        asked = self._checks.get(index, project) is not before
        counts.told(freshness, asked=asked, holds=standing.holds)
        if asked and (lines_of(index) or self._policies.of(index)):
            self._provenance.watch(index, project, self._policies)
        return freshness

    async def figures(self, indexes: Sequence[IndexConfig]) -> Sequence[Figures]:
        from pkgindex_mirror.readthrough.measuring import figures

        stored = {each.name: await self._store.project_count(each.name) for each in indexes}
        return await figures(
            indexes,
            stored,
            counts=self._counts,
            client=vars(self).get("_client"),  # not made for this
            cache=self.cache,
            under_way=len(self._tasks),
        )

    def caches(self) -> Sequence[NamedCache]:
        made = vars(self)
        caches = [
            NamedCache("checks", self._checks._checks),
            NamedCache("doubts", self._asking._doubts._doubts),
            NamedCache("uses", self.cache._uses._last),
            NamedCache("written_uses", self.cache._uses._written),
        ]
        client: UpstreamClient | None = made.get("_client")
        if client is not None:
            caches += [
                NamedCache("hosts", client.hosts._known),
                NamedCache("counted_upstreams", client.counts._counts),
            ]
        flat: FlatPages | None = made.get("_flat")
        if flat is not None:
            caches.append(NamedCache("flat_pages", flat._pages, "bytes"))
        sizes: StatedSizes | None = made.get("_sizes")
        if sizes is not None:
            caches.append(NamedCache("stated_sizes", sizes._resting))
        files: MirroredFiles | None = made.get("_files")
        if files is not None:
            caches += [
                NamedCache("wrong_files", files._wrong),
                NamedCache("no_ranges", files._parts._no_ranges),
                NamedCache("part_validators", files._parts._validators),
            ]
        metadata: MirroredMetadata | None = made.get("_metadata")
        if metadata is not None:
            caches.append(NamedCache("no_sidecars", metadata._no_sidecars))
        return caches

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        if is_synced(index):
            return await synced_names(self._store, index)
        if mirror_options(index).no_project_list or self._settings.offline:
            return self._requested_names(index)
        freshness = Freshness(state="fresh")
        if ask:
            freshness = await self._asking.refresh_names(index, await self._store.listing(index.name))
        if freshness.state == "absent":  # an upstream may have pages and no list
            return self._requested_names(index)
        listing = await self._store.listing(index.name)

        def listed(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        return Names(read=listed, stamp=listing.stamp, freshness=freshness, is_whole=listing.is_whole)

    def _requested_names(self, index: IndexConfig) -> Names:
        return Names(read=partial(stored_names, self._store, index.name), is_partial=True)

    async def examine(self, index: IndexConfig) -> str:
        site = site_of(index)
        if site is None:
            return "it has no usable mirror_url: set mirror_url to an http or https URL"
        await asyncio.gather(*(in_worker(self._workers, _rehearse) for _ in range(_READY_THREADS)))
        try:
            from pkgindex_mirror.readthrough.pages.base_urls import base_problem

            async with asyncio.timeout(_EXAMINATION):
                return await base_problem(self._client, site, without_list=mirror_options(index).no_project_list)
        except TimeoutError:
            return f"its upstream {urls.shown(site.base)} did not answer within {_EXAMINATION:.0f} s"

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        return await self._files.open(index, project, file, elsewhere=elsewhere)

    async def open_part(
        self, index: IndexConfig, project: ProjectName, file: File, wanted: Wanted
    ) -> Opened | FilePart:
        return await self._files.open_part(index, project, file, wanted)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        return await self._metadata.read(index, project, file)

    async def provenance(self, index: IndexConfig, project: ProjectName, file: File) -> tuple[bytes, str]:
        return await self._provenance.read(index, project, file)

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnly(index.name, index.type)

    @cached_property
    def _client(self) -> UpstreamClient:
        from pkgindex_mirror.upstreams.upstream import UpstreamClient

        return UpstreamClient(self._settings, self._clock)

    @cached_property
    def _refreshing(self) -> Refreshing:
        from pkgindex_mirror.readthrough.pages.refreshing import Refreshing

        return Refreshing(
            client=self._client,
            store=self._store,
            clock=self._clock,
            workers=self._workers,
            checks=self._checks,
            noted=self._noted,
            flat=lambda: self._flat,
            sizes=lambda: self._sizes,
            counts=self._counts,
            offline=self._settings.offline,
        )

    @cached_property
    def _refreshing_names(self) -> RefreshingNames:
        from pkgindex_mirror.readthrough.pages.refreshing_names import RefreshingNames

        return RefreshingNames(
            client=self._client,
            store=self._store,
            clock=self._clock,
            workers=self._workers,
            settings=self._settings,
            checks=self._checks,
            noted=self._noted,
            flat=lambda: self._flat,
        )

    @cached_property
    def _flat(self) -> FlatPages:
        from pkgindex_mirror.readthrough.pages.flat_pages import FlatPages

        return FlatPages(self._client, clock=self._clock, workers=self._workers, tasks=self._tasks)

    @cached_property
    def _sizes(self) -> StatedSizes:
        from pkgindex_mirror.readthrough.files.stated_sizes import StatedSizes

        return StatedSizes(
            client=self._client,
            store=self._store,
            clock=self._clock,
            workers=self._workers,
            amend=self._refreshing.amend,
        )

    @cached_property
    def _files(self) -> MirroredFiles:
        from pkgindex_mirror.readthrough.files.mirrored_files import MirroredFiles
        from pkgindex_mirror.readthrough.files.shared_fetches import SharedFetches

        return MirroredFiles(
            client=self._client,
            store=self._store,
            blob_store=self._blobs,
            cache=self.cache,
            clock=self._clock,
            workers=self._workers,
            settings=self._settings,
            tasks=self._tasks,
            amend=self._refreshing.amend,
            counts=self._counts,
            shared=SharedFetches(self._data / "fetching", self._workers),
            compare=lambda: self._metadata.compare,
        )

    @cached_property
    def _metadata(self) -> MirroredMetadata:
        from pkgindex_mirror.readthrough.files.mirrored_metadata import MirroredMetadata

        return MirroredMetadata(
            client=self._client,
            blob_store=self._blobs,
            clock=self._clock,
            settings=self._settings,
            tasks=self._tasks,
            files=self._files,
            amend=self._refreshing.amend,
            counts=self._counts,
        )

    @cached_property
    def _provenance(self) -> MirroredProvenance:
        from pkgindex_mirror.readthrough.files.mirrored_provenance import MirroredProvenance

        return MirroredProvenance(
            client=self._client,
            store=self._store,
            workers=self._workers,
            tasks=self._tasks,
            amend=self._refreshing.amend,
            verifier=self._verifier,
        )

    @cached_property
    def _stale_limit(self) -> StaleLimit:
        from pkgindex_mirror.readthrough.stale_limit import StaleLimit

        return StaleLimit(self._settings.stale_limit, store=self._store, noted=self._noted, clock=self._clock)

    def _busy(self) -> Unavailable:
        return Unavailable(f"{self._settings.pending} upstream requests are under way already")

    async def close(self) -> None:
        if "_sizes" in vars(self):
            await self._sizes.close()
        await self._tasks.close(grace=1.0)
        await self._noted.close()
        await self.cache.close()
        if "_client" in vars(self):
            await self._client.close()


def _rehearse() -> None:
    """Load what the first page and the first sidecar need, and read a page, so that no client waits for that: some 35 ms."""
    for module in (
        "packaging.utils",
        "pkgindex_mirror.readthrough.files.mirrored_metadata",
        "pkgindex_mirror.readthrough.pages.refreshing",
    ):
        import_module(module)
    from pkgindex_mirror.documents.plain_pages import read_plain

    read_plain(_REHEARSED, "application/json", "https://example.org/simple/a/", ProjectName("a"))


if TYPE_CHECKING:
    _: type[Source] = ReadThrough
    _also: type[Examiner] = ReadThrough
    _proving: type[Proving] = ReadThrough
    _third: type[Doubting] = ReadThrough
    _excerpting: type[Excerpting] = ReadThrough
    _measured: type[Measured] = ReadThrough
    _caching: type[Caching] = ReadThrough
