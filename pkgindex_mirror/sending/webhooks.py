"""Tells other servers of uploads: follows the log of commits and posts what `notices` makes of it.

    commits after the kept place -> notices -> delivered: one after the other to a receiver, receivers side by side -> place kept -> …

The place is a note of the store with the serial up to which notices were delivered or given up. So a notice is delivered at least
once; a receiver recognises a repeated one by its serial and filename. Uploads by any process have notices, also those made while the
server was down. If several servers share a store, only the one that holds the lease delivers. The place is moved by compare-and-set, so a
server that was suspended cannot move it back.

A notice that fails is sent again for a while and then given up, with a line in the log. For a minute, further notices to that server are
given up at once. Notices of later commits wait for those of earlier ones, at most `hook_deadline`. Uploads do not wait for notices. While
no index has a receiver, no lease is held, and the place follows the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import msgspec
from yarl import URL

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Clock
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import Serial
from pkgindex_core.protocols import ChangeLog, Follower, Notes, Trees
from pkgindex_core.rules.freshness import parse_retry_after
from pkgindex_core.tools import leases
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_mirror import urls
from pkgindex_mirror.sending.notices import Notice, has_receivers, notices
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.breaker import CircuitBreaker

if TYPE_CHECKING:
    from pkgindex_mirror.upstreams.upstream_answers import Failed

KIND: Final = "webhooks"
PLACE: Final = "place"
"""The key of the note with the place in the log."""
_LEASE_SECONDS = 30.0
_BATCH = 20
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.5
"""Seconds between two searches for receivers, so that many uploads cost one search. A new receiver gets the notices of all of them."""
_LAZY_SECONDS = 10.0
"""Seconds by which the kept place may be behind while there are no notices. After a kill those commits are read again."""
_TURN_SECONDS = 5.0
"""Seconds between two attempts to get the lease."""
_GIVEN_UP_SECONDS = 60.0
_PAUSE_SECONDS = 5.0
_RECEIVERS_LIMIT = 1000

_log = logging.getLogger(__name__)


class _Store(Trees, ChangeLog, Notes, Protocol): ...


class _PlaceMoved(Exception):
    """Another server has moved the place."""


class Webhooks:
    """The follower that posts notices."""

    def __init__(
        self,
        *,
        store: _Store,
        clock: Clock,
        settings: MirrorSettings,
        public_url: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._public_url = public_url
        self._sleep = sleep
        self._dice = dice
        self._session: aiohttp.ClientSession | None = None
        self._breakers: BoundedCache[urls.Origin, CircuitBreaker] = BoundedCache(_RECEIVERS_LIMIT)
        self._told = Serial(0)
        """The place of this server, even if it could not be kept."""
        self._kept: tuple[Serial, float] = (Serial(-1), 0.0)
        """The place that was last kept, and the monotonic time of it."""
        self._version = -1
        """The version of the note of the place, as this server last read or wrote it."""

    async def follow(self) -> None:
        while True:
            try:
                await self._wait_for_receivers()
                await leases.while_held(
                    self._store,
                    KIND,
                    f"{socket.gethostname()} {os.getpid()}",
                    self._tell_all,
                    seconds=_LEASE_SECONDS,
                    pause=lambda: self._sleep(_TURN_SECONDS),
                )
            except _PlaceMoved:
                continue
            except Unavailable as error:
                _log.warning("notices of uploads are delayed: the log of commits cannot be read: %s", error)
                await self._sleep(_PAUSE_SECONDS)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _wait_for_receivers(self) -> None:
        """Move the place with the log until an index has a receiver. Reads no commits: those of mirrors are many and large."""
        after = await self._begin()
        while True:
            head = await self._store.head()  # read before the tree: a commit between the two reads is still looked at
            if has_receivers(await self._store.tree()):
                await self._keep(after, at_once=True)
                return
            after = head
            await self._keep(after, at_once=False)
            await self._store.wait(after, timeout=_WAIT_SECONDS)
            await self._sleep(_LOOK_SECONDS)

    async def _tell_all(self, _: leases.HeldLease) -> None:
        """Deliver the notices of commits as they come, until no index has a receiver."""
        after = await self._begin()
        while True:
            tree = await self._store.tree()
            if not has_receivers(tree):
                return
            commits = await self._store.commits(after, limit=_BATCH)
            if not commits:
                await self._store.wait(after, timeout=_WAIT_SECONDS)
                continue
            told = await self._tell([(commit, notices(commit, tree, self._public_url)) for commit in commits])
            failpoint("webhook.delivered")
            after = commits[-1].serial
            await self._keep(after, at_once=told)

    async def _tell(self, found: Sequence[tuple[Commit, Sequence[Notice]]]) -> bool:
        """Deliver notices, in order to each receiver, to all receivers at once. True if there were any."""
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
                _log.error("%s did not get the notice of %s: it failed a moment ago", where, notice.about)
                continue
            failed = await self._deliver(notice)
            if failed is None:
                breaker.succeeded()
                continue
            if failed.healthy:
                breaker.succeeded()
            else:
                breaker.failed(self._clock.monotonic())
            _log.error("%s did not get the notice of %s: %s", where, notice.about, failed.reason)

    async def _deliver(self, notice: Notice) -> Failed | None:
        """Post one notice, with retries."""
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
        from pkgindex_mirror.upstreams.strangers import (
            guarded_session,  # loaded here, since a start does not need the client
        )
        from pkgindex_mirror.upstreams.upstream_answers import Failed, failure_of

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

    async def _begin(self) -> Serial:
        """The serial after which to go on; the head if there is no place yet."""
        note = await self._store.note(KIND, PLACE)
        version = note.version if note is not None else 0
        if version == self._version:  # what was delivered and could not be kept is not delivered again
            return self._told
        self._version, self._kept = version, (Serial(-1), 0.0)
        place = _decoded(note.value) if note is not None else None
        if place is None:
            place = await self._store.head()
            await self._keep(place, at_once=True)
        else:
            self._told, self._kept = place, (place, self._clock.monotonic())
        return place

    async def _keep(self, serial: Serial, *, at_once: bool) -> None:
        """Keep the place; not yet, unless `at_once`, if it was kept lately. Raises `_PlaceMoved` if another server has moved it."""
        self._told = serial
        kept, moment = self._kept
        now = self._clock.monotonic()
        if serial == kept or (not at_once and now - moment < _LAZY_SECONDS):
            return
        try:
            version = await self._store.put_note(KIND, PLACE, msgspec.json.encode(serial), expected=self._version)
        except PkgIndexError as error:
            # Go on all the same: notices repeat only after a kill. Starting again would repeat them as long as the store fails.
            _log.warning("the place in the log cannot be kept: %s", error)
            return
        if version is None:
            raise _PlaceMoved
        self._kept, self._version = (serial, now), version


def _decoded(value: bytes) -> Serial | None:
    try:
        return Serial(msgspec.json.decode(value, type=int))
    except msgspec.DecodeError:
        _log.exception("the place in the log cannot be read; earlier uploads get no notices")
        return None


if TYPE_CHECKING:
    _: type[Follower] = Webhooks
