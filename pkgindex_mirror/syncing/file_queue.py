"""The one queue of a run for all files of all projects, with a lane for each host.

    projects ─► lane of a host ─► as many transfers as its limit permits ─► told to the project

A project waits for its files. Files of one project and of many are alike here, so one project with thousands of files does not
keep the others from being fetched, beyond its place in the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.models import File
from pkgindex_mirror import urls
from pkgindex_mirror.syncing.lanes import AdaptiveLimit

_HOSTS_LIMIT: Final = 64
"""Hosts with a lane of their own. Pages may name any number of hosts; the others share one lane."""


class FetchedFile(Struct, frozen=True):
    """A file that is in its place now."""

    size: int


class UnfetchedFile(Struct, frozen=True, kw_only=True):
    """A file that could not be fetched."""

    filename: str
    reason: str
    is_trouble: bool
    """Whether its host is in trouble, so that fewer files are fetched at once."""


FileOutcome = FetchedFile | UnfetchedFile
Fetch = Callable[[File], Awaitable[FileOutcome]]
_Waiting = tuple[File, "_Batch"]


class _Batch:
    """The files of one project."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.left = count
        self.unfetched: list[UnfetchedFile] = []
        self.done: asyncio.Future[None] = loop.create_future()

    def told(self, outcome: FileOutcome) -> None:
        if isinstance(outcome, UnfetchedFile):
            self.unfetched.append(outcome)
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Lane:
    def __init__(self, limit: AdaptiveLimit) -> None:
        self.limit = limit
        self.waiting: deque[_Waiting] = deque()
        self.workers = 0


class FileQueue:
    """`fetch` brings one file, and raises only what ends the run."""

    def __init__(self, fetch: Fetch, clock: Clock, *, most_per_host: int) -> None:
        self._fetch = fetch
        self._clock = clock
        self._most = most_per_host
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def load(self) -> tuple[int, int]:
        """Transfers under way, and files that wait."""
        lanes = self._lanes.values()
        return sum(lane.workers for lane in lanes), sum(len(lane.waiting) for lane in lanes)

    async def bring(self, files: Sequence[File]) -> Sequence[UnfetchedFile]:
        """Fetch files, and return those that could not be."""
        if not files:
            return ()
        batch = _Batch(len(files), asyncio.get_running_loop())
        touched = []
        for file in files:
            lane = self._lane(file.url)
            lane.waiting.append((file, batch))
            touched.append(lane)
        for lane in dict.fromkeys(touched):
            self._start(lane)
        await batch.done
        return batch.unfetched

    async def close(self) -> None:
        """Cancel the transfers under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(self, url: str) -> _Lane:
        origin = str(urls.origin(url))
        if origin not in self._lanes and len(self._lanes) >= _HOSTS_LIMIT:
            origin = ""
        if origin not in self._lanes:
            self._lanes[origin] = _Lane(AdaptiveLimit(most=self._most))
        return self._lanes[origin]

    def _start(self, lane: _Lane) -> None:
        for _ in range(min(lane.limit.limit - lane.workers, len(lane.waiting))):
            lane.workers += 1
            task = asyncio.create_task(self._work(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: _Lane) -> None:
        """Fetch what waits in a lane, until nothing does or fewer transfers are permitted."""
        try:
            while lane.waiting and lane.workers <= lane.limit.limit:
                file, batch = lane.waiting.popleft()
                if batch.done.done():
                    continue
                try:
                    outcome = await self._fetch(file)
                except asyncio.CancelledError:
                    batch.done.cancel()
                    raise
                except Exception as error:
                    batch.fail(error)
                    continue
                batch.told(outcome)
                if isinstance(outcome, FetchedFile):
                    before = lane.limit.limit
                    lane.limit.succeeded()
                    if lane.limit.limit > before:
                        self._start(lane)
                elif outcome.is_trouble:
                    lane.limit.failed(self._clock.monotonic())
        finally:
            lane.workers -= 1
