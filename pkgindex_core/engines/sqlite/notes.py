"""Notes in SQLite: one table, read in the event loop's thread and written by the writer's thread.

Each writing call is a transaction, or shares one with other waiting writes, and is synchronised like a commit. `put_notes` is synchronised
too: that costs a few milliseconds for which no client waits, and without it a later failure of the disk could lose the commits after it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.engines.sqlite.database import LIVE
from pkgindex_core.engines.sqlite.queries import Reader
from pkgindex_core.engines.sqlite.readers import Readers
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.engines.sqlite.writer import Writer
from pkgindex_core.protocols.notes import Note, Notes

BATCH: Final = 1_000
"""Notes of one batch of `notes`."""
REMOVED: Final = 1_000
"""Most notes that have ended and are removed by one write."""


class SqliteNotes:
    """The part of a `SqliteIndex` that keeps notes."""

    def __init__(self, readers: Readers, writer: Writer, clock: Clock) -> None:
        self._readers = readers
        self._writer = writer
        self._clock = clock

    async def note(self, kind: str, key: str) -> Note | None:
        return self._readers.here(partial(_note, kind=kind, key=key, now=self._clock.now()))

    async def notes(self, kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
        while True:
            found = await self._readers.in_thread(partial(_notes, kind=kind, after=after, now=self._clock.now()))
            if not found:
                return
            yield found
            after = found[-1].key

    async def put_note(
        self, kind: str, key: str, value: bytes, *, seconds: float | None = None, expected: int | None = None
    ) -> int | None:
        return await self._writer.write(partial(self._put, kind, key, value, seconds, expected))

    async def put_notes(self, kind: str, values: Mapping[str, bytes], *, seconds: float | None = None) -> None:
        if values:
            await self._writer.write(partial(self._put_many, kind, list(values.items()), seconds))

    async def drop_note(self, kind: str, key: str, *, expected: int | None = None) -> bool:
        return await self._writer.write(partial(self._drop, kind, key, expected))

    # Called in the writer's thread, so that `seconds` count from the moment of the write.

    def _put(
        self, kind: str, key: str, value: bytes, seconds: float | None, expected: int | None, tables: Tables
    ) -> int | None:
        now = self._begin(tables)
        found = tables.rows(
            "REPLACE INTO notes (kind, key, value, until) SELECT ?1, ?2, ?3, ?4"
            f" WHERE ?5 IS NULL OR ?5 = {_VERSION} RETURNING version",
            (kind, key, value, _end(now, seconds), expected, now),
        )
        return found[0][0] if found else None

    def _put_many(self, kind: str, values: Iterable[tuple[str, bytes]], seconds: float | None, tables: Tables) -> None:
        end = _end(self._begin(tables), seconds)
        tables.run_many(
            "REPLACE INTO notes (kind, key, value, until) VALUES (?, ?, ?, ?)",
            [(kind, key, value, end) for key, value in values],
        )

    def _drop(self, kind: str, key: str, expected: int | None, tables: Tables) -> bool:
        now = self._begin(tables)
        return bool(
            tables.run_counting(
                "DELETE FROM notes WHERE kind = ?1 AND key = ?2 AND until > ?4 AND (?3 IS NULL OR version = ?3)",
                (kind, key, expected, now),
            )
        )

    def _begin(self, tables: Tables) -> Timestamp:
        """Remove some notes that have ended; return the time of this write."""
        now = self._clock.now()
        tables.run(
            "DELETE FROM notes WHERE version IN (SELECT version FROM notes WHERE until <= ? LIMIT ?)", (now, REMOVED)
        )
        return now


_VERSION: Final = "coalesce((SELECT version FROM notes WHERE kind = ?1 AND key = ?2 AND until > ?6), 0)"


def _end(now: Timestamp, seconds: float | None) -> int:
    return LIVE if seconds is None else now + int(seconds * 1_000_000)


def _note(reader: Reader, kind: str, key: str, now: Timestamp) -> Note | None:
    row = reader.row(
        "SELECT key, value, version, until FROM notes WHERE kind = ? AND key = ? AND until > ?", (kind, key, now)
    )
    return _made(*row) if row is not None else None


def _notes(reader: Reader, kind: str, after: str, now: Timestamp) -> Sequence[Note]:
    rows = reader.rows(
        "SELECT key, value, version, until FROM notes WHERE kind = ? AND key > ? AND until > ? ORDER BY key LIMIT ?",
        (kind, after, now, BATCH),
    )
    return [_made(*row) for row in rows]


def _made(key: str, value: bytes, version: int, until: int) -> Note:
    return Note(key=key, value=value, version=version, until=None if until == LIVE else Timestamp(until))


if TYPE_CHECKING:
    _: type[Notes] = SqliteNotes
