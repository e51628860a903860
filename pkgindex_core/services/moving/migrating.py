"""Copies a whole store into another index store, another blob store, or both. Servers may write into the first one meanwhile.

    commits    blobs first, then the commits that name them, with the same serials, times and authors
    blobs      all that live rows name, and the copies of mirrors. Unused ones are left behind

Each blob is compared with its digest. A stopped migration goes on where it was, and the same call later adds what is new: so the servers
have to stop only for the last one, which is short. No server opens the new store before the first copy of the log is whole (`MIGRATING`). A half
that both stores share is not copied. Shared blobs are not cleared by either index until one of them is given up (`tools.clearing.share`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Conflict, Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Keeping, Projects, ReleaseRecords, Replaying, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.rules.named_blobs import uploaded
from pkgindex_core.services.administering.blob_owners import is_named, owners_of
from pkgindex_core.services.moving.backups.copying import copy_blob
from pkgindex_core.tools.clearing import share
from pkgindex_core.tools.progress import Progress
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.unfinished import MIGRATING

_PROBE: Final = b"pkgindex migration probe\n"
_BATCH: Final = 32
"""The number of commits to read at once. One commit may hold a page of thousands of files."""


class Migrated(Struct, kw_only=True):
    """The result of a migration."""

    head: Serial
    commits: int = 0
    """New commits."""
    blobs: int = 0
    """New blobs."""
    bytes: int = 0
    lost: list[str] = []
    """Files that an index lists and whose bytes are missing or damaged in both stores."""


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Keeping, Notes, Protocol): ...


class _MigrationTarget(ChangeLog, Replaying, Notes, Protocol): ...


class Migrating:
    """Copies one store into others."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs) -> None:
        self._store = store
        self._blobs = blobs

    async def migrate(
        self, store: _MigrationTarget, blobs: LearningBlobs, *, identity: str, cached: bool, progress: Progress
    ) -> Migrated:
        """Bring another store up to the head of this one. `identity` is that of both. Without `cached`, copies of mirrors are left out."""
        if await blobs.claim(identity) != identity:
            raise Conflict("the blob store belongs to another index", hint="give --to-blobs a new place")
        if await self._are_shared(blobs):
            await share(self._store)
            await share(store)
        head = await self._store.head()
        serial = await self._agreed(store, head)
        done = Migrated(head=head)
        copying = _BlobCopying(self._blobs.own(), blobs.own(), done)
        if not serial:
            await store.put_note(*MIGRATING, b"")
        while serial < head:
            progress("commits", serial, head)
            commits = [one for one in await self._store.commits(serial, limit=_BATCH) if one.serial <= head]
            if not commits:
                raise Corrupt(f"the store's log ends at commit {serial}, its head is {head}")
            await copying.copy(_blobs_of(commits))
            failpoint("migrate.blobs_kept")
            await store.replay(commits)
            failpoint("migrate.replayed")
            serial = commits[-1].serial
            done.commits += len(commits)
        await store.drop_note(*MIGRATING)
        async for keys in self._store.blobs_in_use():
            await copying.copy(keys)
            progress("files", done.blobs, 0)
        if cached:
            await self._copy_copies(blobs, done, progress)
        done.lost = await self._lost(blobs, copying)
        return done

    async def _are_shared(self, blobs: LearningBlobs) -> bool:
        """Whether both are the same place, however it is written: a blob of the one is in the other."""
        ours, theirs, key = self._blobs.own(), blobs.own(), sha256_of(_PROBE)
        await ours.drop(key)  # a killed migration has left it
        await theirs.put(_PROBE)
        try:
            return await ours.stat(key) is not None
        finally:
            await theirs.drop(key)

    async def _agreed(self, store: _MigrationTarget, head: Serial) -> Serial:
        """The head of the other store, after checking that its commits are those of this one."""
        there = await store.head()
        if there:
            (theirs,) = await store.commits(Serial(there - 1), limit=1)
            ours = await self._store.commits(Serial(there - 1), limit=1)
            if there > head or list(ours) != [theirs]:
                raise Conflict(
                    f"the other store has commits of its own: its commit {there} is not that of this store",
                    hint="give --to-store a new place, or the one of a migration of this store that no server has written to",
                )
        return there

    async def _copy_copies(self, blobs: LearningBlobs, done: Migrated, progress: Progress) -> None:
        source, target = await self._blobs.copies(), await blobs.copies()
        if source is None:
            return
        copying = _BlobCopying(source, target or blobs, done)
        async for blob in source.walk():
            await copying.copy([blob.sha256])
            progress("files", done.blobs, 0)

    async def _lost(self, blobs: LearningBlobs, copying: _BlobCopying) -> list[str]:
        """Describe the rows whose blob neither store has whole."""
        lost: list[str] = []
        async for owners in owners_of(self._store):
            await copying.copy({owner.key for owner in owners if not owner.elsewhere})  # of rows that came meanwhile
            lost += [
                owner.told()
                for owner in owners
                if not owner.elsewhere and not await blobs.owns(owner.key) and await is_named(self._store, owner)
            ]
        return lost


class _BlobCopying:
    """Copies blobs that the target does not have, as far as the source has them whole."""

    def __init__(self, source: BlobStore, target: BlobStore, done: Migrated) -> None:
        self._source = source
        self._target = target
        self._done = done

    async def copy(self, keys: Iterable[Sha256]) -> None:
        await side_by_side(keys, self._copy)

    async def _copy(self, key: Sha256) -> None:
        if await self._target.stat(key) is not None or await self._source.stat(key) is None:
            return
        try:
            size = await copy_blob(self._source, self._target, key)
        except (Missing, Corrupt):
            return  # it is lost, if a row names it
        self._done.blobs += 1
        self._done.bytes += size


def _blobs_of(commits: Iterable[Commit]) -> set[Sha256]:
    return {key for commit in commits for key in uploaded(commit.changes)}
