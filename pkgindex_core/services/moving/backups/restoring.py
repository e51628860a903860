"""Restores a backup into an empty store, with the same serials, times and authors. Compares all bytes with their digests.

    check     the whole log up to the serial, before anything is changed
    blobs     those that the backup needs
    commits   in order, after all blobs that they name

The store has a note from the first step to the last. With it no server opens the store (`services.administering.ownership`), and a killed
restore of the same backup goes on. Of two that begin at once one is refused. If both run nevertheless, they do no harm: a commit follows the
head or is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.backups import Backup
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Projects, ReleaseRecords, Replaying, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.services.administering.blob_owners import owners_of
from pkgindex_core.services.moving.backups.copying import copy_blob
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.tools.progress import Progress
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.unfinished import RESTORING

_BATCH_COMMITS: Final = 200
_BATCH_BYTES: Final = 8 << 20


class Restored(Struct, kw_only=True):
    """The result of a restore."""

    name: str
    serial: Serial
    commits: int = 0
    """New commits."""
    blobs: int = 0
    """Copied blobs."""
    bytes: int = 0
    lost: list[str] = []
    """Files that an index lists, and whose bytes are not restored: they were lost when the backup was taken, or are damaged in it."""


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Replaying, Notes, Protocol): ...


class Restoring:
    """Restores backups into one store."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs) -> None:
        self._store = store
        self._blobs = blobs

    async def restore(self, place: BackupPlace, backup: Backup, *, progress: Progress) -> Restored:
        """Bring an empty store to a backup, or go on with a restore of it.

        Raises `Refused` for any other store, and `Corrupt`, before anything is changed, if the log or the list is damaged.
        """
        version = await self._require_empty(backup)
        segments = [segment for segment in await place.segments() if segment.first <= backup.serial]
        if not segments or segments[-1].last < backup.serial:
            raise Corrupt(f"{place.url} does not have the commits of {backup.name}", hint="copy the whole backup again")
        for number, segment in enumerate(segments):
            await place.commits(segment)
            progress("checking", number + 1, len(segments))
        blobs = await place.blobs_of(backup)
        if await self._store.put_note(*RESTORING, backup.name.encode(), expected=version) is None:
            raise Conflict("another restore into this store has just begun", hint="wait until it has ended")
        identity = await place.identity()
        if await self._blobs.claim(identity) != identity:
            raise Conflict(
                "the blob store belongs to another index than the backup",
                hint="restore into an empty store: give --data a new directory, and --blobs a new place",
            )
        failpoint("restore.begun")
        async with place.blobs() as source:
            copying = _RestoringRun(source, backup, progress)
            await copying.copy(blobs.needed, self._blobs.own())
            failpoint("restore.blobs_kept")
            for segment in segments:
                head = await self._store.head()
                due = [one for one in await place.commits(segment) if head < one.serial <= backup.serial]
                for batch in _batches(due):
                    await self._store.replay(batch)
                    failpoint("restore.replayed")
                    copying.done.commits += len(batch)
                    progress("commits", batch[-1].serial, backup.serial)
            await copying.copy(blobs.copies, await self._blobs.copies() or self._blobs)
        if copying.absent or backup.lost:
            copying.done.lost = await self._lost()
        failpoint("restore.completed")
        await self._store.drop_note(*RESTORING)
        return copying.done

    async def _require_empty(self, backup: Backup) -> int:
        """Refuse a store that is neither empty nor half of this backup; return the version of its note."""
        note = await self._store.note(*RESTORING)
        head = await self._store.head()
        if note is None and head:
            raise Refused(
                f"the store is not empty: it has commits 1 to {head}",
                hint="restore into an empty store: give --data a new directory, or --store and --blobs new places",
            )
        if note is not None and note.value.decode() != backup.name:
            raise Refused(
                f"the store has an unfinished restore of another backup, {note.value.decode()}",
                hint=f"finish it with --at {note.value.decode()}, or give --data a new directory",
            )
        return note.version if note is not None else 0

    async def _lost(self) -> list[str]:
        """Describe the rows whose blob is not here."""
        return [
            owner.told()
            async for owners in owners_of(self._store, only_here=True)
            for owner in owners
            if not await self._blobs.owns(owner.key)
        ]


class _RestoringRun:
    """Copies blobs that the store does not have."""

    def __init__(self, source: BlobStore, backup: Backup, progress: Progress) -> None:
        self.done = Restored(name=backup.name, serial=backup.serial)
        self.absent = 0
        """Blobs that the place does not have whole."""
        self._source = source
        self._progress = progress
        self._total = backup.blobs + backup.copies
        self._seen = 0

    async def copy(self, keys: Iterable[bytes], target: BlobStore) -> None:
        async def copy(key: bytes) -> None:
            digest = Sha256(key.hex())
            self._seen += 1
            self._progress("files", self._seen, self._total)
            if await target.stat(digest) is not None:
                return
            try:
                size = await copy_blob(self._source, target, digest)
            except (Missing, Corrupt):
                self.absent += 1
                return
            self.done.blobs += 1
            self.done.bytes += size

        await side_by_side(keys, copy)


def _batches(commits: Iterable[Commit]) -> Iterable[list[Commit]]:
    """Commits in batches that are small enough for memory and for one transaction."""
    batch: list[Commit] = []
    size = 0
    for commit in commits:
        batch.append(commit)
        size += len(msgspec.msgpack.encode(commit))
        if len(batch) >= _BATCH_COMMITS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
