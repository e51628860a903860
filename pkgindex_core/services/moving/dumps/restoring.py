"""A dump made a store again: the same serials, times and people, and every byte compared with its digest.

A segment is checked whole before any of it is used. The blobs that a commit names are in the store before the commit is, as in
life. What is there already is not made again: a restore that was killed goes on at the store's head, into a store that holds
other commits it refuses to go. Two at once do no harm: a commit follows the head or is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.store_dump import Gone, Named, Segment, blobs_named
from pkgindex_core.models import Serial
from pkgindex_core.protocols import BlobStore, ChangeLog, Replaying
from pkgindex_core.services.moving.dumps.copying import copy_blob
from pkgindex_core.services.moving.dumps.directory import DumpDirectory
from pkgindex_core.services.moving.dumps.exporting import Progress
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker

_BATCH_COMMITS: Final = 200
_BATCH_BYTES: Final = 8 << 20


class Restored(Struct, kw_only=True):
    """What a restore came to."""

    head: Serial
    commits: int = 0
    """New ones."""
    blobs: int = 0
    bytes: int = 0
    lost: list[Gone] = []
    """Files that were lost already when the dump was made."""


class _Store(ChangeLog, Replaying, Protocol): ...


class Restoring:
    """Replays a dump into a store."""

    def __init__(self, *, store: _Store, blobs: BlobStore, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def restore(self, dump: DumpDirectory, source: BlobStore, *, progress: Progress) -> Restored:
        """Bring the store up to the dump's head."""
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
        """Mark the blobs before the first arrives: a restore that was killed does not look like a new store."""
        manifest = await in_worker(self._workers, dump.manifest)
        if manifest is not None and await self._blobs.claim(manifest.store) != manifest.store:
            raise Conflict(
                "the blob store belongs to another index than the dump",
                hint="restore into an empty store: give --data a new directory, and --blobs a new place",
            )

    async def _agreed_head(self, dump: DumpDirectory, segments: tuple[Segment, ...]) -> Serial:
        """Where to go on: the head of a store whose commits are the dump's, as far as both go."""
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
        self, source: BlobStore, batch: list[Commit], gone: dict[Sha256, Gone], done: Restored
    ) -> None:
        named = {one.sha256: one for commit in batch for one in blobs_named(commit)}

        async def keep(one: Named) -> None:
            if await self._blobs.stat(one.sha256) is not None:
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
        """Files that mirrors had fetched. A damaged one is left out: it will be fetched again."""
        seen = 0
        async for blob in source.walk():
            seen += 1
            if await self._blobs.stat(blob.sha256) is None:
                try:
                    size = await copy_blob(source, self._blobs, blob.sha256)
                    done.bytes += size
                    done.blobs += 1
                except (Corrupt, Missing):
                    continue
            if seen % 100 == 0:
                progress("files", seen, 0)


def _batch(waiting: Iterator[Commit], after: Serial) -> list[Commit]:
    """The next commits behind a serial, few enough for memory and for one transaction."""
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
