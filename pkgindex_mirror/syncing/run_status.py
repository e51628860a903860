"""The status of the running or last run, in one small JSON file that any shell reads.

run.json    the run that goes on, or that was the last one; written every second, and at the end
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, to_rfc3339
from pkgindex_mirror.syncing.progress import Progress, ProgressView
from pkgindex_mirror.syncing.reports import RunReport

NAME: Final = "run.json"
_EVERY: Final = 1.0
_BEGINNING: Final = 0.25


class RunStatus(Struct, frozen=True, kw_only=True):
    """A run at one moment."""

    process: int
    at: str
    """The time at which this was written, in UTC."""
    is_running: bool
    """Whether the run had not ended then. If `at` is long ago, it was killed."""
    progress: ProgressView
    report: RunReport


def read_status(directory: Path) -> RunStatus | None:
    """The status of the run that works in a directory or was the last one there; None when there is none."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=RunStatus)
    except (OSError, msgspec.DecodeError):
        return None


def is_alive(status: RunStatus) -> bool:
    """Whether the process of a run is still there, as far as this machine knows."""
    if not status.is_running:
        return False
    try:
        os.kill(status.process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@asynccontextmanager
async def telling_status(
    directory: Path | None, progress: Progress, report: RunReport, clock: Clock
) -> AsyncIterator[None]:
    """Write the status into a directory while the context lasts, and at its end. None: write nothing."""
    if directory is None:
        yield
        return
    task = asyncio.create_task(_tell(directory, progress, report, clock))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        _write(directory, progress, report, clock, is_running=False)


async def _tell(directory: Path, progress: Progress, report: RunReport, clock: Clock) -> None:
    await asyncio.sleep(_BEGINNING)
    while True:
        _write(directory, progress, report, clock, is_running=True)
        await asyncio.sleep(_EVERY)


def _write(directory: Path, progress: Progress, report: RunReport, clock: Clock, *, is_running: bool) -> None:
    status = RunStatus(
        process=os.getpid(),
        at=to_rfc3339(clock.now()),
        is_running=is_running,
        progress=progress.view(),
        report=report,
    )
    new = directory / f".{NAME}.new"
    # A status that cannot be written ends no run: the report tells of a full disk.
    with suppress(OSError):
        new.write_bytes(msgspec.json.encode(status))
        new.replace(directory / NAME)
