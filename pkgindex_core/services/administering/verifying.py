"""Verifies a store: each blob has the bytes of its name, each row has its blob, and the database is sound.

    database   the store's own check
    blobs      every blob is read and hashed, no faster than `rate`; damaged ones are reported with the rows that name them
    rows       every hosted file, sidecar and attachment needs a blob of its size, otherwise the blob is lost. Files of mirrors
               need none: they are fetched when clients ask for them
    unused     blobs that no live row names, from deleted files and refused uploads. They are counted and left alone (`clearing`)

A server may run meanwhile. A blob that was stored or dropped meanwhile is checked again before it is reported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from hashlib import sha256
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.protocols import Blob, Keeping, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_of
from pkgindex_core.services.administering.verified_record import VerifiedRecord
from pkgindex_core.tools.side_by_side import side_by_side

Progress = Callable[[str, int, int], None]
Pause = Callable[[float], Awaitable[None]]
Damage = Literal["damaged", "unreadable", "lost"]
_BATCH: Final = 64
_MOST_UNREADABLE: Final = 100
"""After so many unreadable blobs the verification stops: the medium itself has failed."""


class Repairable(Struct, kw_only=True):
    """Something that is wrong, and that a repair may mend."""

    outcome: Literal["", "repaired", "set aside", "left"] = ""
    """The outcome of a repair; empty without one."""
    reason: str = ""
    """Why it could not be repaired."""
    plan: str = ""
    """A description of the repair that would be made (`Repairing.foresee`)."""


class BlobTrouble(Repairable, kw_only=True):
    """A damaged, unreadable or lost blob."""

    sha256: Sha256
    state: Damage
    owners: list[Owner] = []
    """Empty: no live row names the blob."""


class Difference(Repairable, kw_only=True):
    """Metadata of a wheel that is not the metadata inside (`wheel_metadata`)."""

    owner: Owner


class Verified(Struct, kw_only=True):
    """The result of a verification."""

    database: list[str] = []
    """The problems of the database, one sentence each."""
    blobs: int = 0
    bytes: int = 0
    skipped: int = 0
    """Blobs that an earlier, stopped verification had found whole."""
    unused: int = 0
    unused_bytes: int = 0
    troubles: list[BlobTrouble] = []
    differing: list[Difference] = []

    @property
    def whole(self) -> bool:
        """Whether there are no problems, or all were repaired."""
        return not self.database and all(each.outcome == "repaired" for each in self.wrong)

    @property
    def wrong(self) -> Sequence[Repairable]:
        """All that a repair may mend."""
        return [*self.troubles, *self.differing]


class _Store(Trees, Projects, ReleaseRecords, Keeping, Protocol): ...


class Verifying:
    """Reads a whole store."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    def throttle(self, rate: int, pause: Pause) -> Throttle:
        """Limit reading to `rate` bytes a second from now on (0: no limit)."""
        return Throttle(self._clock, rate, pause)

    async def verify(self, record: VerifiedRecord, *, rate: int, pause: Pause, progress: Progress) -> Verified:
        """Verify everything, reading at most `rate` bytes a second (0: no limit)."""
        done = Verified()
        progress("the database", 0, 0)
        try:
            done.database = [*await self._store.check()]
        except Corrupt as error:
            done.database = [error.message]
        total, stored = 0, dict[bytes, int]()
        async for blob in self._blobs.walk():
            stored[bytes.fromhex(blob.sha256)] = blob.size
            total += blob.size
        states = await self._hash_all(record, done, total, self.throttle(rate, pause), progress)
        named: dict[Sha256, list[Owner]] = {}
        try:
            async for owners in owners_of(self._store):
                await side_by_side(owners, lambda owner: self._look_for(owner, states, done))
                for owner in owners:
                    stored.pop(bytes.fromhex(owner.key), None)
            named = await self.owners(states) if states else {}
            done.unused, done.unused_bytes = len(stored), sum(stored.values())
        except Corrupt as error:  # the rows cannot be read, but the blobs were
            done.database += [] if error.message in done.database else [error.message]
        done.troubles = [
            BlobTrouble(sha256=key, state=states[key], owners=named.get(key, [])) for key in sorted(states)
        ]
        return done

    async def owners(self, keys: Collection[Sha256]) -> dict[Sha256, list[Owner]]:
        """The live rows that name each of these blobs. Reads all rows; blobs that no row names are left out."""
        named: dict[Sha256, list[Owner]] = {}
        async for owners in owners_of(self._store):
            for owner in owners:
                if owner.key in keys:
                    named.setdefault(owner.key, []).append(owner)
        return named

    async def is_whole(self, key: Sha256) -> bool:
        """Whether a blob is stored and has the bytes of its name."""
        return await self._digest(key) == key

    async def _hash_all(
        self, record: VerifiedRecord, done: Verified, total: int, throttle: Throttle, progress: Progress
    ) -> dict[Sha256, Damage]:
        states: dict[Sha256, Damage] = {}

        async def look_into(blob: Blob) -> None:
            try:
                digest = await self._digest(blob.sha256)
            except Unavailable:
                if len(states) >= _MOST_UNREADABLE:
                    raise
                states[blob.sha256] = "unreadable"
                return
            if digest == blob.sha256:
                record.add(blob.sha256)
            elif digest is not None:
                states[blob.sha256] = "damaged"

        async def look_at(blob: Blob) -> None:
            if blob.sha256 in record:
                done.skipped += 1
            else:
                await look_into(blob)
                await throttle.read(blob.size)
            done.blobs += 1
            done.bytes += blob.size
            progress("files", done.bytes, max(total, done.bytes))

        batch: list[Blob] = []
        async for blob in self._blobs.walk():
            batch.append(blob)
            if len(batch) == _BATCH:
                await side_by_side(batch, look_at)
                batch = []
        await side_by_side(batch, look_at)
        return states

    async def _digest(self, key: Sha256) -> str | None:
        """The digest of a blob's bytes; None when it is not stored, empty when the bytes cannot be read."""
        digest = sha256()
        try:
            async for chunk in self._blobs.read(key):
                digest.update(chunk)
        except Missing:
            return None
        except Corrupt:
            return ""
        return digest.hexdigest()

    async def _look_for(self, owner: Owner, states: dict[Sha256, Damage], done: Verified) -> None:
        key = owner.key
        if owner.elsewhere or key in states:
            return
        blob = await self._blobs.stat(key) if await self._blobs.owns(key) else None
        if blob is None and await is_named(self._store, owner):
            states[key] = "lost"
        elif blob is not None and owner.size not in {None, blob.size}:
            done.database.append(f"the row of {owner.told()} says {owner.size} bytes, its blob has {blob.size}")


class Throttle:
    """Limits the rate of reading by pauses between blobs."""

    def __init__(self, clock: Clock, rate: int, pause: Pause) -> None:
        self._clock = clock
        self._rate = rate
        self._pause = pause
        self._begun = clock.monotonic()
        self._bytes = 0

    async def read(self, size: int) -> None:
        self._bytes += size
        ahead = self._bytes / self._rate - (self._clock.monotonic() - self._begun) if self._rate else 0.0
        if ahead > 0:
            await self._pause(ahead)
