"""Changes the account of the files that mirrors keep. Several processes may change it at the same time.

A file enters the account in these steps, each of which is durable:

    reserve ─► the file is stored ─► count: place in the order ─► record ─► counted

All files are counted once if there is no account yet, or if files were kept without one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import PkgIndexError, Unavailable, afresh
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, Notes
from pkgindex_core.tools.leases import HeldLease, while_held
from pkgindex_mirror.caching import ledger as ledgers
from pkgindex_mirror.caching.front import Front
from pkgindex_mirror.caching.ledger import FileRecord, Ledger, Reservation
from pkgindex_mirror.caching.notes import CacheNotes

HELD_SECONDS: Final = 60.0
"""Seconds after which a step is overdue, unless it is renewed: its process seems to have died."""
_COUNTING_SECONDS: Final = 10.0
"""Of the lease of who counts all files, which is renewed meanwhile. Mirrored files wait that long if that process dies."""
_PAUSE: Final = 0.02
_BATCH: Final = 500
"""Number of files that are recorded together while all files are counted."""
_LEASE: Final = "mirror.cache"

Change = Callable[[Ledger], Ledger | None]


class Account:
    """Changes the ledger and the records of files."""

    def __init__(self, notes: Notes, *, copies: Callable[[], Awaitable[BlobStore]], clock: Clock, bound: int) -> None:
        self.notes = CacheNotes(notes)
        self.bound = bound
        self.changing = asyncio.Lock()
        """Held while the ledger is read and replaced, so that two tasks of this process do not replace it at once."""
        self.front = Front(self.notes.entries)
        self._leases = notes
        self._copies = copies
        self._clock = clock
        self._mine: dict[str, Reservation] = {}
        self._waiting: list[tuple[Change, asyncio.Future[bool]]] = []
        self._has_ledger = True

    async def reserve(self, token: str, size: int, sha256: str) -> None:
        """Reserve room for a file of `size` bytes. Waits while the same file is being removed."""
        arrival = Reservation(size, sha256, self.deadline())
        self._mine[token] = arrival
        while not await self.change(lambda ledger: ledgers.arrive(ledger, token, arrival)):
            await _pause()
        failpoint("cache.reserved")

    async def count(self, token: str, blob: Blob) -> bool:
        """Record and count a file that was stored after `reserve`, unless it is counted already. True: more bytes are kept than the bound."""
        while True:
            ledger, _ = await self.ledger()
            if (
                token not in ledger.arriving
            ):  # overdue: another process has ended this arrival, and may have counted the file
                self._mine.pop(token, None)
                token = secrets.token_hex(8)
                await self.reserve(token, blob.size, blob.sha256)
                continue
            # A record cannot be removed while the file is arriving, so it is there until the arrival ends.
            found = await self.notes.record(blob.sha256)
            if found is None or found[0].era != ledger.era:
                await self._record(ledger, token, blob, 0 if found is None else found[1])
                continue
            counting = blob.size if found[0].token == token else 0
            if await self.change(partial(_counted, token=token, counting=counting)):
                break
        failpoint("cache.counted")
        self._mine.pop(token, None)
        return ledger.kept + counting > self.bound

    async def _record(self, ledger: Ledger, token: str, blob: Blob, version: int) -> None:
        place = ledgers.place_of(blob.size, self._clock.now(), bound=self.bound)
        record = FileRecord(blob.size, place, token, ledger.era)
        # Either may be written first: if only the record is there after a kill, `finish_arrivals` writes the place again.
        recorded, _ = await asyncio.gather(
            self.notes.put_record(blob.sha256, record, version), self.notes.put_entry((place, blob.sha256))
        )
        failpoint("cache.recorded")
        if recorded:
            self.front.add((place, blob.sha256))

    async def give_up(self, token: str, *, stored: bool) -> None:
        """End an arrival whose file was not counted.

        `stored`: the file may be stored. Then the arrival stays until it is overdue, and `finish_arrivals` looks for the file.
        """
        if self._mine.pop(token, None) is not None and not stored:
            await self._end(token)

    async def _end(self, token: str) -> None:
        await self.change(lambda ledger: ledgers.arrived(ledger, token, counting=0))

    async def renew(self) -> None:
        """Renew the arrivals of this process, so that they are not overdue."""
        if not self._mine:
            return
        self._mine = {token: replace(arrival, until=self.deadline()) for token, arrival in self._mine.items()}

        def renewed(ledger: Ledger) -> Ledger:
            mine = {token: arrival for token, arrival in self._mine.items() if token in ledger.arriving}
            return replace(ledger, arriving={**ledger.arriving, **mine})

        await self.change(renewed)

    async def finish_arrivals(self) -> list[str]:
        """Finish the overdue arrivals. Returns the sha256 of each file whose removal is overdue."""
        ledger, _ = await self.ledger()
        arrivals, leaving = ledgers.overdue(ledger, self._clock.now())
        for token, arrival in arrivals.items():
            blob = await (await self._copies()).stat(Sha256(arrival.sha256)) if arrival.sha256 else None
            found = await self.notes.record(blob.sha256) if blob is not None else None
            if found is not None and found[0].token == token:
                await self.notes.put_entry((found[0].place, Sha256(arrival.sha256)))
            if blob is not None:
                await self.count(token, blob)
            else:
                await self._end(token)
        return leaving

    async def forget(self) -> None:
        """Drop the account, because a file is kept without one. The next account begins with a count of all files."""
        if self._has_ledger:
            await self.notes.forget_ledger()
            self._has_ledger = False

    def deadline(self) -> Timestamp:
        """The time at which a step that begins now is overdue."""
        return Timestamp(self._clock.now() + int(HELD_SECONDS * 1e6))

    async def ledger(self) -> tuple[Ledger, int]:
        """The ledger with its version. Counts all files if there is no ledger."""
        while (found := await self.notes.ledger()) is None:
            await while_held(
                self._leases, _LEASE, "count files", self._count_all, seconds=_COUNTING_SECONDS, pause=_pause
            )
        return found

    async def change(self, change: Change) -> bool:
        """Replace the ledger by what `change` returns. False: it returned None, and nothing is changed. Waiting changes are written together."""
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, outcome))
        async with self.changing:
            if not outcome.done():
                await self._change_all()
        return outcome.result()

    async def _change_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            while True:
                before, version = await self.ledger()
                ledger, outcomes = before, []
                for change, _ in waiting:
                    changed = change(ledger)
                    outcomes.append(changed is not None)
                    ledger = ledger if changed is None else changed
                if ledger is before or await self.notes.replace(ledger, version):
                    break
        except BaseException as error:
            why = error if isinstance(error, PkgIndexError) else Unavailable("mirrored files could not be counted")
            for _, outcome in waiting:
                outcome.set_exception(afresh(why))
                outcome.exception()  # marks it as retrieved: the task that waits for it may have been cancelled
            raise
        for (_, outcome), done in zip(waiting, outcomes, strict=True):
            outcome.set_result(done)

    async def _count_all(self, _: HeldLease) -> None:
        if await self.notes.ledger() is not None:
            return
        ledger, batch = Ledger(era=secrets.token_hex(8)), dict[Sha256, FileRecord]()
        kept = 0
        async for blob in (await self._copies()).walk():
            place = ledgers.place_of(blob.size, Timestamp(int(blob.modified * 1e6)), bound=self.bound)
            batch[blob.sha256] = FileRecord(blob.size, place, "", ledger.era)
            kept += blob.size
            if len(batch) == _BATCH:
                await self.notes.put_records(batch)
                batch = {}
        await self.notes.put_records(batch)
        failpoint("cache.stocked")
        await self.notes.replace(replace(ledger, kept=kept), 0)


def _counted(ledger: Ledger, *, token: str, counting: int) -> Ledger | None:
    return ledgers.arrived(ledger, token, counting=counting) if token in ledger.arriving else None


async def _pause() -> None:
    await asyncio.sleep(_PAUSE)
