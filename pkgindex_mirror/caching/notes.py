"""The account of the files that mirrors keep, in notes of the store.

    mirror.cache         ledger → `Ledger`         replaced by compare-and-set
    mirror.cache.file    SHA256 → `FileRecord`     a file that is kept
    mirror.cache.order   TIME/SHA256               the files by last use, the least recently used first
    mirror.cache.used    SHA256 → time             when a file was last given to a client, if that is later than its place in the order
    mirror.cache.pin     SHA256                    files that are never removed

Keys of notes are ordered, so the first batch of the order has the files that are removed next, whatever the number of files. A use only writes
`used`, together with other uses. A file moves in the order when it comes to the front.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.protocols import Notes
from pkgindex_mirror.caching.ledger import FileRecord, Ledger

LEDGER: Final = "mirror.cache"
FILE: Final = "mirror.cache.file"
ORDER: Final = "mirror.cache.order"
USED: Final = "mirror.cache.used"
PIN: Final = "mirror.cache.pin"
_KEY: Final = "ledger"
_USED_SECONDS: Final = 90 * 86_400.0

_encode = msgspec.msgpack.Encoder().encode
_ledger = msgspec.msgpack.Decoder(Ledger)
_record = msgspec.msgpack.Decoder(FileRecord)
_time = msgspec.msgpack.Decoder(int)

Entry = tuple[Timestamp, Sha256]
"""A place in the order, and the file there."""


class CacheNotes:
    """Reads and writes the notes."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    async def ledger(self) -> tuple[Ledger, int] | None:
        """The ledger with its version; None when there is no account."""
        note = await self._notes.note(LEDGER, _KEY)
        return (_ledger.decode(note.value), note.version) if note is not None else None

    async def replace(self, ledger: Ledger, version: int) -> bool:
        """Write the ledger if it still has this version (0: if there is none). Returns whether it was written. Durable."""
        return await self._notes.put_note(LEDGER, _KEY, _encode(ledger), expected=version) is not None

    async def forget_ledger(self) -> None:
        """Drop the ledger. The next account begins with a count of all files."""
        await self._notes.drop_note(LEDGER, _KEY)

    async def record(self, key: Sha256) -> tuple[FileRecord, int] | None:
        note = await self._notes.note(FILE, key)
        return (_record.decode(note.value), note.version) if note is not None else None

    async def put_record(self, key: Sha256, record: FileRecord, version: int) -> bool:
        """Write a record if it still has this version (0: if there is none). Durable."""
        return await self._notes.put_note(FILE, key, _encode(record), expected=version) is not None

    async def put_records(self, records: Mapping[Sha256, FileRecord]) -> None:
        """Write many records with their places."""
        await self._notes.put_notes(ORDER, {_entry(each.place, key): b"" for key, each in records.items()})
        await self._notes.put_notes(FILE, {key: _encode(each) for key, each in records.items()})

    async def drop_record(self, key: Sha256) -> None:
        """Drop a file's record, with its place and last use."""
        drops = [self._notes.drop_note(FILE, key)]
        if (found := await self.record(key)) is not None:
            drops.append(self._notes.drop_note(ORDER, _entry(found[0].place, key)))
        if await self._notes.note(USED, key) is not None:
            drops.append(self._notes.drop_note(USED, key))
        await asyncio.gather(*drops)  # writes that wait share a transaction

    async def put_entry(self, entry: Entry) -> None:
        await self._notes.put_note(ORDER, _entry(*entry), b"")

    async def put_entries(self, entries: Sequence[Entry]) -> None:
        """Write places. Durable no later than the next durable write."""
        await self._notes.put_notes(ORDER, {_entry(*entry): b"" for entry in entries})

    async def drop_entries(self, entries: Sequence[Entry]) -> None:
        await asyncio.gather(*(self._notes.drop_note(ORDER, _entry(*entry)) for entry in entries))

    async def entries(self, after: Entry | None) -> Sequence[Entry]:
        """Some of the entries behind the given one, or the first ones for None. Returns none when there are no more."""
        async for batch in self._notes.notes(ORDER, after=_entry(*after) if after is not None else ""):
            return [(Timestamp(int(note.key[:16], 16)), Sha256(note.key[17:])) for note in batch]
        return []

    async def used(self, key: Sha256) -> Timestamp:
        """The last use that was noted; 0 when none was."""
        note = await self._notes.note(USED, key)
        return Timestamp(_time.decode(note.value) if note is not None else 0)

    async def put_used(self, uses: Mapping[Sha256, Timestamp]) -> None:
        await self._notes.put_notes(USED, {key: _encode(moment) for key, moment in uses.items()}, seconds=_USED_SECONDS)

    async def is_pinned(self, key: Sha256) -> bool:
        return await self._notes.note(PIN, key) is not None

    async def put_pins(self, keys: Iterable[Sha256]) -> None:
        await asyncio.gather(*(self._notes.put_note(PIN, key, b"") for key in keys))  # they share transactions

    async def drop_pin(self, key: Sha256) -> bool:
        return await self._notes.drop_note(PIN, key)


def _entry(place: Timestamp, key: Sha256) -> str:
    return f"{place:016x}/{key}"
