"""Removes the files that were used least recently, until kept and arriving files are within the bound.

    choose ─► write down ─► remove ─► drop records ─► subtract

Each step is durable, so a removal that a kill has interrupted is known, and is done again. A removal takes the same time for any number of
kept files, since the next ones are at the front of the order, which is kept in notes. A file that comes to the front, and was used after it
got its place, moves back in the order, once for all of its uses.

A file is not removed while it is pinned, arrives, or is being read. Only copies are removed (`LearningBlobs.copies`).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.tools.reading_locks import is_marked_as_read
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.caching import ledger as ledgers
from pkgindex_mirror.caching.account import Account
from pkgindex_mirror.caching.ledger import FileRecord, Ledger
from pkgindex_mirror.caching.notes import Entry
from pkgindex_mirror.caching.uses import Uses

_MOST: Final = 64
"""Files that are removed together."""
_SPARE_BYTES: Final = 256 * 1024**2
"""Bytes of the disk that are left to the database, and to files that arrive while others are removed …"""
_SPARE_SHARE: Final = 10
"""… but at most a tenth of the disk."""
_LOOKS: Final = 3
"""How many files are looked at for the disk. One that was removed has no place."""


class _Move(NamedTuple):
    entry: Entry
    record: FileRecord
    version: int
    used: Timestamp


class Evicting:
    """Removes files of one account."""

    def __init__(
        self, account: Account, *, blobs: LearningBlobs, uses: Uses, clock: Clock, workers: Executor, age: float
    ) -> None:
        self._account = account
        self._notes = account.notes
        self._blobs = blobs
        self._uses = uses
        self._clock = clock
        self._workers = workers
        self._age = age
        self._front = account.front
        self._found: Path | None = None
        self._looks_left = _LOOKS
        self._removing = asyncio.Lock()
        self.removed = self.removed_bytes = 0
        """Files that this process removed to make room, and their bytes."""
        self.arrived: set[Sha256] = set()
        """Files that this process has stored, and whose readers have not marked them yet."""
        self.leaving: set[Sha256] = set()
        """The files that this process is removing."""

    async def make_room(self) -> None:
        """Remove files until there is room, and all files that are too old."""
        async with self._removing:
            while victims := await self._choose():
                failpoint("cache.leaving")
                try:
                    await self.remove([key for _, key in victims])
                    self.removed += len(victims)
                    self.removed_bytes += sum(victims.values())
                finally:
                    self.leaving.clear()

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove files whose removal is in the ledger."""
        copies = await self._copies()

        async def one(key: str) -> None:
            await copies.drop(Sha256(key))
            failpoint("cache.removed")
            await self._notes.drop_record(Sha256(key))

        await side_by_side(keys, one)
        failpoint("cache.unrecorded")
        await self._account.change(lambda ledger: ledgers.left(ledger, keys))
        failpoint("cache.left")

    async def _choose(self) -> Mapping[Entry, int]:
        """Choose the next files to remove, and write them into the ledger. Returns their entries with their sizes in bytes."""
        while True:
            async with self._account.changing:
                ledger, version = await self._account.ledger()
                need = max(ledgers.excess(ledger, self._account.bound), await self._lack(ledger))
                if need <= 0 and not self._age:
                    return {}
                with self._uses.watched() as used:
                    picked = await self._pick(ledger, need)
                # A client may have been given a file after that was judged. It opens the file in a moment.
                victims = {entry: size for entry, size in picked.items() if entry[1] not in used}
                if not victims:
                    return {}
                sizes = {key: size for (_, key), size in victims.items()}
                self.leaving.update(sizes)
                if await self._notes.replace(ledgers.leave(ledger, sizes, until=self._account.deadline()), version):
                    for entry in victims:
                        self._front.drop(entry)
                    return victims
            self.leaving.clear()

    async def _lack(self, ledger: Ledger) -> int:
        """The bytes that arriving files lack on the disk, as far as the files are on one: it may be smaller than the bound, or have other files too."""
        if not ledger.arriving or (directory := await self._directory()) is None:
            return 0
        try:
            disk = await in_worker(self._workers, shutil.disk_usage, directory)
        except OSError:
            return 0
        return ledgers.lack(ledger, free=disk.free, spare=min(_SPARE_BYTES, disk.total // _SPARE_SHARE))

    async def _directory(self) -> Path | None:
        """The directory of one of the files at the front of the order. It is looked for once: a store of objects asks the network for a place."""
        last: Entry | None = None
        while self._looks_left and (last := await self._front.after(last)) is not None:
            self._looks_left -= 1
            place = await (await self._copies()).locate(last[1], filename=last[1])
            if isinstance(place, Path):
                self._looks_left, self._found = 0, place.parent
        return self._found

    async def _pick(self, ledger: Ledger, need: int) -> Mapping[Entry, int]:
        """The next files to remove, at most `_MOST`: until they have `need` bytes, and all that are too old. Files that have to stay are left out."""
        horizon = self._clock.now() - int(self._age * 1e6) if self._age else 0
        picked: dict[Entry, int] = {}
        staying: set[Entry] = set()
        moves: list[_Move] = []
        last: Entry | None = None
        while len(picked) < _MOST:
            last = await self._front.after(last)
            if last is None:
                if not moves:
                    break
                # The order ends here, and the bytes do not suffice: files that were used since are judged too, in their new places.
                await self._move(moves)
                moves = []
            elif sum(picked.values()) >= need and last[0] >= horizon:
                break
            elif last not in staying and last not in picked:
                found = await self._notes.record(last[1])
                match await self._judge(ledger, last, found):
                    case "leave" if found is not None:
                        picked[last] = found[0].size
                    case "stay":
                        staying.add(last)
                    case "move" if found is not None:
                        moves.append(_Move(last, *found, await self._used(last[1])))
                    case _:
                        self._front.drop(last)
                        await self._notes.drop_entries([last])
        await self._move(moves)
        return picked

    async def _judge(self, ledger: Ledger, entry: Entry, found: tuple[FileRecord, int] | None) -> ledgers.Judgement:
        place, key = entry
        verdict = ledgers.judge(
            place,
            found[0] if found is not None else None,
            ledger,
            key,
            used=await self._used(key),
            pinned=await self._notes.is_pinned(key),
            bound=self._account.bound,
        )
        return "stay" if verdict == "leave" and await self._is_read(key) else verdict

    async def _used(self, key: Sha256) -> Timestamp:
        return max(self._uses.last(key), await self._notes.used(key))

    async def _move(self, moves: Sequence[_Move]) -> None:
        """Give files the places of their last uses; pinned ones get none."""
        if not moves:
            return
        moved: list[tuple[_Move, FileRecord]] = []
        for move in moves:
            if await self._notes.is_pinned(move.entry[1]):
                moved.append((move, replace(move.record, is_pinned=True)))
            else:
                moved.append((move, replace(move.record, place=move.used)))
        places = [(record.place, move.entry[1]) for move, record in moved if not record.is_pinned]
        await self._notes.put_entries(places)
        failpoint("cache.moved")
        await asyncio.gather(*(self._notes.put_record(move.entry[1], record, move.version) for move, record in moved))
        await self._notes.drop_entries([move.entry for move in moves])
        for move in moves:
            self._front.drop(move.entry)
        for place in places:
            self._front.add(place)

    async def _is_read(self, key: Sha256) -> bool:
        if key in self.arrived or self._blobs.is_read(key):
            return True
        place = await (await self._copies()).locate(key, filename=key)
        return isinstance(place, Path) and await in_worker(self._workers, is_marked_as_read, place)

    async def _copies(self) -> BlobStore:
        copies = await self._blobs.copies()
        assert copies is not None, "only copies are removed"
        return copies
