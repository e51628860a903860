"""The bytes of files in roots, and the metadata of wheels. The bytes have the digest that the page shows, or there is an error.

A client gets a file straight from its root. A push and a file in a bucket need a copy in the blob store, which is kept only if it has the digest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.listing import Entry
from pkgindex_core.engines.directory.root import Root
from pkgindex_core.engines.directory.settling import files_of
from pkgindex_core.engines.hosted_source import stored
from pkgindex_core.errors import Missing, Unavailable
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Blob, BlobStore, OnDisk, Place
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker

_CHUNK: Final = 1 << 20

LookedAt = Callable[[], Awaitable[Sequence[Root]]]
"""The roots of an index, with listings that are up to date."""


class DirectoryFiles:
    def __init__(self, *, blobs: BlobStore, journal: Journal, workers: Executor, tasks: Tasks) -> None:
        self._blobs = blobs
        self._journal = journal
        self._workers = workers
        self._flights: SingleFlight[Blob] = SingleFlight(tasks)

    async def open(
        self, index: IndexConfig, looked_at: LookedAt, project: ProjectName, file: File, *, elsewhere: bool
    ) -> OnDisk:
        if elsewhere:
            here = await self._placed(index, await looked_at(), project, file)
            if here is not None:
                return here
        blob = await stored(self._blobs, file)
        if blob is None:
            key = (index.name, "file", file.sha256)
            blob = await self._flights.get(key, lambda: self._copy(index, looked_at, project, file))
        return OnDisk(blob)

    async def metadata(self, index: IndexConfig, looked_at: LookedAt, project: ProjectName, file: File) -> Blob:
        if file.metadata_sha256 is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        blob = await self._blobs.stat(file.metadata_sha256)
        if blob is not None:
            return blob
        return await self._flights.get(
            (index.name, "metadata", file.metadata_sha256), lambda: self._keep_metadata(index, looked_at, project, file)
        )

    async def _placed(
        self, index: IndexConfig, roots: Sequence[Root], project: ProjectName, file: File
    ) -> OnDisk | None:
        """The path of the file on a local disk; None if its root is not local. `Unavailable` if its digest differs."""
        from pkgindex_core.engines.directory.reading import digest_of  # loads archive readers

        root, entry = _found(index, roots, project, file)
        path = root.place(entry)
        if path is None:
            return None
        digest = self._journal.known(entry.path, entry.mark)
        if digest is None:
            async with self._reading(index, root, entry) as here:
                digest = await in_worker(self._workers, digest_of, here)
            self._journal.note(entry.path, entry.mark, digest)
        if digest != file.sha256:
            raise _changed(index, file)
        return OnDisk(Blob(digest, entry.size, entry.modified), Place(path, entry.mark))

    async def _copy(self, index: IndexConfig, looked_at: LookedAt, project: ProjectName, file: File) -> Blob:
        root, entry = _found(index, await looked_at(), project, file)
        async with self._reading(index, root, entry) as path, self._blobs.spool() as spool:
            async for data in self._chunks(path):
                await spool.write(data)
            if spool.hexdigest() != file.sha256:
                raise _changed(index, file)
            return await spool.keep()

    async def _keep_metadata(self, index: IndexConfig, looked_at: LookedAt, project: ProjectName, file: File) -> Blob:
        from pkgindex_core.engines.directory.reading import metadata_in  # loads archive readers

        root, entry = _found(index, await looked_at(), project, file)
        async with self._reading(index, root, entry) as path:
            data = await in_worker(self._workers, metadata_in, path, file.filename)
        async with self._blobs.spool() as spool:
            await spool.write(data or b"")
            if spool.hexdigest() != file.metadata_sha256:
                raise _changed(index, file)
            return await spool.keep()

    @asynccontextmanager
    async def _reading(self, index: IndexConfig, root: Root, entry: Entry) -> AsyncIterator[Path]:
        """`Root.reading`; a file that is gone is `Missing`, even if the listing still has it."""
        try:
            async with root.reading(entry) as path:
                yield path
        except Unavailable:
            await root.update(entry.project, again=True)
            if entry.filename not in root.listing.files(entry.project):
                raise _removed(index, entry.filename) from None
            raise

    async def _chunks(self, path: Path) -> AsyncIterator[bytes]:
        offset = 0
        while data := await in_worker(self._workers, _chunk, path, offset):
            yield data
            offset += len(data)


def _chunk(path: Path, offset: int) -> bytes:
    """Opens the file for each chunk: a caller that is cancelled leaves nothing open."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(_CHUNK)


def _found(index: IndexConfig, roots: Sequence[Root], project: ProjectName, file: File) -> tuple[Root, Entry]:
    found = files_of(roots, project).get(file.filename)
    if found is None:
        raise _removed(index, file.filename)
    return found


def _removed(index: IndexConfig, filename: str) -> Missing:
    return Missing("file", f"{index.name}/{filename}", hint="it was removed from the directory")


def _changed(index: IndexConfig, file: File) -> Unavailable:
    return Unavailable(f"{file.filename} was replaced in {index.name} just now", hint="ask for the page again")
