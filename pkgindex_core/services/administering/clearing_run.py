"""One clearing: condemns blobs that nothing refers to, and removes those that were condemned before the grace (`clearing`)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import Serial
from pkgindex_core.protocols import Blob, ChangeLog, Keeping
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.rules.named_blobs import named
from pkgindex_core.tools.clearing import announce, announced, note_end
from pkgindex_core.tools.leases import HeldLease
from pkgindex_core.tools.side_by_side import side_by_side

Progress = Callable[[str, int, int], None]

CONDEMNED: Final = "condemned"
"""The kind of the notes. The keys are digests."""
_AT_ONCE: Final = 256
"""Blobs of one announcement. An upload of the same bytes waits until they are gone."""
_NOTES: Final = 1_000
_COMMITS: Final = 100


class Cleared(Struct, kw_only=True):
    """The result of a clearing, or what one would do."""

    blobs: int = 0
    bytes: int = 0
    unused: int = 0
    unused_bytes: int = 0
    condemned: int = 0
    """Unused blobs that were condemned now."""
    waiting: int = 0
    """Unused blobs that were condemned before, less than the grace ago."""
    removed: int = 0
    removed_bytes: int = 0
    revived: int = 0
    """Condemned blobs that are in use again, or were stored again."""


class _Sentence(Struct, frozen=True, array_like=True):
    """The value of a note."""

    at: Timestamp
    modified: float
    """The time of the blob when it was condemned."""


class _Judged(Struct):
    """A batch of unused blobs, judged."""

    condemned: dict[str, bytes] = {}
    """The notes to write."""
    over: list[Sha256] = []
    """Notes of blobs that are in use, or not stored any more."""
    due: list[Blob] = []


class ClearingStore(Keeping, ChangeLog, Notes, Protocol):
    """The roles of the index store that a clearing uses."""


class ClearingRun:
    """A clearing, or a look at what one would do. `holder`: the holder of its lease."""

    def __init__(
        self, store: ClearingStore, blobs: LearningBlobs, clock: Clock, grace: float, progress: Progress
    ) -> None:
        self.holder = secrets.token_hex(16)
        self._store = store
        self._own = blobs.own()
        self._grace = int(grace * 1_000_000)
        self._now = clock.now()
        self._progress = progress
        self._head = Serial(0)
        self._named: set[Sha256] = set()
        """The blobs that commits after the reading of the rows name."""
        self._told = Cleared()

    async def told(self) -> Cleared:
        """Tell the result that a clearing would have now."""
        unused = await self._unused()
        async for judged in self._judged(unused):
            self._told.removed += len(judged.due)
            self._told.removed_bytes += sum(blob.size for blob in judged.due)
        return self._told

    async def done(self, require_ownership: Callable[[], Awaitable[None]], holding: HeldLease) -> Cleared:
        """Condemn and remove, while the lease is held."""
        self._now = await holding.time()  # the grace is that of all servers, whatever their clocks say
        unused = await self._unused()
        known = await announced(self._store)
        async for judged in self._judged(unused):
            await self._store.put_notes(CONDEMNED, judged.condemned)
            await self._forget(judged.over)
            failpoint("gc.condemned")
            for some in _parts(judged.due, _AT_ONCE):
                await require_ownership()
                known = await announce(self._store, known, self.holder, [blob.sha256 for blob in some])
                failpoint("gc.announced")
                await self._read_commits()
                await side_by_side(some, partial(self._remove, holding))
                await self._forget(blob.sha256 for blob in some)
                failpoint("gc.batch_removed")
                self._progress("unused files", self._told.removed, self._told.unused)
        if known.keys:  # also those of a clearing that was killed
            await announce(self._store, known, self.holder, ())
        await note_end(self._store, self._now)
        return self._told

    async def _unused(self) -> dict[bytes, Blob]:
        """The stored blobs that no row names. Those that are stored later are not among them."""
        stored: dict[bytes, Blob] = {}
        async for blob in self._own.walk():
            stored[bytes.fromhex(blob.sha256)] = blob
            self._told.bytes += blob.size
        self._told.blobs = len(stored)
        self._head = await self._store.head()
        async for keys in self._store.blobs_in_use():
            for key in keys:
                stored.pop(bytes.fromhex(key), None)
        self._told.unused, self._told.unused_bytes = len(stored), sum(blob.size for blob in stored.values())
        return stored

    async def _judged(self, unused: dict[bytes, Blob]) -> AsyncIterator[_Judged]:
        """Judge unused blobs, a batch at a time: those with a note first."""
        async for notes in self._store.notes(CONDEMNED):
            judged = _Judged()
            for note in notes:
                blob = unused.pop(bytes.fromhex(note.key), None)
                sentence = msgspec.msgpack.decode(note.value, type=_Sentence)
                if blob is None:
                    judged.over.append(Sha256(note.key))
                    self._told.revived += await self._own.stat(Sha256(note.key)) is not None
                elif sentence.modified != blob.modified:
                    self._told.revived += 1
                    self._condemn(judged, blob)
                elif sentence.at <= self._now - self._grace:
                    judged.due.append(blob)
                else:
                    self._told.waiting += 1
            yield judged
        for some in _parts([*unused.values()], _NOTES):
            judged = _Judged()
            for blob in some:
                self._condemn(judged, blob)
            yield judged

    def _condemn(self, judged: _Judged, blob: Blob) -> None:
        self._told.condemned += 1
        judged.condemned[blob.sha256] = msgspec.msgpack.encode(_Sentence(self._now, blob.modified))
        if self._grace <= 0:
            judged.due.append(blob)

    async def _read_commits(self) -> None:
        """Read the commits since the rows were read."""
        while commits := await self._store.commits(self._head, limit=_COMMITS):
            self._named.update(key for commit in commits for key in named(commit.changes))
            self._head = commits[-1].serial

    async def _remove(self, holding: HeldLease, blob: Blob) -> None:
        holding.check()  # after a long pause an upload may rely on the blob: its announcement counts only while the lease is held
        if blob.sha256 in self._named or not await self._own.drop(blob.sha256, modified=blob.modified):
            self._told.revived += 1
            return
        failpoint("gc.removed")
        self._told.removed += 1
        self._told.removed_bytes += blob.size

    async def _forget(self, keys: Iterable[Sha256]) -> None:
        """End notes, in one transaction."""
        await self._store.put_notes(CONDEMNED, dict.fromkeys(keys, b""), seconds=0)


def _parts(blobs: list[Blob], size: int) -> Iterable[list[Blob]]:
    return (blobs[start : start + size] for start in range(0, len(blobs), size))
