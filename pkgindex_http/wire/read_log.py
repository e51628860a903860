"""Records of reads of private files: lines of JSON in `audit/reads-DAY.jsonl` of the data directory, if `audit_reads` is set.

    {"at": "2026-12-01T10:00:00Z", "who": "anna (token …)", "client": "10.0.0.7", "index": "team/dev", "file": "demo-1.0.tar.gz", "sha256": "…"}

A file is private if anonymous clients may not have it. Lines are collected for a moment and appended together, so an answer does not wait for
the disk. While they cannot be written, as on a full disk, the answers go on: up to 10,000 lines wait, later ones are lost and counted, and the
first line that is written again says how many. With `audit_reads_required` an answer waits until its line is durable, at most
5 s, and is 503 otherwise.
"""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from pkgindex_core.clock import Clock, to_rfc3339
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.measuring import Figures, Meter
from pkgindex_core.tools.workers import in_worker

DIRECTORY: Final = "audit"
MOST_LINES: Final = 10_000
_COLLECT_SECONDS: Final = 1.0
_LONGEST_WAIT: Final = 5.0
_PAUSE_SECONDS: Final = 5.0
_LOST: Final = Meter(
    "pkgindex_unrecorded_reads_total",
    "counter",
    (),
    "Reads of private files that could not be recorded (`audit_reads`).",
)
_log = logging.getLogger(__name__)


class ReadLog:
    """Records reads of private files."""

    def __init__(self, data: Path, *, clock: Clock, workers: Executor, enabled: bool, required: bool) -> None:
        self._directory = data / DIRECTORY
        self._clock = clock
        self._workers = workers
        self._enabled = enabled or required
        self._required = required
        self._collect = 0.0 if required else _COLLECT_SECONDS
        self._lines: list[bytes] = []
        self._lost = 0
        self._untold = 0
        """Lost lines that the file does not tell yet."""
        self._closing = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        """Set when the lines that wait now are written. Replaced when a write takes them."""

    @property
    def enabled(self) -> bool:
        return self._enabled

    async def record(self, who: str, client: str, index: IndexName, file: File) -> None:
        """Record a read that begins now. Raises `Unavailable` if records are required and this one is not durable in time."""
        if not self._enabled:
            return
        if len(self._lines) >= MOST_LINES:
            if self._required:
                raise _unrecorded()
            self._lost += 1
            self._untold += 1
            return
        line = {
            "at": to_rfc3339(self._clock.now()),
            "who": who,
            "client": client,
            "index": index,
            "file": file.filename,
        }
        self._lines.append(msgspec.json.encode({**line, "sha256": file.sha256 or ""}) + b"\n")
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(self._collect))
        if self._required:
            try:
                await asyncio.wait_for(self._written.wait(), _LONGEST_WAIT)
            except TimeoutError:
                raise _unrecorded() from None

    def figures(self) -> list[Figures]:
        """How many reads were not recorded."""
        return [Figures(_LOST, {(): self._lost})] if self._enabled else []

    async def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        if self._writing is not None:
            await self._writing
        if self._lines:
            _log.error("%d reads of private files were not recorded", len(self._lines))

    async def _write_all(self, pause: float) -> None:
        """Write until there is nothing left."""
        try:
            while self._lines:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), pause)
                done = await self._written_now()
                if self._closing.is_set() and not done:
                    return
                pause = self._collect if done else _PAUSE_SECONDS
        finally:
            self._writing = None

    async def _written_now(self) -> bool:
        """Append the lines that wait; False if that failed, and they wait on."""
        lines, untold, written = self._lines, self._untold, self._written
        self._lines, self._written = [], asyncio.Event()
        if untold:
            lines = [msgspec.json.encode({"at": to_rfc3339(self._clock.now()), "lost": untold}) + b"\n", *lines]
        try:
            await in_worker(self._workers, self._append, b"".join(lines))
        except OSError as error:
            _log.error("reads of private files cannot be recorded: %s", error.strerror)
            self._lines = [*lines[1 if untold else 0 :], *self._lines]
            return False
        self._untold -= untold
        written.set()
        return True

    def _append(self, lines: bytes) -> None:
        """Append in one write, which does not mix with those of other processes."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        day = to_rfc3339(self._clock.now())[:10]
        place = os.open(self._directory / f"reads-{day}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(place).st_size
            if os.write(place, lines) < len(lines):
                os.ftruncate(place, size)
                raise OSError(28, "No space left on device")
            os.fsync(place)
        finally:
            os.close(place)


def _unrecorded() -> Unavailable:
    return Unavailable(
        "this read of a private file cannot be recorded now",
        hint="an administrator looks at the disk of the server; audit_reads_required is set",
    )
