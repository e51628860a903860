"""Works through the projects of a run, several at a time. A project that has to wait keeps no other from being done.

pile ─► workers ─► ended
          │  ▲
          └──┴ stale: again after a pause
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from heapq import heappop, heappush
from typing import Final

from pkgindex_core.clock import Clock
from pkgindex_core.storage_failures import storage_failure
from pkgindex_mirror.syncing.project_work import ProjectOutcome, ProjectWork
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.values import Listed

_DOWN_IN_A_ROW: Final = 30
"""Projects in a row for which the upstream could not be asked, after which it counts as down."""

Ended = Callable[[Listed, ProjectOutcome], None]
Sleep = Callable[[float], Awaitable[None]]


class UpstreamDownError(Exception):
    """The upstream stopped answering in the middle of a run."""


class StoppedError(Exception):
    """A project failed, and the settings say that this ends the run."""


class Crew:
    """`ended` is called once for each project, when the work on it has ended."""

    def __init__(
        self, work: ProjectWork, settings: RunSettings, clock: Clock, ended: Ended, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._work = work
        self._settings = settings
        self._clock = clock
        self._ended = ended
        self._sleep = sleep
        self._later: list[tuple[float, Listed, int]] = []
        self._down = 0

    async def run(self, projects: Iterator[Listed]) -> None:
        """Work until all is done. Raises `StorageFull`, `UpstreamDownError` and `StoppedError`, with the rest not done."""
        tasks = [asyncio.create_task(self._worker(projects)) for _ in range(self._settings.projects_at_once)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _worker(self, projects: Iterator[Listed]) -> None:
        while True:
            found = await self._next(projects)
            if found is None:
                return
            listed, attempt = found
            try:
                outcome = await self._work.bring(listed, attempt=attempt)
            except OSError as error:
                raise storage_failure(error, "while projects were mirrored", place="the mirror") from error
            self._take(listed, attempt, outcome)

    async def _next(self, projects: Iterator[Listed]) -> tuple[Listed, int] | None:
        """The next project, with the number of the attempt. Waits if all that is left has to wait."""
        while True:
            if self._later and self._later[0][0] <= self._clock.monotonic():
                _, listed, attempt = heappop(self._later)
                return listed, attempt
            listed_now = next(projects, None)
            if listed_now is not None:
                return listed_now, 1
            if not self._later:
                return None  # the worker that finds a project stale is there to do it later
            await self._sleep(max(self._later[0][0] - self._clock.monotonic(), 0.01))

    def _take(self, listed: Listed, attempt: int, outcome: ProjectOutcome) -> None:
        if outcome.kind == "stale":
            pause = self._settings.stale_pause * 2.0 ** (attempt - 1)
            heappush(self._later, (self._clock.monotonic() + pause, listed, attempt + 1))
            return
        self._ended(listed, outcome)
        self._down = self._down + 1 if outcome.is_down else 0
        if self._down >= _DOWN_IN_A_ROW:
            raise UpstreamDownError(outcome.reason)
        if outcome.kind == "failed" and self._settings.stop_on_error:
            raise StoppedError(f"{listed.name}: {outcome.reason}")
