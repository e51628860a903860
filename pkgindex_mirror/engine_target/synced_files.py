"""Which files of projects are stored: those that a run fetched, and those that clients requested.

A file whose page gives no sha256 is found by the digest that the stored page has of it, once it was fetched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import File, IndexConfig, Page, Serial, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob, BlobStore, Projects, Trees
from pkgindex_core.rules.planning.past import snapshots
from pkgindex_mirror import urls
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.engine_target.sinks import opened_sink
from pkgindex_mirror.engine_target.sync_notes import SyncNotes
from pkgindex_mirror.file_policies import policies_of
from pkgindex_mirror.syncing.file_fetching import SIDECAR
from pkgindex_mirror.syncing.targets import FileSink


class _Store(Projects, Trees, Protocol): ...


class SyncedFiles:
    """The files of one index in the store of mirrored files."""

    def __init__(self, store: _Store, blobs: BlobStore, cache: FileCache, index: IndexName) -> None:
        self._store = store
        self._blobs = blobs
        self.cache = cache
        self._index = index
        self._learned: dict[tuple[str, str], Blob] = {}

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        """Those of these files, and of the metadata files beside them, that are not stored."""
        wanted = [each for file in files for each in (file, sidecar_of(file)) if each is not None]
        return [file for file in wanted if not await self.is_stored(file)]

    async def is_stored(self, file: File) -> bool:
        sha256 = await self._sha256(file)
        blob = await self.cache.stat(sha256) if sha256 is not None else None
        return blob is not None and file.size in {None, blob.size}

    async def stored_keys(self, keys: Iterable[Sha256]) -> set[Sha256]:
        """Those of these files that are stored."""
        return {key for key in keys if await self.cache.stat(key) is not None}

    async def _sha256(self, file: File) -> Sha256 | None:
        if file.sha256 is not None:
            return file.sha256
        if (learned := self._learned.get((file.filename, file.url))) is not None:
            return learned.sha256
        found = await self._store.find_file(self._index, file.filename, candidate_projects(file.filename))
        if found is None or found[1].url != file.url:
            return None
        stored = found[1]
        same = all(stored.digests.get(name, value) == value for name, value in file.digests.items())
        return stored.sha256 if same else None

    @asynccontextmanager
    async def sink(self, file: File) -> AsyncIterator[FileSink]:
        async with opened_sink(file, self.cache, self._blobs, self._kept) as sink:
            yield sink

    def _kept(self, file: File, blob: Blob) -> None:
        if file.sha256 is None:
            self._learned[file.filename, file.url] = blob

    def with_digests(self, files: Sequence[File]) -> list[File]:
        """The files, with the sha256 of those that were fetched without one."""
        return [self._with_digest(file) for file in files] if self._learned else list(files)

    def _with_digest(self, file: File) -> File:
        blob = self._learned.pop((file.filename, file.url), None)
        if blob is None:
            return file
        return replace(file, digests={"sha256": blob.sha256, **file.digests}, size=blob.size)

    async def hold(self, files: Sequence[File]) -> None:
        """Keep files within the bound of the mirrored files, whatever else arrives."""
        await self.cache.pin_new(file.sha256 for file in files if file.sha256 is not None)

    async def let_go(self, notes: SyncNotes, project: ProjectName, keys: Collection[Sha256]) -> None:
        """Let go of those of these files that the page of the project lists in no mirror that keeps files, and in no snapshot of one."""
        kept: set[Sha256] = set()
        of_snapshots: set[Sha256] = set()
        for index in (await self._store.tree()).indexes.values():
            if not index.mirrored or policies_of(index).of(project) == "streamed":
                continue
            kept |= file_keys(await self._store.page(index.name, project))
            past = [await self._store.page(index.name, project, at=at) for at in snapshot_serials(index)]
            had = {key for page in past for key in file_keys(page)}
            kept |= had
            of_snapshots |= had if index.name == self._index else set()
        await self.cache.let_go([key for key in keys if key not in kept])
        failpoint("index.files_left")
        # When the page of another mirror or its snapshots are all that have a file, that mirror lets go of it.
        await notes.put_kept(project, of_snapshots.intersection(keys))
        await notes.drop_left(keys)

    async def judge_left(self, notes: SyncNotes) -> None:
        """Let go of files that a process noted which died before it did."""
        async for batch in notes.left():
            projects: dict[ProjectName, list[Sha256]] = {}
            for key, name in batch.items():
                projects.setdefault(name, []).append(key)
            for name, keys in projects.items():
                await self.let_go(notes, name, keys)


def file_keys(page: Page | None) -> set[Sha256]:
    """The known sha256 of the files of a page."""
    if page is None:
        return set()
    rows = page.rows
    files = (
        (file for _, file in rows.files()) if isinstance(rows, KeptRows) else (decode_file(row.body) for row in rows)
    )
    return {file.sha256 for file in files if file.sha256 is not None}


def snapshot_serials(index: IndexConfig) -> list[Serial]:
    """The commits of the snapshots of an index (`index_snapshots`)."""
    return [Serial(at) for at in snapshots(index, "at")]


def sidecar_of(file: File) -> File | None:
    """The metadata file beside a wheel; None when the upstream gives no digest of one, or a wrong one."""
    if file.metadata_sha256 is None or file.metadata_refuted == file.metadata_sha256 or not file.url:
        return None
    return File(
        filename=file.filename + SIDECAR,
        digests={"sha256": file.metadata_sha256},
        url=urls.with_suffix(file.url, SIDECAR),
    )
