"""Gathers in a place what a backup of a store needs. Servers write to the store, and unused blobs are removed from it, meanwhile.

    rows        the blobs that live rows name, and that the list of the backup before does not have
    commits     the log up to the head, with the blobs of uploads that came since the rows were read
    copies      files that mirrors have fetched

A blob that is missing is needed if its row is still there: then it is lost, and the backup says so. If the row is gone, the head is read
again: the backup is then of a moment at which nothing named the blob. So every blob that rows named at the serial of the backup is in
it, and a clearing (`services.administering.clearing`) never waits for a backup.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from pkgindex_core.changes import Commit
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.backups import BlobList
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_in, owners_of
from pkgindex_core.services.moving.backups.copying import copy_blob
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.tools.progress import Progress
from pkgindex_core.tools.side_by_side import side_by_side

_BATCH: Final = 32
"""The number of commits to read at once. One commit may hold a page of thousands of files."""
_SEGMENT_COMMITS: Final = 1000
_SEGMENT_BYTES: Final = 8 << 20
_COPIES: Final = 256


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Protocol): ...


class BackupGathering:
    """One run. `needed`, `copies` and `missing` tell what it has found."""

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
