"""The progress of a run as numbers: done so far, and left. Shown live, and written to the status of the run."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from msgspec import Struct

from pkgindex_core.clock import Clock

Phase = Literal["starting", "listing", "comparing", "departures", "projects", "finishing", "ended"]
_WINDOW: Final = 10.0
"""Seconds over which the rate is measured."""


class ProgressView(Struct, frozen=True, kw_only=True):
    """The numbers of one moment."""

    phase: Phase
    projects: int
    """Projects that are to be worked on."""
    projects_done: int
    projects_failed: int
    projects_remarked: int = 0
    """Projects whose pages have entries that cannot be mirrored."""
    files: int
    """Files that are to be fetched, as far as pages were read."""
    files_done: int
    files_failed: int
    bytes: int
    """Bytes of the files that are to be fetched, as far as it is known."""
    bytes_done: int
    seconds: float
    rate: float
    """Bytes a second, lately."""
    projects_rate: float
    """Projects a second, lately."""
    remaining: float | None
    """Estimated seconds to the end of the run; None when it is not known."""


class Progress:
    """The numbers of one run. Changed from one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.monotonic()
        self.phase: Phase = "starting"
        self.projects = 0
        self.projects_done = 0
        self.projects_failed = 0
        self.projects_remarked = 0
        self.files = 0
        self.files_done = 0
        self.files_failed = 0
        self.bytes = 0
        self.bytes_done = 0
        self._partly = 0
        self._samples: deque[tuple[float, int, int]] = deque([(self._begun, 0, 0)])

    def files_wanted(self, count: int, size: int) -> None:
        self.files += count
        self.bytes += size

    def bytes_came(self, count: int) -> None:
        """Count bytes of a file that has not come as a whole yet."""
        self._partly += count

    def file_fetched(self, size: int) -> None:
        self.files_done += 1
        self.bytes_done += size

    def file_failed(self) -> None:
        self.files_failed += 1

    def project_ended(self, *, failed: bool, remarked: bool = False) -> None:
        self.projects_done += 1
        self.projects_failed += failed
        self.projects_remarked += remarked

    def view(self) -> ProgressView:
        """Read the numbers. Rates are those since the views of the last ten seconds."""
        now = self._clock.monotonic()
        came = max(self._partly, self.bytes_done)
        self._samples.append((now, came, self.projects_done))
        while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
            self._samples.popleft()
        then, bytes_then, projects_then = self._samples[0]
        passed = max(now - then, 1e-6)
        projects_rate = (self.projects_done - projects_then) / passed
        left = self.projects - self.projects_done
        return ProgressView(
            phase=self.phase,
            projects=self.projects,
            projects_done=self.projects_done,
            projects_failed=self.projects_failed,
            projects_remarked=self.projects_remarked,
            files=self.files,
            files_done=self.files_done,
            files_failed=self.files_failed,
            bytes=self.bytes,
            bytes_done=self.bytes_done,
            seconds=now - self._begun,
            rate=(came - bytes_then) / passed,
            projects_rate=projects_rate,
            remaining=left / projects_rate if projects_rate > 0 else None,
        )
