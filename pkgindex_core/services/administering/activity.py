"""Counts downloads and uploads by index, project and day, without a write for each.

    request    a number in memory grows
    each minute, and at a graceful stop    `write` adds what grew to notes, in one transaction

Each process writes under a name of its own, so processes never wait for each other, and a reader adds them up. A note has the days of one month:

    user/index/project/2026-12/process     of a project
    user/index//2026-12/process            of the whole index

A process that is killed loses what it counted since its last write, and a power cut perhaps a few writes: these are figures, not facts. Notes
end after `KEPT_DAYS`. Memory is bounded by `_NOTES`: beyond it a process begins anew under another name.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Notes, Projects

KIND: Final = "activity"
KEPT_DAYS: Final = 400
PAUSE_SECONDS: Final = 60.0
_NOTES: Final = 20_000
"""The most notes of which a process remembers what it wrote; they take some 10 MB."""
_WHOLE: Final = ""
_SECOND: Final = 1_000_000

_log = logging.getLogger(__name__)


class DayCounts(Struct, array_like=True):
    """The figures of one day."""

    downloads: int = 0
    """Answers with a file, or with a redirect to it."""
    fetched: int = 0
    """Those whose file was fetched from the upstream meanwhile. The others were here already."""
    uploads: int = 0
    """New files."""
    stored_bytes: int = 0
    """The bytes of all files of a hosted index at the end of the day; 0: not known."""

    def add(self, other: DayCounts) -> None:
        """Add the figures of another process, or of another moment."""
        self.downloads += other.downloads
        self.fetched += other.fetched
        self.uploads += other.uploads
        self.stored_bytes = max(self.stored_bytes, other.stored_bytes)


_Month = dict[int, DayCounts]
"""By the day of the month."""
_decoder: Final = msgspec.msgpack.Decoder(_Month)


class _Store(Notes, Projects, Protocol): ...


class Activity:
    """The counts of one process, and what all processes have written."""

    def __init__(self, *, store: _Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pending: dict[tuple[IndexName, str], DayCounts] = {}
        self._written: dict[str, _Month] = {}
        self._process = secrets.token_hex(4)
        self._writing = asyncio.Lock()

    def downloaded(self, index: IndexName, project: ProjectName, *, fetched: bool = False) -> None:
        """Count a file that a client gets. Synchronous; takes about a microsecond."""
        for key in ((index, project), (index, _WHOLE)):
            counts = self._pending.get(key)
            if counts is None:
                if len(self._pending) >= _NOTES:  # the store has been failing for long
                    return
                counts = self._pending[key] = DayCounts()
            counts.downloads += 1
            counts.fetched += fetched

    def uploaded(self, index: IndexName, project: ProjectName) -> None:
        """Count a new file."""
        for key in ((index, project), (index, _WHOLE)):
            self._pending.setdefault(key, DayCounts()).uploads += 1

    async def write(self) -> None:
        """Add what was counted since the last write. If the store fails, it is kept for the next one."""
        async with self._writing:
            pending, self._pending = self._pending, {}
            if not pending:
                return
            today = self._today()
            try:
                for (index, project), counts in pending.items():
                    if project == _WHOLE:
                        counts.stored_bytes = await self._store.stored_bytes(index)
                await self._add(pending, today)
            except PkgIndexError:
                for key, counts in pending.items():
                    self._pending.setdefault(key, DayCounts()).add(counts)
                raise

    async def keep_on(self, *, pause: Callable[[float], Awaitable[None]]) -> None:
        """Write each minute, until cancelled."""
        while True:
            await pause(PAUSE_SECONDS)
            try:
                await self.write()
            except PkgIndexError as error:
                _log.warning("counts of downloads are written later: %s", error.message)

    async def days(self, index: IndexName, project: str = _WHOLE) -> Mapping[date, DayCounts]:
        """The figures of a project, or of the whole index, by day, in order. Days without any are left out."""
        prefix = f"{index}/{project}/"
        found: dict[date, DayCounts] = {}
        async for batch in self._store.notes(KIND, after=prefix):
            for note in batch:
                if not note.key.startswith(prefix):
                    break
                year, month = note.key.removeprefix(prefix).partition("/")[0].split("-")
                for day, counts in _decoder.decode(note.value).items():
                    found.setdefault(date(int(year), int(month), day), DayCounts()).add(counts)
            else:
                continue
            break
        if (pending := self._pending.get((index, project))) is not None:
            found.setdefault(self._today(), DayCounts()).add(pending)
        return dict(sorted(found.items()))

    async def _add(self, pending: Mapping[tuple[IndexName, str], DayCounts], today: date) -> None:
        if len(self._written) + len(pending) > _NOTES:
            self._written.clear()
            self._process = secrets.token_hex(4)
        values = {}
        months = {}
        for (index, project), counts in pending.items():
            key = f"{index}/{project}/{today:%Y-%m}/{self._process}"
            before = self._written.get(key, {})
            day = DayCounts()
            day.add(before.get(today.day, DayCounts()))
            day.add(counts)
            months[key] = {**before, today.day: day}
            values[key] = msgspec.msgpack.encode(months[key])
        await self._store.put_notes(KIND, values, seconds=KEPT_DAYS * 86_400.0)
        self._written |= months

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.now() / _SECOND, UTC).date()
