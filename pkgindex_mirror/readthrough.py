"""`ReadThrough`, the `Source` of mirror indexes: who waits for what, for how long, and what they are told.

Work is done in flights that nobody's cancellation touches. The rule that everything here serves: unknown is not
absent. Only an upstream's own 404 or 410 makes a project absent, only while nothing is stored; in all other trouble what is
stored is served and marked stale, and where nothing is stored the caller hears `Unavailable`, or `BadUpstream` when no waiting helps.

A host that gives no answer is waited for once and not once per project (`UpstreamClient.patience`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace
from yarl import URL

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import BadUpstream, Missing, ReadOnly, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Arriving,
    Blob,
    Freshness,
    IndexWriter,
    ListedNames,
    Names,
    OnDisk,
    Opened,
    Projects,
    Redirect,
    Source,
    Trees,
)
from pkgindex_core.protocols.learning import Learning, LearningBlobs
from pkgindex_core.protocols.sources import Examiner
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_mirror import sidecars, urls
from pkgindex_mirror.base_urls import base_problem
from pkgindex_mirror.checks import Check, Checks
from pkgindex_mirror.cold_files import ArrivingFile
from pkgindex_mirror.fetching import Fetch
from pkgindex_mirror.refreshing import Refreshing
from pkgindex_mirror.refreshing_names import NAMES, RefreshingNames
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.sidecars import ByteSource, StoredWheel, arrived
from pkgindex_mirror.sites import Site, site_of
from pkgindex_mirror.upstream import UpstreamClient
from pkgindex_mirror.upstream_answers import Failed, Gone
from pkgindex_mirror.zip_parts import Odd

_STALE_LEAST = 0.25
_LEAST = 1.0
"""Seconds for which even a host that others waited for in vain is waited for: an answer that comes at once is not missed."""
_EXAMINATION = 5.0
"""Seconds for a look at an upstream: somebody who makes an index waits for it."""
_WRONG_PAUSE = 10.0
"""Seconds for which a file whose bytes were wrong is not fetched again."""
_REMEMBERED = 1000
"""Files with wrong bytes, and hosts without sidecars, that are remembered."""
_NO_SIDECARS = 3600.0
"""Seconds for which an upstream that had no sidecar for one file is not asked for unannounced ones."""

_log = logging.getLogger(__name__)


class _Store(Trees, Projects, ListedNames, IndexWriter, Learning, Protocol): ...


class ReadThrough:
    """Makes mirror indexes fresh. Owns its client and its tasks; `close` ends both."""

    def __init__(
        self,
        *,
        store: _Store,
        blob_store: LearningBlobs,
        clock: Clock,
        workers: Executor,
        settings: MirrorSettings | None = None,
        client: UpstreamClient | None = None,
    ) -> None:
        self._settings = settings or MirrorSettings()
        self._client = client or UpstreamClient(self._settings, clock)
        self._blob_store = blob_store
        self._store = store
        self._clock = clock
        self._workers = workers
        self._checks = Checks(self._settings.remembered, clock, absent_expiry=self._settings.absent_expiry)
        self._refreshing = Refreshing(
            client=self._client, store=store, clock=clock, workers=workers, checks=self._checks
        )
        self._refreshing_names = RefreshingNames(
            client=self._client,
            store=store,
            clock=clock,
            workers=workers,
            settings=self._settings,
            checks=self._checks,
        )
        self._tasks = Tasks(self._settings.pending, full=self._busy)
        self._flights: SingleFlight[Check] = SingleFlight(self._tasks)
        self._sidecar_flights: SingleFlight[Blob] = SingleFlight(self._tasks)
        self._arriving: dict[tuple[IndexName, ProjectName, str, str], ArrivingFile] = {}
        self._wrong: BoundedCache[Hashable, tuple[float, str]] = BoundedCache(_REMEMBERED)
        self._no_sidecars: BoundedCache[urls.Origin, float] = BoundedCache(_REMEMBERED)

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        check = self._checks.get(index, project)
        return (
            check is not None
            and check.outcome == ("current" if standing.holds else "absent")
            and self._clock.monotonic() < self._checks.until(check, index)
        )

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        check = self._checks.get(index, project)
        if again or check is None or not self._stands(check, index, holds=standing.holds):
            try:
                check = await self._ask(index, project, holds=standing.holds, again=again)
            except Unavailable as error:
                # Too much is under way, or we are stopping: that takes nothing from what is stored.
                if not standing.holds:
                    raise
                return Freshness(state="stale", reason=error.message)
        return self._told(check, index, what=f"{project} in {index.name}", holds=standing.holds)

    async def _ask(self, index: IndexConfig, project: ProjectName, *, holds: bool, again: bool) -> Check | None:
        site = self._site(index)
        # The upstream is part of the key: whoever asks the new one must not be told what the one before said.
        flight = self._flights.join(
            (index.name, project, mirror_options(index).url, again),
            lambda: self._refreshing.page(index, site, project, holds=holds, again=again),
            name=f"refresh {project}",
        )
        return await self._outcome(flight, site.project_url(project), self._settings.wait, holds=holds)

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        if mirror_options(index).no_project_list:

            async def asked_for(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
                yield [row for row in await self._store.projects(index.name) if row.name > after]

            return Names(read=asked_for, is_partial=True)
        freshness = await self._refresh_names(index) if ask else Freshness(state="fresh")
        listing = await self._store.listing(index.name)

        def listed(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        return Names(read=listed, stamp=listing.stamp, freshness=freshness, is_whole=listing.is_whole)

    async def _refresh_names(self, index: IndexConfig) -> Freshness:
        holds = (await self._store.listing(index.name)).is_whole
        check = self._checks.get(index, NAMES)
        if check is None or not self._stands(check, index, holds=holds):
            try:
                check = await self._ask_names(index, holds=holds)
            except Unavailable as error:
                if not holds:
                    raise
                return Freshness(state="stale", reason=error.message)
        return self._told(check, index, what=f"the project list of {index.name}", holds=holds)

    async def _ask_names(self, index: IndexConfig, *, holds: bool) -> Check | None:
        site = self._site(index)
        flight = self._flights.join(
            (index.name, NAMES, mirror_options(index).url, False),
            lambda: self._refreshing_names.names(index, site),
            name="refresh project list",
        )
        # Installers ask for no list, people do, and the first one takes its time to arrive and to be stored.
        wait = max(self._settings.wait, self._settings.list_wait)
        return await self._outcome(flight, site.base, wait, holds=holds)

    async def examine(self, index: IndexConfig) -> str:
        site = site_of(index)
        if site is None:
            return "it has no usable mirror_url: set mirror_url to an http or https URL"
        try:
            async with asyncio.timeout(_EXAMINATION):
                return await base_problem(self._client, site, without_list=mirror_options(index).no_project_list)
        except TimeoutError:
            return f"its upstream {urls.shown(site.base)} gave no answer within {_EXAMINATION:.0f} s"

    def _stands(self, check: Check, index: IndexConfig, *, holds: bool) -> bool:
        """Whether an outcome is recent enough to be repeated. A page that vanished from the store is asked for again."""
        if check.outcome == "current" and not holds:
            return False
        return self._clock.monotonic() < self._checks.until(check, index)

    async def _outcome(self, flight: Flight[Check], url: str, wait: float, *, holds: bool) -> Check | None:
        """Wait for a flight, with something in store only briefly; None when it takes longer."""
        seconds, least = (min(wait, self._settings.stale_wait), _STALE_LEAST) if holds else (wait, _LEAST)
        begun = self._clock.monotonic()
        check = await flight.wait(self._client.patience(url, seconds, least=least))
        if check is None:
            self._waited_in_vain(url, seconds, begun)
        return check

    def _waited_in_vain(self, url: str, seconds: float, begun: float) -> None:
        """Count it against a host that it gave no answer, from when it was asked: our own queue and our store are not its fault."""
        sent = self._client.sent(url)
        if sent is not None:
            self._client.waited_in_vain(url, seconds - max(sent - begun, 0.0))

    def _told(self, check: Check | None, index: IndexConfig, *, what: str, holds: bool) -> Freshness:
        """What an outcome means to somebody who has, or has not, something stored. None: there was none in time."""
        if check is None:
            late = "its upstream has not answered yet"
            check = Check(url=mirror_options(index).url, outcome="failed", since=self._clock.monotonic(), reason=late)
        match check.outcome:
            case "current":
                return Freshness(state="fresh", checked=check.checked)
            case "absent" if not holds:
                return Freshness(state="absent", checked=check.checked)
            case _ if holds:
                return Freshness(state="stale", reason=check.reason, checked=check.checked)
        message = f"{what} is not known: {check.reason}"
        raise BadUpstream(message) if check.lasting else Unavailable(message)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        blob = await self._blob_store.stat(file.sha256) if file.sha256 else None
        if blob is not None and file.size in {None, blob.size}:  # what is shorter was damaged, and is replaced
            return OnDisk(blob)
        url = await self._external_url(index, file) if elsewhere and mirror_options(index).use_external_urls else None
        return Redirect(url) if url is not None else Arriving(await self.fetch(index, project, file))

    async def fetch(self, index: IndexConfig, project: ProjectName, file: File) -> ArrivingFile:
        """Fetch a file that is not stored. Returns once the upstream has answered with it."""
        arriving = self._fetch(index, project, file)
        wait = self._settings.file_wait
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._client.patience(file.url, wait, least=_LEAST)):
                await arriving.headers()
        except TimeoutError as error:
            self._waited_in_vain(file.url, wait, begun)
            raise Unavailable(f"{file.filename} is not here yet: its upstream has not answered") from error
        return arriving

    def _fetch(self, index: IndexConfig, project: ProjectName, file: File) -> ArrivingFile:
        """Join or start. No await between look-up and entry, so that a file has one fetch."""
        key = (index.name, project, file.filename, file.url)
        arriving = self._arriving.get(key)
        until, wrong = self._wrong.get(_identity(index, project, file)) or (0.0, "")
        if self._clock.monotonic() < until:
            raise BadUpstream(wrong, hint="nothing of it was kept")
        if arriving is None or arriving.failed:
            site = self._site(index)
            arriving = ArrivingFile(self._blob_store, self._workers)
            started = arriving

            async def run() -> None:
                await self._run_fetch(index, site, project, file, started)

            task = self._tasks.start(run, name=f"fetch {file.filename}")
            self._arriving[key] = arriving
            task.add_done_callback(lambda ended: self._arrived(key, started, ended))
        return arriving

    def _arrived(
        self,
        key: tuple[IndexName, ProjectName, str, str],
        arriving: ArrivingFile,
        ended: asyncio.Task[None],
    ) -> None:
        if self._arriving.get(key) is arriving:
            del self._arriving[key]
        if ended.cancelled():  # perhaps before its first step
            arriving.fail(Unavailable("the server is stopping"))

    async def _run_fetch(
        self, index: IndexConfig, site: Site, project: ProjectName, file: File, arriving: ArrivingFile
    ) -> None:
        """Fetch, unless an earlier fetch stored the file after the caller had looked."""

        async def commit(blob: Blob) -> None:
            if not file.sha256:
                await self._refreshing.amend(index, project, file.filename, lambda now: _with_sha256(now, file, blob))

        fetch = Fetch(
            self._client,
            self._blob_store,
            self._settings,
            site=site,
            file=file,
            arriving=arriving,
            stored=lambda: self._stored_blob(index, project, file),
            commit=commit,
        )
        await fetch.run()
        if fetch.wrong:
            # Readers whose answer had begun were cut off. When they ask again they are told why.
            until = self._clock.monotonic() + _WRONG_PAUSE
            self._wrong.put(_identity(index, project, file), (until, fetch.wrong))

    async def _stored_blob(self, index: IndexConfig, project: ProjectName, file: File) -> Blob | None:
        sha256 = file.sha256
        if sha256 is None:
            now = await self._store.file(index.name, project, file.filename)
            sha256 = now.sha256 if now is not None and now.url == file.url else None
        blob = await self._blob_store.stat(sha256) if sha256 else None
        if blob is not None and file.size not in {None, blob.size}:
            return None  # damaged on the disk: what is fetched replaces it
        return blob

    async def _external_url(self, index: IndexConfig, file: File) -> str | None:
        """Where a client may fetch a file itself; None when it could not, or should not be sent there."""
        allowed = await self._client.leads_out(self._site(index), file.url)
        return str(URL(file.url, encoded=file.url.isascii())) if allowed else None

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        stored = await self._blob_store.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if stored is not None:
            return stored
        site = self._site(index)
        flight = self._sidecar_flights.join(
            (index.name, project, file.filename),
            lambda: self._sidecar(index, site, project, file),
            name=f"sidecar {file.filename}",
        )
        wait = self._settings.file_wait
        begun = self._clock.monotonic()
        blob = await flight.wait(self._client.patience(file.url, wait, least=_LEAST))
        if blob is None:
            for url in (urls.with_suffix(file.url, ".metadata"), file.url):
                self._waited_in_vain(url, wait, begun)
            raise Unavailable(f"the metadata of {file.filename} is not here yet")
        return blob

    async def _sidecar(self, index: IndexConfig, site: Site, project: ProjectName, file: File) -> Blob:
        if file.metadata_sha256:
            stored = await self._blob_store.stat(file.metadata_sha256)
            if stored is not None:
                return stored
        try:
            data = await self._metadata(index, site, project, file)
            failpoint("sidecar.read")
            blob = await self._blob_store.learn(data)
            failpoint("sidecar.learned")
        except OSError as error:
            raise Unavailable(f"the metadata of {file.filename} could not be stored") from error
        if blob.sha256 != file.metadata_sha256:
            if file.metadata_sha256:
                _log.error("%s.metadata: the page announced another digest; it is corrected", urls.shown(file.url))
            await self._refreshing.amend(index, project, file.filename, lambda now: _with_sidecar(now, file, blob))
        return blob

    async def _metadata(self, index: IndexConfig, site: Site, project: ProjectName, file: File) -> bytes:
        """The exact bytes, from the first source that has the right ones."""
        wheel = await self._wheel_here(index, project, file)
        local = await self._read_from(wheel, project, file) if wheel is not None else None
        if isinstance(local, bytes) and _is_announced(local, file):
            return local
        failures: list[Failed] = []
        if local is None or file.metadata_sha256:
            offered = await self._offered(site, project, file)
            if isinstance(offered, bytes):
                return offered
            if isinstance(offered, Failed):
                failures.append(offered)
        if local is None:
            remote = await self._from_ranges(site, project, file)
            if isinstance(remote, bytes) and _is_announced(remote, file):
                return remote
            if isinstance(remote, Gone):
                return self._judge(remote, file, failures)
            # No ranges, or bytes that make no sense or are not those announced: the whole wheel, which is verified.
            local = await self._read_from(await arrived(self._fetch(index, project, file)), project, file)
        return self._judge(local, file, failures)

    async def _wheel_here(self, index: IndexConfig, project: ProjectName, file: File) -> ByteSource | None:
        """The wheel, if its bytes are here: all of them have arrived and are right, or they are stored."""
        arriving = self._arriving.get((index.name, project, file.filename, file.url))
        if arriving is not None and arriving.is_verified and not arriving.failed:
            return await arrived(arriving)  # its client has it already; nobody has to wait until it is durable
        blob = await self._stored_blob(index, project, file)
        return StoredWheel(self._blob_store, blob.sha256, blob.size) if blob is not None else None

    async def _read_from(self, wheel: ByteSource, project: ProjectName, file: File) -> bytes | Odd:
        found = await sidecars.metadata_in(wheel, project)
        if isinstance(found, Failed):
            raise found.error(f"the metadata of {file.filename}")
        return found

    def _judge(self, found: bytes | Gone | Odd, file: File, failures: Sequence[Failed]) -> bytes:
        """The last source has spoken. What the wheel itself holds is right, whatever was announced (PEP 658)."""
        if isinstance(found, bytes):
            return found
        if failures:
            raise failures[0].error(f"the metadata of {file.filename}")
        reason = found.reason if isinstance(found, Odd) else "the upstream no longer has it"
        raise Missing("metadata file", f"{file.filename}.metadata", hint=reason)

    async def _offered(self, site: Site, project: ProjectName, file: File) -> bytes | Gone | Failed:
        """The upstream's own sidecar. Whether it was announced without a digest is not recorded, so such upstreams are tried."""
        where = urls.origin(file.url)
        now = self._clock.monotonic()
        if not file.metadata_sha256 and now < (self._no_sidecars.get(where) or 0.0):
            return Gone(404)
        found = await sidecars.offered(self._client, site, file.url)
        if isinstance(found, Gone) and not file.metadata_sha256:
            self._no_sidecars.put(where, now + _NO_SIDECARS)
        if not isinstance(found, bytes):
            return found
        if not _is_announced(found, file):
            _log.error("%s.metadata: the upstream's bytes do not have the announced digest", urls.shown(file.url))
            return Gone(404)
        if not sidecars.describes(found, project):
            _log.warning("%s.metadata is no core metadata of %s", urls.shown(file.url), project)
            return Gone(404)
        return found

    async def _from_ranges(self, site: Site, project: ProjectName, file: File) -> bytes | Gone | Failed | Odd:
        remote = await sidecars.open_remote(self._client, site, file.url)
        if isinstance(remote, (Gone, Failed)):
            return remote
        if file.size is not None and file.size != remote.size:
            return Failed(reason=f"the upstream's file has {remote.size} bytes, {file.size} were expected")
        return await sidecars.metadata_in(remote, project)

    def _site(self, index: IndexConfig) -> Site:
        site = site_of(index)
        if site is None:
            raise BadUpstream(f"{index.name} has no usable mirror_url", hint="set mirror_url to an http or https URL")
        return site

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],  # noqa: ARG002  # the role's signature
        *,
        who: str,  # noqa: ARG002  # the role's signature
        require: Iterable[Requirement] = (),  # noqa: ARG002  # the role's signature
    ) -> Commit | None:
        raise ReadOnly(index.name, index.type)

    def _busy(self) -> Unavailable:
        return Unavailable(f"{self._settings.pending} upstream requests are under way already")

    async def close(self) -> None:
        await self._tasks.close(grace=1.0)
        await self._client.close()


def _identity(index: IndexConfig, project: ProjectName, file: File) -> Hashable:
    """A file and what its page says of its bytes: when the page says something else, it may be right."""
    return (index.name, project, file.filename, file.url, file.size, *sorted(file.digests.items()))


def _with_sha256(now: File, fetched: File, blob: Blob) -> File:
    """Record what the bytes turned out to be, if the page still means the same bytes."""
    if now.url != fetched.url or now.sha256:
        return now
    return replace(now, digests={"sha256": blob.sha256, **now.digests}, size=blob.size)


def _with_sidecar(now: File, read: File, blob: Blob) -> File:
    """Record the digest of a sidecar, and which announced one it proved wrong."""
    if now.url != read.url or now.metadata_sha256 != read.metadata_sha256:
        return now
    wrong = read.metadata_sha256 or now.metadata_refuted
    return replace(now, metadata_sha256=blob.sha256, metadata_offered=False, metadata_refuted=wrong)


def _is_announced(data: bytes, file: File) -> bool:
    return file.metadata_sha256 is None or sha256_of(data) == file.metadata_sha256


if TYPE_CHECKING:
    _: type[Source] = ReadThrough
    _also: type[Examiner] = ReadThrough
