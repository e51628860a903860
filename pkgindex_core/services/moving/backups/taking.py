"""Takes a backup of a store while servers write to it. Only what the place does not have is copied.

    rows        the blobs that live rows name, and that the list of the backup before does not have
    commits     the log up to the head, with the blobs of uploads that came since the rows were read
    copies      files that mirrors have fetched
    record      the list of all these blobs, then the backup itself

Blobs may be removed meanwhile (`services.administering.clearing`). A blob that is missing is needed if its row is still there: then it is lost,
and the backup says so. If the row is gone, the head is read again: the backup is then of a moment at which nothing named the blob. So
every blob that rows named at the serial of the backup is in it, and `gc` never waits for a backup.

A killed run leaves blobs and commits, which the next one takes over. It leaves no backup, since the file of a backup is written last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.backups import NO_BLOBS, BlobList
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_in, owners_of
from pkgindex_core.services.moving.backups.copying import copy_blob
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.services.moving.backups.pruning import prune
from pkgindex_core.services.moving.progress import Progress
from pkgindex_core.tools.side_by_side import side_by_side

_ABANDONED_SECONDS: Final = 86_400.0
"""Seconds after which the leftovers of a killed copy are removed."""
_BATCH: Final = 32
"""The number of commits to read at once. One commit may hold a page of thousands of files."""
_SEGMENT_COMMITS: Final = 1000
_SEGMENT_BYTES: Final = 8 << 20
_COPIES: Final = 256


class Taken(Struct, kw_only=True):
    """The result of a backup."""

    name: str
    serial: Serial
    commits: int
    """New commits."""
    blobs: int
    """Copied blobs."""
    bytes: int
    total_blobs: int
    removed: list[str]
    """Backups that were removed, because there are enough newer ones."""
    removed_blobs: int
    lost: list[str]
    """Files that an index lists, and whose bytes are missing or damaged in the store."""


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Protocol): ...


class TakingBackups:
    """Takes backups of one store."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def take(
        self,
        place: BackupPlace,
        *,
        identity: str,
        cached: bool = True,
        keep: int = 0,
        progress: Progress,
    ) -> Taken:
        """Take a backup, and remove all but the newest `keep` (0: none).

        Without `cached`, files of mirrors are left out. Raises `Conflict` while another run writes there, and for a place of another store.
        """
        async with place.writing(identity) as is_left, place.blobs() as target:
            failpoint("backup.begun")
            await target.sweep(older_than=_ABANDONED_SECONDS)
            known, is_damaged = await self._known(place)
            has_more = is_left or is_damaged
            run = _TakingRun(self._store, self._blobs, place, target, known, ask_first=has_more, progress=progress)
            last = await place.last_commit()
            if last is not None:
                await self._require_same_history(place, last)
            await run.copy_rows()
            failpoint("backup.blobs_kept")
            serial, at = await run.append_commits(last.serial if last else Serial(0), self._clock)
            if cached:
                await run.copy_copies()
            lost = [owners[0].told() for owners in run.missing.values()]
            kept = BlobList(frozenset(run.needed), frozenset(run.copies))
            backup = await place.write_blobs(serial, at, kept, lost=lost)
            failpoint("backup.listed")
            await place.record(backup)
            failpoint("backup.recorded")
            await place.note_again(())
            pruned = await prune(place, target, keep=keep, sweep=has_more)
        return Taken(
            name=backup.name,
            serial=serial,
            commits=run.commits,
            blobs=run.blobs,
            bytes=run.bytes,
            total_blobs=backup.blobs + backup.copies,
            removed=pruned.backups,
            removed_blobs=pruned.blobs,
            lost=lost,
        )

    async def _known(self, place: BackupPlace) -> tuple[BlobList, bool]:
        """The blobs that the place has by the list of its newest backup, and whether that is damaged."""
        names = await place.names()
        if not names:
            return NO_BLOBS, False
        try:
            known = await place.blobs_of(await place.backup(names[-1]))
        except Corrupt:
            return NO_BLOBS, True
        again = await place.again()
        return BlobList(known.needed - again, known.copies - again), False

    async def _require_same_history(self, place: BackupPlace, last: Commit) -> None:
        """Refuse a place whose newest commit is not the store's commit of that serial."""
        ours = await self._store.commits(Serial(last.serial - 1), limit=1)
        if not ours or ours[0] != last:
            raise Conflict(
                f"commit {last.serial} in {place.url} is not that of the store",
                hint="the store was restored from an older backup since: name a new place, and keep this one as it is",
            )


class _TakingRun:
    def __init__(
        self,
        store: _Store,
        blobs: LearningBlobs,
        place: BackupPlace,
        target: BlobStore,
        known: BlobList,
        *,
        ask_first: bool,
        progress: Progress,
    ) -> None:
        self.needed: set[bytes] = set()
        self.copies: set[bytes] = set()
        self.missing: dict[bytes, list[Owner]] = {}
        """Rows whose blob the store does not have whole, by blob."""
        self.commits = self.blobs = self.bytes = 0
        self._store = store
        self._blobs = blobs
        self._place = place
        self._target = target
        self._known = known
        self._ask_first = ask_first
        """Whether the target may have blobs that are not known, so that it is asked before a blob is read."""
        self._progress = progress
        self._read = Serial(0)
        """The head before the rows were read. Later commits may have made others."""

    async def copy_rows(self) -> None:
        self._read = await self._store.head()
        async for owners in owners_of(self._store, only_here=True):
            await self._copy_owned(owners)

    async def append_commits(self, serial: Serial, clock: Clock) -> tuple[Serial, Timestamp]:
        """Append the log after a serial; return the serial of the backup, and the time at which it was the head."""
        while True:
            head, at = await self._store.head(), clock.now()
            await self._append(serial, head)
            serial = head
            if not await self._drop_unnamed():
                return head, at

    async def copy_copies(self) -> None:
        source = await self._blobs.copies() or self._blobs.own()

        async def copy(key: bytes) -> None:
            if key in self._known.needed or key in self._known.copies or await self._is_copied(key, source):
                self.copies.add(key)

        waiting: list[bytes] = []
        async for blob in source.walk():
            waiting.append(bytes.fromhex(blob.sha256))
            if len(waiting) == _COPIES:
                await side_by_side(waiting, copy)
                waiting = []
                self._progress("files of mirrors", len(self.copies), 0)
        await side_by_side(waiting, copy)
        self.copies -= self.needed

    async def _append(self, serial: Serial, head: Serial) -> None:
        pending: list[Commit] = []
        pending_bytes = 0
        while serial < head:
            self._progress("commits", serial, head)
            batch = [one for one in await self._store.commits(serial, limit=_BATCH) if one.serial <= head]
            if not batch:
                raise Corrupt(f"the store's log ends at commit {serial}, its head is {head}")
            for commit in batch:
                pending.append(commit)
                pending_bytes += len(msgspec.msgpack.encode(commit))
                if len(pending) >= _SEGMENT_COMMITS or pending_bytes >= _SEGMENT_BYTES:
                    await self._write(pending)
                    pending, pending_bytes = [], 0
            serial = batch[-1].serial
        if pending:
            await self._write(pending)

    async def _write(self, commits: list[Commit]) -> None:
        late = [commit for commit in commits if commit.serial > self._read]
        if late:
            await self._copy_owned(owners_in(late, (await self._store.tree()).indexes))
        await self._place.write_segment(commits)
        failpoint("backup.segment_written")
        self.commits += len(commits)

    async def _copy_owned(self, owners: Iterable[Owner]) -> None:
        """Copy the blobs that rows need. Those that cannot be copied are `missing`."""
        waiting: dict[bytes, list[Owner]] = {}
        for owner in owners:
            key = bytes.fromhex(owner.key)
            if not owner.elsewhere and key not in self.needed:
                waiting.setdefault(key, []).append(owner)

        async def copy(key: bytes) -> None:
            if key in self._known.needed or key in self._known.copies or await self._is_copied(key, self._blobs.own()):
                self.needed.add(key)
                self._progress("files", len(self.needed), 0)
            else:
                self.missing.setdefault(key, []).extend(waiting[key])

        await side_by_side(waiting, copy)

    async def _drop_unnamed(self) -> bool:
        """Drop missing blobs whose rows are gone; return whether there were any. The others are tried once more."""
        found_any = False
        for key, owners in [*self.missing.items()]:
            del self.missing[key]
            named = [owner for owner in owners if await is_named(self._store, owner)]
            if not named:
                found_any = True
            elif await self._is_copied(key, self._blobs.own()):
                self.needed.add(key)
            else:
                self.missing[key] = named
        return found_any

    async def _is_copied(self, key: bytes, source: BlobStore) -> bool:
        """Copy a blob; False if the source does not have it whole."""
        digest = Sha256(key.hex())
        if self._ask_first and await self._target.stat(digest) is not None:
            return True
        try:
            size = await copy_blob(source, self._target, digest)
        except (Missing, Corrupt):
            return False
        self.blobs += 1
        self.bytes += size
        return True
