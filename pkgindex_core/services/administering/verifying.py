"""Whether the store is whole: each blob has the bytes of its name, each row has its blob, the database is sound.

    database   the store's own check
    blobs      every one is read and hashed, no faster than `rate`; a blob that is damaged is told with what it belongs to
    rows       every hosted file, sidecar and attachment has a blob of its size; one that has not is lost. A mirror's file that is not
               stored is fetched when it is asked for, so it is none
    unused     blobs that no live row names: files that were deleted, uploads that were refused. They are counted and left alone

A server may go on working. A blob that came or went meanwhile is looked at once more before anything is said of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from hashlib import sha256
from typing import Final, Literal, Protocol

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.protocols import Blob, BlobStore, Keeping, Projects, ReleaseRecords, Trees
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_of
from pkgindex_core.services.administering.verified_record import VerifiedRecord
from pkgindex_core.tools.side_by_side import side_by_side

Progress = Callable[[str, int, int], None]
Pause = Callable[[float], Awaitable[None]]
State = Literal["damaged", "unreadable", "lost"]
_BATCH: Final = 64
_MOST_UNREADABLE: Final = 100
"""Blobs that the medium refuses to read. After so many it is the medium that is in trouble."""


class Trouble(Struct, kw_only=True):
    """A blob that is not as it should be."""

    sha256: Sha256
    state: State
    owners: list[Owner] = []
    """Empty: no live row names the blob."""
    outcome: Literal["", "repaired", "set aside", "left"] = ""
    """What a repair came to; empty without one."""
    reason: str = ""
    """Why it could not be repaired."""


class Verified(Struct, kw_only=True):
    """What a verification came to."""

    database: list[str] = []
    """What is wrong with the database, a sentence each."""
    blobs: int = 0
    bytes: int = 0
    skipped: int = 0
    """Blobs that an earlier verification, which was stopped, had found whole."""
    unused: int = 0
    unused_bytes: int = 0
    troubles: list[Trouble] = []

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong, or everything that was is repaired."""
        return not self.database and all(trouble.outcome == "repaired" for trouble in self.troubles)


class _Store(Trees, Projects, ReleaseRecords, Keeping, Protocol): ...


class Verifying:
    """Reads a whole store."""

    def __init__(self, *, store: _Store, blobs: BlobStore, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def verify(self, record: VerifiedRecord, *, rate: int, pause: Pause, progress: Progress) -> Verified:
        """Look at everything, reading at most `rate` bytes a second (0: as fast as it goes)."""
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
        states = await self._hash_all(record, done, total, _Throttle(self._clock, rate, pause), progress)
        named: dict[Sha256, list[Owner]] = {}
        try:
            async for owners in owners_of(self._store):
                await side_by_side(owners, lambda owner: self._look_for(owner, states, done))
                for owner in owners:
                    stored.pop(bytes.fromhex(owner.key), None)
            named = await self._owners_of(states) if states else {}
            done.unused, done.unused_bytes = len(stored), sum(stored.values())
        except Corrupt as error:  # which rows name what cannot be said; the blobs were read all the same
            done.database += [] if error.message in done.database else [error.message]
        done.troubles = [Trouble(sha256=key, state=states[key], owners=named.get(key, [])) for key in sorted(states)]
        return done

    async def _owners_of(self, keys: Collection[Sha256]) -> dict[Sha256, list[Owner]]:
        named: dict[Sha256, list[Owner]] = {}
        async for owners in owners_of(self._store):
            for owner in owners:
                if owner.key in keys:
                    named.setdefault(owner.key, []).append(owner)
        return named

    async def is_whole(self, key: Sha256) -> bool:
        """Whether a blob is there and has the bytes of its name."""
        return await self._digest(key) == key

    async def _hash_all(
        self, record: VerifiedRecord, done: Verified, total: int, throttle: _Throttle, progress: Progress
    ) -> dict[Sha256, State]:
        states: dict[Sha256, State] = {}

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
        """The digest of a blob's bytes; None when it is not there (any more), empty when they cannot be read."""
        digest = sha256()
        try:
            async for chunk in self._blobs.read(key):
                digest.update(chunk)
        except Missing:
            return None
        except Corrupt:
            return ""
        return digest.hexdigest()

    async def _look_for(self, owner: Owner, states: dict[Sha256, State], done: Verified) -> None:
        key = owner.key
        if owner.mirrored or key in states:
            return
        blob = await self._blobs.stat(key)
        if blob is None and await is_named(self._store, owner):
            states[key] = "lost"
        elif blob is not None and owner.size not in {None, blob.size}:
            done.database.append(f"the row of {owner.told()} says {owner.size} bytes, its blob has {blob.size}")


class _Throttle:
    """Holds reading to a rate, by pauses between blobs."""

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
