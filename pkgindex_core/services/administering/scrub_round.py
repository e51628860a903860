"""One round of a scrub, or a part of it: reads blobs in the order of their keys, slowly, and deals with those that are damaged.

    damaged    noted ─► set aside, so that it is never served again ─► repaired if its bytes can be had (`repairing`) ─► noted
    place      noted every half minute; the next holder of the lease goes on there

A round that is killed between two of these steps leaves the damage in the note, and the next holder looks at it first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from hashlib import sha256
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, Notes
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.repairing import Repairing
from pkgindex_core.services.administering.scrub_state import KnownDamage, ScrubNote, ScrubState
from pkgindex_core.services.administering.verifying import BlobTrouble, Damage, Pause, Progress, Verified, Verifying
from pkgindex_core.tools.workers import in_worker

_NOTED_SECONDS: Final = 30.0
_LEAST: Final = 16 << 10
"""Bytes that a blob costs at least: opening it costs too."""
_INLINE: Final = 64 << 10
"""Bytes that are hashed without a worker."""
_MOST_UNREADABLE: Final = 10
"""After so many unreadable blobs, one after the other, the round stops: the medium itself has failed."""
_MOST_DAMAGED: Final = 1000
"""With more damaged blobs the round stops: the disk is failing, and a backup is needed."""

_log = logging.getLogger(__name__)


class ScrubParts(Struct, frozen=True, kw_only=True):
    """The parts of a store that every round uses."""

    notes: Notes
    blobs: LearningBlobs
    clock: Clock
    workers: Executor
    verifying: Verifying
    repairing: Repairing


class Pace:
    """Spreads reading over time, at most `rate` bytes a second (0: no limit). A pause of the medium is not made up for."""

    def __init__(self, clock: Clock, rate: int, pause: Pause) -> None:
        self._clock = clock
        self._rate = rate
        self._pause = pause
        self._free = clock.monotonic()

    async def spend(self, size: int) -> None:
        if not self._rate:
            return
        now = self._clock.monotonic()
        self._free = max(self._free, now) + size / self._rate
        if self._free > now:
            await self._pause(self._free - now)


class ScrubRound:
    """The part of a round that is made under one lease. The first write of the note ends those of earlier holders."""

    def __init__(self, parts: ScrubParts, pace: Pace, progress: Progress) -> None:
        self._blobs = parts.blobs
        self._clock = parts.clock
        self._workers = parts.workers
        self._verifying = parts.verifying
        self._repairing = parts.repairing
        self._note = ScrubNote(parts.notes)
        self._pace = pace
        self._progress = progress
        self._state = ScrubState()
        self._noted = 0.0
        self._unreadable: list[Sha256] = []
        """Blobs that could not be read, one after the other."""

    async def run(self, now: Timestamp, *, every: float, anew: bool = False) -> ScrubState:
        """Look at the known damage, and read the rest of the round if one is due (`ScrubState.is_due`), or a whole one if `anew`.

        `now`: by the clock of the store. A round that began in the future, by a wrong clock, would be the last one until then.
        """
        self._state = state = await self._note.read()
        if anew or (state.is_whole and state.is_due(now, every)):
            self._state = ScrubState(begun=now, ended=state.ended, damaged=state.damaged)
        elif not state.begun:
            self._state = replace(state, begun=now)
        await self._keep()
        await self._look_again()
        if not self._state.is_whole:
            await self._read_all()
        return self._state

    async def _look_again(self) -> None:
        """Look at the damage that is known: it may have been repaired by another upload, or deleted."""
        known = self._state.damaged
        await self._mend({key: await self._state_of(key, found.state) for key, found in known.items()})

    async def _state_of(self, key: Sha256, before: Damage) -> Damage:
        if before == "unreadable" and not await self._is_whole(key):
            return before
        return await self._set_aside(self._blobs, key)

    async def _is_whole(self, key: Sha256) -> bool:
        try:
            return await self._verifying.is_whole(key)
        except Unavailable:
            return False

    async def _read_all(self) -> None:
        for medium, store in enumerate((self._blobs.own(), await self._blobs.copies())):
            if store is None or medium < self._state.medium:
                continue
            if medium > self._state.medium:
                self._state = replace(self._state, medium=medium, after="")
            for number in range(int(self._state.after[:2] or "0", 16), 256):
                await self._read_some(store, f"{number:02x}")
        await self._tell_unreadable()
        self._state = replace(self._state, ended=self._clock.now(), medium=0, after="")
        await self._keep()

    async def _read_some(self, store: BlobStore, prefix: str) -> None:
        found = [blob async for blob in store.walk(prefix) if blob.sha256 > self._state.after]
        for blob in sorted(found, key=lambda blob: blob.sha256):
            await self._look_at(store, blob)
            state = self._state
            self._state = replace(state, after=blob.sha256, blobs=state.blobs + 1, bytes=state.bytes + blob.size)
            self._progress("files", self._state.bytes, 0)
            if not self._unreadable and self._clock.monotonic() - self._noted >= _NOTED_SECONDS:
                await self._keep()

    async def _look_at(self, store: BlobStore, blob: Blob) -> None:
        try:
            digest = await self._digest(store, blob.sha256)
        except Unavailable as error:
            self._unreadable.append(blob.sha256)
            if len(self._unreadable) >= _MOST_UNREADABLE:
                raise Unavailable(f"many files in succession cannot be read: {error}", hint=error.hint) from error
            return
        await self._tell_unreadable()
        if digest not in {None, blob.sha256}:
            known = self._state.damaged
            self._state = replace(self._state, damaged={**known, blob.sha256: self._found("damaged")})
            await self._keep()
            await self._mend({blob.sha256: await self._set_aside(store, blob.sha256)})

    async def _digest(self, store: BlobStore, key: Sha256) -> str | None:
        """The digest of a blob's bytes; None when it is not stored any more, empty when it is cut off. Reads at the pace."""
        digest, read = sha256(), 0
        try:
            async for chunk in store.read(key):
                if len(chunk) > _INLINE:
                    await in_worker(self._workers, digest.update, chunk)
                else:
                    digest.update(chunk)
                read += len(chunk)
                await self._pace.spend(len(chunk))
        except Missing:
            return None
        except Corrupt:
            return ""
        await self._pace.spend(max(0, _LEAST - read))
        return digest.hexdigest()

    async def _set_aside(self, store: BlobStore, key: Sha256) -> Damage:
        """Move a damaged blob away. One that was stored again meanwhile stays, and `_mend` finds it whole."""
        try:
            await store.set_aside(key)
        except PkgIndexError as error:
            _log.error("a damaged file cannot be moved away: %s (sha256 %s)", error, key)
            return "damaged"
        failpoint("scrub.set_aside")
        return "lost"

    async def _tell_unreadable(self) -> None:
        if self._unreadable:
            unreadable, self._unreadable = self._unreadable, []
            await self._mend(dict.fromkeys(unreadable, "unreadable"))

    async def _mend(self, states: Mapping[Sha256, Damage]) -> None:
        """Repair the lost ones of these blobs, and note what became of all of them."""
        if not states:
            return
        damaged = {key: found for key, found in self._state.damaged.items() if key not in states}
        named = await self._verifying.owners(states)
        troubles = [BlobTrouble(sha256=key, state=states[key], owners=owners) for key, owners in named.items()]
        lost = Verified(troubles=[trouble for trouble in troubles if trouble.state == "lost"])
        await self._repairing.repair(lost, progress=_no_progress)
        repaired = 0
        for trouble in troubles:
            rows = tuple(owner.told() for owner in trouble.owners)
            if trouble.outcome == "repaired":
                repaired += 1
                _log.warning("a damaged file was repaired: %s (sha256 %s)", "; ".join(rows), trouble.sha256)
                continue
            before = self._state.damaged.get(trouble.sha256)
            found = replace(before or self._found(trouble.state), state=trouble.state, rows=rows, reason=trouble.reason)
            damaged[trouble.sha256] = found
            if found != before:
                why = f": {trouble.reason}" if trouble.reason else ""
                _log.error("a file is damaged: %s (sha256 %s)%s", "; ".join(rows), trouble.sha256, why)
        self._state = replace(self._state, damaged=damaged, repaired=self._state.repaired + repaired)
        await self._keep()
        if len(damaged) > _MOST_DAMAGED:
            raise Unavailable(f"{len(damaged)} files are damaged", hint="replace the disk, and restore a backup")

    def _found(self, state: Damage) -> KnownDamage:
        return KnownDamage(state=state, at=self._clock.now())

    async def _keep(self) -> None:
        await self._note.write(self._state)
        self._noted = self._clock.monotonic()
        failpoint("scrub.noted")


def _no_progress(_what: str, _done: int, _of: int) -> None: ...
