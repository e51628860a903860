"""Blobs on a local disk, durable when acknowledged.

The asynchronous role on top of `blob_tree`, which has the paths and the order of the calls. Every call is one hop to the
engine's workers, also for a small blob (hash, write, fsync, rename, fsync in one). A reader that stops leaves no
descriptor open.

fsspec's local file system is not used, because it never calls fsync.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.local.blob_tree import SHARD_DIGITS, BlobTree
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker, submit
from pkgindex_core.engines.local.spooling import LocalSpool, sweep_spools
from pkgindex_core.errors import Corrupt, Missing, Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span
from pkgindex_core.storage_failures import storage_failure

CHUNK: Final = 256 << 10
"""The bytes of one read."""

_RESEND: Final = "send or fetch the file again: keeping it replaces the damaged copy"


async def open_local(url: str, context: Context) -> LocalBlobs:
    """Open the store of a `file:///absolute/path`. Makes a missing directory."""
    store = LocalBlobs(path_of(url), clock=context.clock, workers=context.workers)
    await store.open()
    return store


def path_of(url: str) -> Path:
    """The directory of a file URL. Escapes are decoded (RFC 8089). A plain absolute path is accepted too."""
    if url.startswith("/"):
        return Path(url)
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise Refused(
            f"{url!r} is not a URL of a local directory", hint="write file:///absolute/path, with three slashes"
        )
    # `?` and `#` belong to the path here: people paste paths behind file://.
    return Path(unquote(url.split(":", 1)[1].removeprefix("//").removeprefix("localhost")))


class LocalBlobs:
    """A `BlobStore` in a directory. Construct, then `open`."""

    def __init__(
        self, root: Path, *, clock: Clock, workers: Executor, operations: FileOperations | None = None
    ) -> None:
        self._operations = operations or FileOperations()
        self._tree = BlobTree(root, self._operations)
        self._clock = clock
        self._workers = workers

    async def open(self) -> None:
        """Make or check the directories."""
        await in_worker(self._workers, "opening the blob store", self._tree.prepare)

    def spool(self, *algorithms: str) -> LocalSpool:
        return LocalSpool(self._tree.spools, self._keep, algorithms, workers=self._workers, operations=self._operations)

    async def put(self, data: bytes) -> Blob:
        return await in_worker(self._workers, "keeping a blob", self._put_here, data)

    async def _keep(self, spool: LocalSpool) -> Blob:
        return await in_worker(self._workers, "keeping a blob", self._keep_here, spool)

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        doing = "reading a blob"
        begun = submit(self._workers, doing, self._begin, key, span)
        step: Future[Any] = begun
        try:
            reading = await asyncio.wrap_future(begun)
            offset = reading.offset + len(reading.first)
            if reading.first:
                yield reading.first
            while offset < reading.stop:
                step = submit(self._workers, doing, self._next, reading.descriptor, offset, reading.stop)
                chunk: bytes = await asyncio.wrap_future(step)
                offset += len(chunk)
                yield chunk
        except OSError as error:
            raise storage_failure(error, doing) from error
        finally:
            # A worker may still read for a cancelled caller: close the descriptor after the read.
            step.add_done_callback(lambda _: self._end(begun))

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:  # noqa: ARG002 - a look costs nothing
        # In the event loop: a look at an inode takes microseconds, less than a switch of threads.
        try:
            return self._tree.find(key)
        except OSError as error:
            raise storage_failure(error, "looking for a blob") from error

    async def locate(
        self,
        key: Sha256,
        *,
        filename: str,  # noqa: ARG002 - a path needs nothing but the key
        expires: int = 300,  # noqa: ARG002 - nor this
        may_redirect: bool = False,  # noqa: ARG002 - nor this
    ) -> Path | None:
        return None if await self.stat(key) is None else self._tree.path(key)

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        return await in_worker(self._workers, "removing a blob", self._tree.drop, key, modified)

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        for shard in await in_worker(self._workers, "listing blobs", self._tree.shards, prefix[:SHARD_DIGITS]):
            for blob in await in_worker(self._workers, "listing blobs", self._tree.list_shard, shard):
                if blob.sha256.startswith(prefix):
                    yield blob

    async def set_aside(self, key: Sha256) -> bool:
        return await in_worker(self._workers, "setting a damaged blob aside", self._tree.set_aside, key)

    async def owner(self) -> str:
        return await in_worker(self._workers, "reading whose the blobs are", self._tree.owner)

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        return await in_worker(
            self._workers, "claiming the blobs", partial(self._tree.claim, identity, instead=instead)
        )

    async def sweep(self, *, older_than: float) -> int:
        return await in_worker(self._workers, "sweeping abandoned spools", self._sweep, older_than)

    async def close(self) -> None:
        """Do nothing: no files stay open between calls."""

    # The methods below run in workers.

    def _put_here(self, data: bytes) -> Blob:
        spool = self.spool()
        spool.take(data)
        return self._keep_here(spool)

    def _keep_here(self, spool: LocalSpool) -> Blob:
        with spool.lock:
            try:
                return self._tree.keep(spool, modified=self._clock.now() / 1_000_000)
            finally:
                spool.discard()  # in this hop, also when the caller was cancelled

    def _begin(self, key: Sha256, span: Span | None) -> _OpenBlob:
        opened = self._tree.open(key)
        if opened is None:
            raise Missing("blob", key)
        descriptor, size = opened
        try:
            start, stop = (span.start, span.stop) if span else (0, size)
            if stop > size:
                raise Corrupt(f"blob {key} has {size} bytes, at least {stop} were expected", hint=_RESEND)
            first = self._next(descriptor, start, stop) if start < stop else b""
        except BaseException:
            self._tree.close(descriptor)
            raise
        return _OpenBlob(descriptor, start, stop, first)

    def _next(self, descriptor: int, offset: int, stop: int) -> bytes:
        chunk = self._operations.read(descriptor, min(CHUNK, stop - offset), offset)
        if not chunk:
            raise Corrupt(f"a blob ended at {offset} bytes, {stop} were expected", hint=_RESEND)
        return chunk

    def _end(self, begun: Future[_OpenBlob]) -> None:
        if not begun.cancelled() and begun.exception() is None:
            self._tree.close(begun.result().descriptor)

    def _sweep(self, older_than: float) -> int:
        return sweep_spools(self._tree.spools, older_than=older_than, clock=self._clock, operations=self._operations)


class _OpenBlob(Struct, frozen=True):
    descriptor: int
    offset: int
    stop: int
    first: bytes


if TYPE_CHECKING:
    _: type[BlobStore] = LocalBlobs
