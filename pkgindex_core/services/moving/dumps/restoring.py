"""Restores a store from a dump, with the same serials, times and authors. Compares all bytes with their digests.

A segment is checked completely before it is used. Blobs are stored before the commits that name them. A killed restore goes on
from the store's head. A store with other commits is refused. Two concurrent restores do no harm: a commit follows the
head or is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.store_dump import MissingBlob, NamedBlob, Segment, blobs_named
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Replaying
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.moving.dumps.copying import copy_blob
from pkgindex_core.services.moving.dumps.directory import DumpDirectory
from pkgindex_core.services.moving.dumps.exporting import Progress
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker

_BATCH_COMMITS: Final = 200
_BATCH_BYTES: Final = 8 << 20


class Restored(Struct, kw_only=True):
    """The result of a restore."""

    head: Serial
    commits: int = 0
    """New commits."""
    blobs: int = 0
    bytes: int = 0
    lost: list[MissingBlob] = []
    """Files that were lost already when the dump was made."""


class _Store(ChangeLog, Replaying, Protocol): ...


class Restoring:
    """Replays a dump into a store."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def restore(self, dump: DumpDirectory, source: BlobStore, *, progress: Progress) -> Restored:
        """Apply all commits of the dump that the store does not have."""
        segments = await in_worker(self._workers, dump.segments)
        if not segments:
            raise Refused(f"the dump in {dump.path} has no commits")
        goal = segments[-1].last
        gone = {one.sha256: one for one in await in_worker(self._workers, dump.gone)}
        head = await self._agreed_head(dump, segments)
        await self._claim_blobs(dump)
        done = Restored(head=head, lost=[one for one in gone.values() if one.lost])
        for segment in segments:
            if segment.last <= head:
                continue
            await in_worker(self._workers, lambda segment=segment: dump.check_segment(segment))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            waiting = dump.commits(segment)
            while batch := await in_worker(self._workers, lambda waiting=waiting: _batch(waiting, head)):  # type: ignore[misc]  # as above
                await self._keep_blobs(source, batch, gone, done)
                failpoint("restore.blobs_kept")
                await self._store.replay(batch)
                failpoint("restore.replayed")
                done.head = batch[-1].serial
                done.commits += len(batch)
                progress("commits", done.head, goal)
        await self._keep_rest(source, done, progress)
        return done

    async def _claim_blobs(self, dump: DumpDirectory) -> None:
        """Mark the blobs before the first one is stored, so that a killed restore does not look like a new store."""
        manifest = await in_worker(self._workers, dump.manifest)
        if manifest is not None and await self._blobs.claim(manifest.store) != manifest.store:
            raise Conflict(
                "the blob store belongs to another index than the dump",
                hint="restore into an empty store: give --data a new directory, and --blobs a new place",
            )

    async def _agreed_head(self, dump: DumpDirectory, segments: tuple[Segment, ...]) -> Serial:
        """The head of the store, after checking that its commits are those of the dump."""
        head = await self._store.head()
        if head == 0:
            return head
        common = Serial(min(head, segments[-1].last))
        segment = next(each for each in segments if each.first <= common <= each.last)
        theirs = await in_worker(self._workers, lambda: _commit_of(dump, segment, common))
        (ours,) = await self._store.commits(Serial(common - 1), limit=1)
        if ours != theirs:
            raise Conflict(
                f"the store has commits of its own: its commit {common} is not that of the dump",
                hint="restore into an empty store: give --data a new directory, before any server has run on it",
            )
        return head

    async def _keep_blobs(
        self, source: BlobStore, batch: list[Commit], gone: dict[Sha256, MissingBlob], done: Restored
    ) -> None:
        named = {one.sha256: one for commit in batch for one in blobs_named(commit)}

        async def keep(one: NamedBlob) -> None:
            with suppress(Missing):
                await self._blobs.make_own(one.sha256)
                return
            try:
                size = await copy_blob(source, self._blobs, one.sha256)
            except Missing as error:
                if one.sha256 in gone:
                    return
                raise Corrupt(
                    f"the dump does not have the bytes of {one.filename} of {one.index} (sha256 {one.sha256})",
                    hint="copy the whole dump again; the restore goes on where it stopped",
                ) from error
            except Corrupt as error:
                raise Corrupt(
                    f"the dump's bytes of {one.filename} of {one.index} are damaged: {error.message}",
                    hint="copy this file again, or remove it and export into the dump once more; then run the same command",
                ) from error
            done.bytes += size
            done.blobs += 1

        await side_by_side(named.values(), keep)

    async def _keep_rest(self, source: BlobStore, done: Restored, progress: Progress) -> None:
        """Copy files of mirrors. Damaged ones are left out, and fetched again later."""
        seen = 0
        copies = await self._blobs.copies() or self._blobs
        async for blob in source.walk():
            seen += 1
            if await self._blobs.stat(blob.sha256) is None:
                try:
                    size = await copy_blob(source, copies, blob.sha256)
                    done.bytes += size
                    done.blobs += 1
                except (Corrupt, Missing):
                    continue
            if seen % 100 == 0:
                progress("files", seen, 0)


def _batch(waiting: Iterator[Commit], after: Serial) -> list[Commit]:
    """The next commits after a serial, few enough for memory and for one transaction."""
    batch: list[Commit] = []
    size = 0
    for commit in waiting:
        if commit.serial <= after:
            continue
        batch.append(commit)
        size += len(msgspec.msgpack.encode(commit))
        if len(batch) >= _BATCH_COMMITS or size >= _BATCH_BYTES:
            break
    return batch


def _commit_of(dump: DumpDirectory, segment: Segment, serial: Serial) -> Commit | None:
    dump.check_segment(segment)
    return next((commit for commit in dump.commits(segment) if commit.serial == serial), None)
