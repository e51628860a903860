"""Exports a whole store into a dump: blobs first, then the commits that name them.

The head is read once, at the start; later commits are for the next export. A server may run meanwhile, since bytes never
change under their digest. A segment of commits is written after all blobs that it names, so a dump can be restored at any
moment, and a killed export goes on from the last segment. A second export into the same directory adds what is new.

A blob that a commit names may be missing, because its file was deleted and the bytes were cleared away. The dump records it. If the
index still lists the file, the blob is lost: the dump records that, the export reports it, and everything else is exported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import Commit
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict, Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.store_dump import MissingBlob, NamedBlob, blobs_named
from pkgindex_core.models import Serial, decode_file
from pkgindex_core.protocols import BlobStore, ChangeLog, Projects, ReleaseRecords, Trees
from pkgindex_core.services.moving.dumps.copying import copy_blob
from pkgindex_core.services.moving.dumps.directory import DumpDirectory
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker

Progress = Callable[[str, int, int], None]
"""The step, the amount that is done, and the total amount; 0: unknown."""

_BATCH: Final = 32
"""The number of commits to read at once. One commit may hold a page of thousands of files."""
_SEGMENT_COMMITS: Final = 1000
_SEGMENT_BYTES: Final = 8 << 20


class Exported(Struct, kw_only=True):
    """The result of an export."""

    head: Serial
    commits: int = 0
    """New commits."""
    blobs: int = 0
    bytes: int = 0
    gone: int = 0
    lost: list[MissingBlob] = []


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Protocol): ...


class Exporting:
    """Writes the commits and blobs of a store into a dump."""

    def __init__(self, *, store: _Store, blobs: BlobStore, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def export(
        self, dump: DumpDirectory, target: BlobStore, *, cached: bool = True, progress: Progress
    ) -> Exported:
        """Bring a dump up to the head. Without `cached`, files of mirrors are left out; they can be fetched again."""
        head = await self._store.head()
        last = await in_worker(self._workers, dump.last_commit)
        if last is not None:
            await self._same_history(last)
        done = Exported(head=head)
        known = {one.sha256: one for one in await in_worker(self._workers, dump.gone)}
        copying = _Copying(self._blobs, target, done)
        serial = last.serial if last else Serial(0)
        pending: list[Commit] = []
        pending_bytes = 0
        while serial < head:
            progress("commits", serial, head)
            batch = [one for one in await self._store.commits(serial, limit=_BATCH) if one.serial <= head]
            if not batch:
                raise Corrupt(f"the store's log ends at commit {serial}, its head is {head}")
            for commit in batch:
                pending.append(commit)
                pending_bytes += len(msgspec.msgpack.encode(commit))
                if len(pending) >= _SEGMENT_COMMITS or pending_bytes >= _SEGMENT_BYTES:
                    await self._segment(dump, copying, pending, known)
                    pending, pending_bytes = [], 0
            serial = batch[-1].serial
        if pending:
            await self._segment(dump, copying, pending, known)
        if cached:
            await copying.everything(progress)
        else:
            # Segments of earlier exports are not read again. Blobs that were removed from the dump, as damaged, are copied again here.
            async for digests in self._hosted():
                await copying.copy(digests)
        found = [sha256 for sha256 in known if await target.stat(sha256) is not None]
        if found:
            for sha256 in found:
                del known[sha256]
            await in_worker(self._workers, lambda: dump.write_gone(list(known.values())))
        done.gone = sum(not one.lost for one in known.values())
        done.lost = [one for one in known.values() if one.lost]
        progress("commits", head, head)
        return done

    async def _hosted(self) -> AsyncIterator[set[Sha256]]:
        """The blobs that hosted indexes list now, project by project."""
        for index, config in (await self._store.tree()).indexes.items():
            for row in () if config.mirrored else await self._store.projects(index):
                page = await self._store.page(index, row.name) if config.needs_blobs else None
                files = [decode_file(each.body) for each in page.rows] if page else []
                found = {digest for file in files for digest in (file.sha256, file.metadata_sha256) if digest}
                yield found | {each.sha256 for each in await self._store.attachments(index, row.name)}

    async def _segment(
        self,
        dump: DumpDirectory,
        copying: _Copying,
        commits: list[Commit],
        known: dict[Sha256, MissingBlob],
    ) -> None:
        """Write blobs, then the list of missing ones, then the commits."""
        named: dict[Sha256, list[NamedBlob]] = {}
        for commit in commits:
            for one in blobs_named(commit):
                named.setdefault(one.sha256, []).append(one)
        missing = await copying.copy(named)
        failpoint("export.blobs_kept")
        if missing:
            for sha256 in missing:
                known[sha256] = await self._judged(named[sha256])
            await in_worker(self._workers, lambda: dump.write_gone(list(known.values())))
        await in_worker(self._workers, lambda: dump.write_segment(commits))
        failpoint("export.segment_written")
        copying.done.commits += len(commits)

    async def _judged(self, named: list[NamedBlob]) -> MissingBlob:
        """Describe a missing blob. It is lost if the index still lists a file that needs it."""
        indexes = (await self._store.tree()).indexes
        for one in named:
            if one.kind != "attachment" and one.index in indexes and not indexes[one.index].needs_blobs:
                continue
            if one.kind == "attachment":
                found = await self._store.attachments(one.index, one.project)
                lost = any(each.sha256 == one.sha256 and each.filename == one.filename for each in found)
            else:
                file = await self._store.file(one.index, one.project, one.filename)
                lost = file is not None and one.sha256 in {file.sha256, file.metadata_sha256}
            if lost:
                return MissingBlob(sha256=one.sha256, filename=one.filename, index=one.index, lost=True)
        return MissingBlob(sha256=named[0].sha256, filename=named[0].filename, index=named[0].index, lost=False)

    async def _same_history(self, last: Commit) -> None:
        """Refuse a dump whose newest commit is not the store's commit of that serial."""
        ours = await self._store.commits(Serial(last.serial - 1), limit=1)
        if not ours or ours[0] != last:
            raise Conflict(
                f"commit {last.serial} of the dump is not that of the store",
                hint="the store was restored from an older state since: export into a new directory",
            )


class _Copying:
    """Copies blobs that the target does not have, and verifies them."""

    def __init__(self, source: BlobStore, target: BlobStore, done: Exported) -> None:
        self._source = source
        self._target = target
        self.done = done

    async def copy(self, keys: Iterable[Sha256]) -> list[Sha256]:
        """Copy blobs; return those that are missing or damaged in the source."""
        missing: list[Sha256] = []

        async def copy(key: Sha256) -> None:
            if await self._target.stat(key) is not None:
                return
            try:
                size = await copy_blob(self._source, self._target, key)
            except (Missing, Corrupt):
                missing.append(key)
                return
            self.done.blobs += 1
            self.done.bytes += size

        await side_by_side(keys, copy)
        return missing

    async def everything(self, progress: Progress) -> None:
        """Copy the other blobs: files of mirrors, which are fetched without a commit."""
        seen = 0
        waiting: list[Sha256] = []
        async for blob in self._source.walk():
            seen += 1
            if await self._target.stat(blob.sha256) is None:
                waiting.append(blob.sha256)
            if len(waiting) >= _SEGMENT_COMMITS:
                progress("files", seen, 0)
                await self.copy(waiting)
                waiting = []
        await self.copy(waiting)
