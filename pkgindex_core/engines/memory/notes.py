"""Notes in memory: the reference implementation. Nothing here survives the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols.notes import Note, Notes

BATCH: Final = 1_000


class MemoryNotes:
    """Notes by kind and key, and the last version."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed = False
        self._notes: dict[tuple[str, str], Note] = {}
        self._last_version = 0

    async def note(self, kind: str, key: str) -> Note | None:
        found = self._notes.get((kind, key))
        return found if found is not None and self._lasts(found) else None

    async def notes(self, kind: str, *, after: str = "") -> AsyncIterator[Sequence[Note]]:
        while True:
            behind = sorted(key for of, key in self._notes if of == kind and key > after)[:BATCH]
            if not behind:
                return
            after = behind[-1]
            found = [note for key in behind if self._lasts(note := self._notes[kind, key])]
            if found:
                yield found

    async def put_note(
        self, kind: str, key: str, value: bytes, *, seconds: float | None = None, expected: int | None = None
    ) -> int | None:
        self._begin_writing()
        if not self._is_expected(kind, key, expected):
            return None
        return self._write(kind, key, value, seconds)

    async def put_notes(self, kind: str, values: Mapping[str, bytes], *, seconds: float | None = None) -> None:
        self._begin_writing()
        for key, value in values.items():
            self._write(kind, key, value, seconds)

    async def drop_note(self, kind: str, key: str, *, expected: int | None = None) -> bool:
        self._begin_writing()
        if not self._is_expected(kind, key, expected):
            return False
        return self._notes.pop((kind, key), None) is not None

    def _write(self, kind: str, key: str, value: bytes, seconds: float | None) -> int:
        self._last_version += 1
        until = None if seconds is None else Timestamp(self._clock.now() + int(seconds * 1_000_000))
        self._notes[kind, key] = Note(key=key, value=value, version=self._last_version, until=until)
        return self._last_version

    def _begin_writing(self) -> None:
        if self._closed:
            raise Unavailable("the index store is closed")
        self._notes = {key: note for key, note in self._notes.items() if self._lasts(note)}

    def _is_expected(self, kind: str, key: str, expected: int | None) -> bool:
        found = self._notes.get((kind, key))
        return expected is None or expected == (found.version if found is not None else 0)

    def _lasts(self, note: Note) -> bool:
        return note.until is None or self._clock.now() < note.until


if TYPE_CHECKING:
    _: type[Notes] = MemoryNotes
