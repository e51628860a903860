"""The files of mirrors: a stored file is opened, another one is fetched, or the client is sent to the upstream.

All who want a file share one fetch, which a cancelled reader does not end. A file whose policy is `streamed` is passed on to clients
(`passed_files`); what the server itself needs, as for a push, is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from msgspec.structs import replace
from yarl import URL

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Arriving, Blob, BlobStore, OnDisk, Opened, Projects, Redirect
from pkgindex_core.protocols.sources import FilePart, Wanted
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.file_policies import policies_of
from pkgindex_mirror.readthrough.counts import IndexesCounts
from pkgindex_mirror.readthrough.files.cold_files import ArrivingFile
from pkgindex_mirror.readthrough.files.fetching import Fetch
from pkgindex_mirror.readthrough.files.file_parts import FileParts
from pkgindex_mirror.readthrough.files.passed_files import PassedFile, PassedReading, passing
from pkgindex_mirror.readthrough.files.shared_fetches import SharedFetches, Turn
from pkgindex_mirror.readthrough.files.sidecars import ByteSource, StoredWheel, arrived
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.sites import Site, usable_site
from pkgindex_mirror.upstreams.upstream import UpstreamClient

Amend = Callable[[IndexConfig, ProjectName, Mapping[str, Callable[[File], File]]], Awaitable[None]]
"""Changes stored entries of files: index, project, and by filename the function that makes the new entry (`Refreshing.amend`)."""

Compare = Callable[[IndexConfig, ProjectName, File, ByteSource], Awaitable[None]]
"""Compares the metadata that a page has for a file with that of the verified wheel (`MirroredMetadata.compare`)."""

_Key = tuple[IndexName, ProjectName, str, str, bool]
"""Index, project, filename, URL, and whether the file is kept."""

_WRONG_PAUSE = 10.0
"""Seconds for which a file whose bytes were wrong is not fetched again."""
_REMEMBERED = 1000
"""Files with wrong bytes that are remembered."""


class MirroredFiles:
    """Opens and fetches the files of all mirrors."""

    def __init__(
        self,
        *,
        client: UpstreamClient,
        store: Projects,
        blob_store: BlobStore,
        cache: FileCache,
        clock: Clock,
        workers: Executor,
        settings: MirrorSettings,
        tasks: Tasks,
        amend: Amend,
        counts: IndexesCounts,
        shared: SharedFetches,
        compare: Callable[[], Compare],
    ) -> None:
        self._client = client
        self._store = store
        self._blob_store = blob_store
        self._cache = cache
        self._clock = clock
        self._workers = workers
        self._settings = settings
        self._tasks = tasks
        self._amend = amend
        self._counts = counts
        self._shared = shared
        self._compare = compare
        self._parts = FileParts(client, clock, tasks)
        self._arriving: dict[_Key, ArrivingFile] = {}
        self._fetched_bytes = 0  # since memory was given back
        self._wrong: BoundedCache[Hashable, tuple[float, str]] = BoundedCache(_REMEMBERED)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        """As `Source.open`."""
        return await self._here(index, file, elsewhere=elsewhere) or Arriving(
            await self.fetch(index, project, file, kept=not elsewhere or self.keeps(index, project))
        )

    async def open_part(
        self, index: IndexConfig, project: ProjectName, file: File, wanted: Wanted
    ) -> Opened | FilePart:
        """As `Excerpting.open_part`."""
        here = await self._here(index, file, elsewhere=True)
        if here is not None:
            return here
        until, _ = self._wrong.get(_identity(index, project, file)) or (0.0, "")
        if self._clock.monotonic() >= until:
            under_way = self._arriving.get((index.name, project, file.filename, file.url, self.keeps(index, project)))
            part = await self._parts.read(usable_site(index), file, wanted, under_way)
            if part is not None:
                return part
        return await self.open(index, project, file)

    async def _here(self, index: IndexConfig, file: File, *, elsewhere: bool) -> OnDisk | Redirect | None:
        """The way to a file that is stored, or that clients may fetch themselves; None if it has to be fetched."""
        blob = await self._cache.stat(file.sha256) if file.sha256 else None
        if blob is not None and file.size in {None, blob.size}:  # a blob of another size is damaged: fetch it again
            return OnDisk(blob)
        url = await self._external_url(index, file) if elsewhere and mirror_options(index).use_external_urls else None
        if url is not None:
            return Redirect(url)
        return None

    def keeps(self, index: IndexConfig, project: ProjectName) -> bool:
        """Whether files that clients request are stored."""
        return policies_of(index).of(project) != "streamed"

    async def fetch(
        self, index: IndexConfig, project: ProjectName, file: File, *, kept: bool = True
    ) -> ArrivingFile | PassedReading:
        """Fetch a file that is not stored. Returns as soon as its transfer begins. `kept`: it is stored then."""
        arriving = self.start(index, project, file, kept=kept)
        wait = self._settings.file_wait
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._client.hosts.patience(file.url, wait)):
                await arriving.headers()
        except TimeoutError as error:
            self._client.hosts.waited_in_vain(file.url, wait, begun)
            raise Unavailable(f"{file.filename} is not stored yet: its upstream has not answered") from error
        return arriving

    def start(
        self, index: IndexConfig, project: ProjectName, file: File, *, kept: bool = True
    ) -> ArrivingFile | PassedReading:
        """Fetch a file, or join the fetch that is under way. Does not await, so that a file has one fetch."""
        key = (index.name, project, file.filename, file.url, kept)
        arriving = self._arriving.get(key)
        until, wrong = self._wrong.get(_identity(index, project, file)) or (0.0, "")
        if self._clock.monotonic() < until:
            raise BadUpstream(wrong, hint="the file was not kept; report it to the operator of the upstream")
        if arriving is None or arriving.failed:
            site = usable_site(index)
            arriving = (ArrivingFile if kept else PassedFile)(self._blob_store, self._workers)
            started = arriving

            async def run() -> None:
                await self._run_fetch(index, site, project, file, started)

            task = self._tasks.start(run, name=f"fetch {file.filename}")
            self._arriving[key] = arriving
            task.add_done_callback(lambda ended: self._arrived(key, started, ended))
        else:
            self._counts[index.name].fetched["joined"] += 1
        return arriving.reading() if isinstance(arriving, PassedFile) else arriving

    async def wheel_here(self, index: IndexConfig, project: ProjectName, file: File) -> ByteSource | None:
        """The wheel, if it is stored, or if all its bytes arrived and are verified; otherwise None."""
        arriving = self._arriving.get((index.name, project, file.filename, file.url, True))
        if arriving is not None and arriving.is_verified and not arriving.failed:
            return await arrived(arriving)  # verified bytes: readers need not wait until they are durable
        blob = await self._stored_blob(index, project, file)
        return StoredWheel(self._blob_store, blob.sha256, blob.size) if blob is not None else None

    def _arrived(
        self,
        key: _Key,
        arriving: ArrivingFile,
        ended: asyncio.Task[None],
    ) -> None:
        if self._arriving.get(key) is arriving:
            del self._arriving[key]
        if ended.cancelled():  # perhaps before `run` began, which would have told the readers
            arriving.fail(Unavailable("the server is stopping"))
            return
        self._fetched_bytes += arriving.size or 0
        if not self._arriving and self._fetched_bytes >= LARGE:
            self._fetched_bytes = 0
            self._workers.submit(give_back)  # the pieces of files came in many threads, each with memory of its own

    async def _run_fetch(
        self, index: IndexConfig, site: Site, project: ProjectName, file: File, arriving: ArrivingFile
    ) -> None:
        """Run the fetch, and remember wrong bytes."""

        async def commit(blob: Blob) -> None:
            if file.filename.lower().endswith(".whl"):
                await self._compare_metadata(index, project, file, arriving, blob)
            if not file.sha256 or file.size is None:
                await self._amend(index, project, {file.filename: lambda now: _completed(now, file, blob)})

        is_kept = not isinstance(arriving, PassedFile)
        fetch = Fetch(
            self._client,
            self._cache,
            self._settings,
            site=site,
            file=file,
            arriving=arriving,
            arrival=self._cache.arriving if is_kept else partial(passing, self._cache),
            turn=partial(self._shared.turn, "\n".join(map(str, _identity(index, project, file))))
            if is_kept
            else _alone,
            stored=lambda: self._stored_blob(index, project, file),
            commit=commit,
        )
        await fetch.run()
        self._counts[index.name].fetched["failed" if arriving.failed else "stored" if is_kept else "streamed"] += 1
        if fetch.wrong:
            # The answers of readers were cut off. Their next request gets this reason.
            until = self._clock.monotonic() + _WRONG_PAUSE
            self._wrong.put(_identity(index, project, file), (until, fetch.wrong))

    async def _stored_blob(self, index: IndexConfig, project: ProjectName, file: File) -> Blob | None:
        sha256 = file.sha256
        if sha256 is None:
            now = await self._store.file(index.name, project, file.filename)
            sha256 = now.sha256 if now is not None and now.url == file.url else None
        blob = await self._cache.stat(sha256) if sha256 else None
        if blob is not None and file.size not in {None, blob.size}:
            return None  # damaged on the disk: the fetched file replaces it
        return blob

    async def _compare_metadata(
        self, index: IndexConfig, project: ProjectName, file: File, arriving: ArrivingFile, blob: Blob
    ) -> None:
        """Compare what the page has now with a wheel that was fetched."""
        now = await self._store.file(index.name, project, file.filename)
        if now is not None and now.url == file.url:
            wheel: ByteSource = StoredWheel(self._blob_store, blob.sha256, blob.size)  # stored by another process
            if arriving.is_verified:
                wheel = await arrived(arriving)  # its end is in memory
            await self._compare()(index, project, now, wheel)

    async def _external_url(self, index: IndexConfig, file: File) -> str | None:
        """The URL at which a client may fetch a file itself; None when the mirror must fetch it."""
        allowed = await self._client.connections.leads_out(usable_site(index), file.url)
        return str(URL(file.url, encoded=file.url.isascii())) if allowed else None


def _alone(_: ArrivingFile) -> AbstractAsyncContextManager[Turn | Sha256]:
    """The turn to fetch a file that other processes cannot share, since it is not kept."""
    return nullcontext(Turn())


def _identity(index: IndexConfig, project: ProjectName, file: File) -> tuple[Hashable, ...]:
    """The key of a fetch for all processes, and of a file with wrong bytes. Has what the page says of the bytes: its change is another fetch."""
    return (index.name, project, file.filename, file.url, file.size, *sorted(file.digests.items()))


def _completed(now: File, fetched: File, blob: Blob) -> File:
    """Record the sha256 and size of the fetched bytes, if the page has no others."""
    if now.url != fetched.url or now.sha256 not in {None, blob.sha256}:
        return now
    return replace(now, digests={"sha256": blob.sha256, **now.digests}, size=blob.size, stated_size=None)
