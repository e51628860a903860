"""A mirror's tree on a medium of fsspec, such as a bucket of S3.

    URL/.pkgindex/mirror.db     the rows, as they were when they were last put there
    URL/.pkgindex/lease/…       who works on the tree (`object_lease`)
    URL/.pkgindex/new/…         what is being written, on media where writing can be seen half done

The rows are a local file while a run works. They are put back at intervals and at the end, always after the blobs and pages of which they
speak. A run that is killed loses the rows since the last time: its files are found again by size and by the digest that an object keeps.

An object is durable when the store has acknowledged it. Objects have no time that could be set, so that of a file is kept with its digest in
the words that bandersnatch uses. Symbolic links are copies.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.object_lease import ObjectLease
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.object_headers import CHECKED, FOREVER, ObjectHeaders, as_options
from pkgindex_mirror.syncing.targets import FileSink
from pkgindex_mirror.trees.layout import DATABASE, OWN, PACKAGES, SIDECAR
from pkgindex_mirror.trees.records import RecordedFile
from pkgindex_mirror.trees.sinks import SinkPlaces, opened_sink
from pkgindex_mirror.trees.storage import Asked, Kept, PageBatch, StoredObject, TreeStorage, digest_of

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_ONCE: Final = 24
"""Requests under way."""
_SAVED_EVERY: Final = 120.0
"""Seconds after which the rows are put back."""
_NO_TIME: Final = Timestamp(0)


class ObjectStorage:
    """A `TreeStorage` below `root` of a medium. `scratch`: a local directory of its own."""

    def __init__(
        self, medium: Medium, root: str, *, scheme: str, scratch: Path, workers: Executor, clock: Clock
    ) -> None:
        self._medium = medium
        self._root = root
        self._scheme = scheme
        self._scratch = scratch
        self._workers = workers
        self._clock = clock
        self._lease = ObjectLease(medium, self._path(f"{OWN}/lease"), clock, subject="this mirror")
        self._saved = clock.monotonic()
        self._saved_as: tuple[int, int] | None = None

    @property
    def database(self) -> Path:
        return self._scratch / "mirror.db"

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._lease.held():
            await self.remove([path async for paths in self.walk(f"{OWN}/new") for path in paths])
            # Large files are sent in parts, which a bucket keeps until they are put together or given up.
            await self._medium.abort_parts(self._path(PACKAGES), self._clock.now() / 1_000_000)
            yield

    async def read(self, path: str) -> bytes | None:
        try:
            data: bytes = await self._medium.call("cat_file", self._path(path))
        except FileNotFoundError:
            return None
        return data

    async def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        return await self._each(paths, self.read)

    async def write(self, batch: PageBatch) -> None:
        same = {**batch.copies, **batch.links}
        objects = {**batch.written, **{path: batch.written[original] for path, original in same.items()}}
        # Copies come last: they are the pages that readers ask for if there are symbolic links elsewhere.
        await side_by_side(batch.written, lambda path: self._put(path, batch.written[path]), at_once=_AT_ONCE)
        failpoint("tree.pages_written")
        await side_by_side(same, lambda path: self._put(path, objects[path]), at_once=_AT_ONCE)

    async def stat(self, paths: Sequence[str]) -> Sequence[StoredObject | None]:
        async def one(path: str) -> StoredObject | None:
            try:
                info = await self._medium.ask("info", self._path(path))
            except FileNotFoundError:
                return None
            return StoredObject(int(info["size"]), _NO_TIME) if info.get("type") != "directory" else None

        return await self._each(paths, one)

    async def digests(self, asked: Sequence[Asked]) -> Sequence[str | None]:
        return await self._each(asked, self._digest)

    async def _digest(self, asked: Asked) -> str | None:
        """The digest that was stored with the object, or that of its bytes, which are fetched for it."""
        path, algorithm = asked
        try:
            if algorithm == "sha256" and self._scheme in {"s3", "s3a", "gs", "gcs"}:
                known = (await self._medium.said(self._path(path))).get("sha256")
                if isinstance(known, str) and len(known) == hashlib.sha256().digest_size * 2:
                    return known
            local = self._scratch / secrets.token_hex(8)
            try:
                await self._medium.transfer(self._path(path), "get_file", self._path(path), str(local))
                return await in_worker(self._workers, digest_of, str(local), algorithm)
            finally:
                local.unlink(missing_ok=True)
        except FileNotFoundError:
            return None

    async def place(self, path: str, data: bytes, modified: Timestamp) -> None:  # noqa: ARG002 - a sink does it
        return None

    def sink(self, file: File, path: str, kept: Kept) -> AbstractAsyncContextManager[FileSink]:
        async def send(whole: Path | bytes, record: RecordedFile) -> None:
            # bandersnatch reads these two.
            own = {"sha256": record.sha256, "uploaded-at": str(record.modified / 1_000_000)}
            await self._put(path, whole, own)
            failpoint("tree.file_placed")

        def done(path: str, record: RecordedFile) -> None:
            kept(path, RecordedFile(record.size, _NO_TIME, record.sha256))

        places = SinkPlaces(new=self._scratch, parts=self._scratch, place=None, send=send, clock=self._clock)
        return opened_sink(file, path, places, done, workers=self._workers)

    async def adopt(self, path: str, modified: Timestamp) -> StoredObject | None:  # noqa: ARG002  # an object has no time
        return None

    async def remove(self, paths: Iterable[str]) -> None:
        async def one(path: str) -> None:
            with suppress(FileNotFoundError):
                await self._medium.ask("rm_file", self._path(path))
            failpoint("tree.removed")

        await side_by_side(paths, one, at_once=_AT_ONCE)

    async def names(self, directory: str) -> Sequence[str]:
        try:
            found: list[str] = await self._medium.call("ls", self._path(directory), detail=False)
        except FileNotFoundError:
            return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in found})

    async def walk(self, directory: str) -> AsyncIterator[Sequence[str]]:
        # Directory by directory: the list of all files may not fit into memory.
        names = await self.names(directory) if directory == PACKAGES else [""]
        for name in names:
            below = f"{directory}/{name}".rstrip("/")
            try:
                found: list[str] = await self._medium.call("find", self._path(below))
            except FileNotFoundError:
                continue
            start = len(self._root.lstrip("/")) + 1
            if found:
                yield [path.lstrip("/")[start:] for path in found]

    async def settle(self) -> None:
        """Return at once: acknowledged objects are durable."""

    async def fetch_rows(self) -> None:
        for leftover in self._scratch.glob(f"{self.database.name}*"):
            leftover.unlink()
        with suppress(FileNotFoundError):
            remote = self._path(DATABASE)
            await self._medium.transfer(remote, "get_file", remote, str(self.database))
        self._saved_as = self._signature()

    def rows_are_due(self) -> bool:
        return self._clock.monotonic() - self._saved > _SAVED_EVERY

    async def save_rows(self) -> None:
        signature = self._signature()
        self._saved = self._clock.monotonic()
        if signature is not None and signature != self._saved_as:
            await self._put(DATABASE, self.database)
            self._saved_as = signature

    async def close(self) -> None:
        await self._medium.close()

    async def _put(self, path: str, data: bytes | Path, own: Mapping[str, str] | None = None) -> None:
        unsure = f"{self._path(OWN)}/new/{secrets.token_hex(8)}"
        await self._medium.put(data, unsure, self._path(path), as_options(_headers(path), self._scheme, own))

    async def _each(self, items: Sequence[Item], one: Callable[[Item], Awaitable[Result]]) -> Sequence[Result]:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def within(item: Item) -> Result:
            async with turns:
                return await one(item)

        return await asyncio.gather(*map(within, items))

    def _signature(self) -> tuple[int, int] | None:
        """A value that differs when the file of the rows was written meanwhile."""
        try:
            status = self.database.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_size

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"


def _headers(path: str) -> ObjectHeaders:
    """The headers of an object of a tree."""
    if path.startswith(f"{PACKAGES}/"):
        return ObjectHeaders(
            "text/plain; charset=utf-8" if path.endswith(SIDECAR) else "application/octet-stream", FOREVER
        )
    if path.endswith(".html"):
        return ObjectHeaders("text/html", CHECKED)
    if path.endswith(".v1_html"):
        return ObjectHeaders(HTML_V1, CHECKED)
    return ObjectHeaders(JSON_V1 if path.endswith(".v1_json") else "application/json", CHECKED)


if TYPE_CHECKING:
    _: type[TreeStorage] = ObjectStorage
