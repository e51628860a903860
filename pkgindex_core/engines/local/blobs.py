"""Blobs on a local disk, durable when acknowledged.

The role on top of `blob_tree`, which has the paths, the order of the calls and why they survive a power cut. Here
is what is asynchronous: every call is one hop to the engine's workers, small blobs included (hash, write, fsync, rename,
fsync in one), and a reader that goes away leaves no descriptor behind.

fsspec's local file system is not used: it knows no fsync, and names made of digests need none of what it offers.
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
from pkgindex_core.engines.local.blob_tree import BlobTree
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker, submit
from pkgindex_core.engines.local.spooling import SpooledStage, sweep_stages
from pkgindex_core.errors import Corrupt, Missing, Refused
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span
from pkgindex_core.storage_failures import storage_failure

CHUNK: Final = 256 << 10
"""Bytes that are read at once."""

_RESEND: Final = "send or fetch the file again: keeping it replaces the damaged copy"


async def open_local(url: str, context: Context) -> LocalBlobs:
    """Open the store of a `file:///absolute/path`, making the directory if need be."""
    store = LocalBlobs(path_of(url), clock=context.clock, workers=context.workers)
    await store.open()
    return store


def path_of(url: str) -> Path:
    """The directory that a file URL names. Escapes are resolved (RFC 8089); a plain absolute path is taken as it is."""
    if url.startswith("/"):
        return Path(url)
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise Refused(f"{url!r} is no URL of a local directory", hint="write file:///absolute/path, with three slashes")
    # `?` and `#` are letters of a path here: people paste paths behind file://.
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

    def stage(self, *algorithms: str) -> SpooledStage:
        return SpooledStage(
            self._tree.staging, self._keep, algorithms, workers=self._workers, operations=self._operations
        )

    async def put(self, data: bytes) -> Blob:
        async with self.stage() as stage:
            await stage.write(data)
            return await stage.keep()

    async def _keep(self, stage: SpooledStage) -> Blob:
        return await in_worker(self._workers, "keeping a blob", self._keep_here, stage)

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
            # A worker may still read for a caller that went away: the descriptor is closed after it, not under it.
            step.add_done_callback(lambda _: self._end(begun))

    async def stat(self, key: Sha256) -> Blob | None:
        return await in_worker(self._workers, "looking for a blob", self._tree.find, key)

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300) -> Path | None:  # noqa: ARG002 - a path needs neither
        return None if await self.stat(key) is None else self._tree.path(key)

    async def drop(self, key: Sha256) -> bool:
        return await in_worker(self._workers, "removing a blob", self._tree.drop, key)

    async def walk(self) -> AsyncIterator[Blob]:
        for shard in await in_worker(self._workers, "listing blobs", self._tree.shards):
            for blob in await in_worker(self._workers, "listing blobs", self._tree.list_shard, shard):
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
        return await in_worker(self._workers, "sweeping abandoned stages", self._sweep, older_than)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    # What follows runs in workers.

    def _keep_here(self, stage: SpooledStage) -> Blob:
        with stage.lock:
            try:
                return self._tree.keep(stage, modified=self._clock.now() / 1_000_000)
            finally:
                stage.discard()  # in this hop already; also when nobody waits for it any more

    def _begin(self, key: Sha256, span: Span | None) -> _Reading:
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
        return _Reading(descriptor, start, stop, first)

    def _next(self, descriptor: int, offset: int, stop: int) -> bytes:
        chunk = self._operations.read(descriptor, min(CHUNK, stop - offset), offset)
        if not chunk:
            raise Corrupt(f"a blob ended at {offset} bytes, {stop} were expected", hint=_RESEND)
        return chunk

    def _end(self, begun: Future[_Reading]) -> None:
        if not begun.cancelled() and begun.exception() is None:
            self._tree.close(begun.result().descriptor)

    def _sweep(self, older_than: float) -> int:
        return sweep_stages(self._tree.staging, older_than=older_than, clock=self._clock, operations=self._operations)


class _Reading(Struct, frozen=True):
    descriptor: int
    offset: int
    stop: int
    first: bytes


if TYPE_CHECKING:
    _: type[BlobStore] = LocalBlobs
