"""Tells other servers of uploads: follows the log of commits and posts what `notices` makes of it.

    commits after the kept place -> notices -> each receiver's one after the other, receivers side by side -> place kept -> …

The place in the log lies in the data directory, written durably once everything before it was delivered or given up. So a notice is
delivered at least once: whoever gets one twice knows it by its serial and filename. Uploads by any process are seen, and a server that
was down tells of what happened meanwhile. Of several servers over one data directory one at a time tells (a lock on a file); servers with
data directories of their own over one store each tell.

A receiver that fails is asked again for a while; then the notice is given up, which the log says, and for a minute so are the next
ones to the same server. Meanwhile notices of later commits wait, to whomever: `hook_deadline` at most. Nobody who uploads ever waits
for any of this.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import Serial
from pkgindex_core.protocols import ChangeLog, Follower, Trees
from pkgindex_core.rules.freshness import parse_retry_after
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror import urls
from pkgindex_mirror.breaker import CircuitBreaker
from pkgindex_mirror.notices import Notice, has_receivers, notices
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.strangers import guarded_session
from pkgindex_mirror.upstream_answers import Failed, failure_of

PLACE = "webhooks.json"
LOCK = "webhooks.lock"
_BATCH = 20
_WAIT_SECONDS = 60.0
_LAZY_SECONDS = 10.0
"""How old the kept place may be while nothing was told: those commits are looked at again after a kill."""
_LOCK_SECONDS = 5.0
_GIVEN_UP_SECONDS = 60.0
_PAUSE_SECONDS = 5.0
_RECEIVERS_LIMIT = 1000

_log = logging.getLogger(__name__)


class _Place(Struct, frozen=True):
    serial: int


class _Store(Trees, ChangeLog, Protocol): ...


class Webhooks:
    """The follower that posts notices."""

    def __init__(
        self,
        *,
        store: _Store,
        data: Path,
        clock: Clock,
        workers: Executor,
        settings: MirrorSettings,
        public_url: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._data = data
        self._clock = clock
        self._workers = workers
        self._settings = settings
        self._public_url = public_url
        self._sleep = sleep
        self._dice = dice
        self._session: aiohttp.ClientSession | None = None
        self._breakers: BoundedCache[urls.Origin, CircuitBreaker] = BoundedCache(_RECEIVERS_LIMIT)
        self._kept: tuple[Serial, float] = (Serial(-1), 0.0)

    async def follow(self) -> None:
        async with self._turn():
            after = await self._begin()
            while True:
                try:
                    after = await self._step(after)
                except Unavailable as error:
                    _log.warning("commits cannot be followed now: %s", error)
                    await self._sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _step(self, after: Serial) -> Serial:
        """Tell of the next commits, or wait for some; the place behind them."""
        head = await self._store.head()  # before the tree: what comes between is then looked at
        tree = await self._store.tree()
        if not has_receivers(tree):
            # Nothing to tell, so nothing to read: a mirror's commits are many and large.
            await self._keep(head, told=False)
            await self._store.wait(head, timeout=_WAIT_SECONDS)
            return head
        commits = await self._store.commits(after, limit=_BATCH)
        if not commits:
            await self._store.wait(after, timeout=_WAIT_SECONDS)
            return after
        told = await self._tell([(commit, notices(commit, tree, self._public_url)) for commit in commits])
        failpoint("webhook.delivered")
        await self._keep(commits[-1].serial, told=told)
        return commits[-1].serial

    async def _tell(self, found: Sequence[tuple[Commit, Sequence[Notice]]]) -> bool:
        """Deliver notices: to each receiver in order, to all receivers at once. Whether there were any."""
        queues: dict[urls.Origin, list[Notice]] = {}
        for _, each in found:
            for notice in each:
                queues.setdefault(urls.origin(notice.url), []).append(notice)
        await asyncio.gather(*(self._deliver_all(where, queue) for where, queue in queues.items()))
        return bool(queues)

    async def _deliver_all(self, where: urls.Origin, queue: Sequence[Notice]) -> None:
        breaker = self._breakers.get(where)
        if breaker is None:
            breaker = CircuitBreaker(failures=1, interval=_GIVEN_UP_SECONDS)
            self._breakers.put(where, breaker)
        for notice in queue:
            if not breaker.permits(self._clock.monotonic()):
                _log.error("%s was told nothing of %s: it failed a moment ago", where, notice.about)
                continue
            failed = await self._deliver(notice)
            if failed is None:
                breaker.succeeded()
                continue
            if failed.healthy:
                breaker.succeeded()
            else:
                breaker.failed(self._clock.monotonic())
            _log.error("%s was told nothing of %s: %s", where, notice.about, failed.reason)

    async def _deliver(self, notice: Notice) -> Failed | None:
        """Post one notice, again for a while when that may help."""
        policy = self._settings.hook_policy()
        begun = self._clock.monotonic()
        for attempt in range(1, policy.attempts + 1):
            failed = await self._post(notice)
            if failed is None or not failed.again:
                return failed
            pause = policy.wait(
                attempt,
                elapsed=self._clock.monotonic() - begun,
                dice=self._dice(),
                retry_after=failed.retry_after,
            )
            if pause is None:
                return failed
            await self._sleep(pause)
        return failed

    async def _post(self, notice: Notice) -> Failed | None:
        if self._session is None:
            self._session = guarded_session(self._settings)
        headers = {"Authorization": notice.authorization} if notice.authorization else {}
        data: aiohttp.FormData | bytes = notice.json
        if notice.json:
            headers["Content-Type"] = "application/json"
        else:
            data = aiohttp.FormData(notice.fields)
            if notice.script:
                data.add_field("file0", notice.script.encode(), filename="file0", content_type="text/x-python")
        try:
            async with self._session.post(
                URL(notice.url, encoded=notice.url.isascii()),
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._settings.hook_timeout),
            ) as response:
                status = response.status
                retry_after = parse_retry_after(response.headers.get("Retry-After"), self._clock.now())
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return failure_of(error)
        if 200 <= status < 300 or (notice.redirect_is_success and status in {302, 303}):  # any success
            return None
        passing = status in {408, 425, 429} or status >= 500  # the server's own trouble
        return Failed(reason=f"it answered {status}", again=passing, healthy=not passing, retry_after=retry_after)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other process over this data directory tells."""
        if sys.platform == "win32":
            yield  # no such lock: run one server over a data directory
            return
        import fcntl

        descriptor = os.open(self._data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    await self._sleep(_LOCK_SECONDS)
                else:
                    break
            yield
        finally:
            os.close(descriptor)

    async def _begin(self) -> Serial:
        """Where to go on. The first time, and where the store is another one: here and now."""
        head = await self._store.head()
        place = await in_worker(self._workers, _read_place, self._data / PLACE)
        if place is not None and place <= head:
            self._kept = (place, self._clock.monotonic())
            return place
        await self._keep(head, told=True)
        return head

    async def _keep(self, serial: Serial, *, told: bool) -> None:
        kept, moment = self._kept
        now = self._clock.monotonic()
        if serial == kept or (not told and now - moment < _LAZY_SECONDS):
            return
        try:
            await in_worker(self._workers, _write_place, self._data / PLACE, serial)
        except OSError as error:
            # Going on from here tells everything once; only a kill now tells some of it again. Beginning again would tell it for ever.
            _log.warning("the place in the log cannot be kept: %s", error.strerror or type(error).__name__)
            return
        self._kept = (serial, now)


def _read_place(path: Path) -> Serial | None:
    try:
        return Serial(msgspec.json.decode(path.read_bytes(), type=_Place).serial)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        _log.exception("%s cannot be read; uploads are told of from now on", path.name)
        return None


def _write_place(path: Path, serial: Serial) -> None:
    """Durably, whole or not at all."""
    draft = path.with_name(f".{path.name}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.encode(_Place(serial)))
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


if TYPE_CHECKING:
    _: type[Follower] = Webhooks
