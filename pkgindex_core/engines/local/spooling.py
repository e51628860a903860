"""Spools new bytes for a blob store: counts and hashes them, in memory while they are few, otherwise in a file.

`LocalSpool` is the `Spool` of every store that collects bytes in a local file. A function of the store, the keeper, moves the
bytes from there into the store. The theory:

    write  ->  pending (memory)  ->  at 1 MiB: one hop to a worker, which hashes and writes    ->  keep(spool)
    small blobs never leave memory before `keep`, so a store can hash, write, sync and rename them in one hop

Two threads may use a spool: that of the event loop, and a worker whose caller was cancelled meanwhile. So all uses of the
file and the hashes hold `lock`, and a hop that begins after the spool was left finds it closed and does nothing.
A file is locked while its spool is open: a sweep by any process removes only files that it can lock.
"""

from __future__ import annotations

import asyncio
import io
import re
import secrets
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Hasher, Sha256
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob
from pkgindex_core.storage_failures import storage_failure

HOP: Final = 1 << 20
"""The bytes that are collected in memory before a worker hashes and writes them."""

_SPOOL_NAME = re.compile(r"\A[0-9a-f]{32}\.part\Z")


class LocalSpool:
    """A `Spool` (see the protocol). Methods for the store's keeper are marked."""

    def __init__(
        self,
        directory: Path,
        keeper: Callable[[LocalSpool], Awaitable[Blob]],
        algorithms: tuple[str, ...],
        *,
        workers: Executor,
        operations: FileOperations,
    ) -> None:
        self.lock = threading.RLock()
        self._keeper = keeper
        self._workers = workers
        self._operations = operations
        self._hasher = Hasher(*algorithms)
        self._size = 0
        self._pending = bytearray()
        self._unhashed = 0  # the number of bytes at the end of `_pending` that are not hashed yet
        self._directory = directory
        self._file: Path | None = None
        self._descriptor: int | None = None
        self._moved_to: Path | None = None
        self._closed = False
        self._finished = False
        self._broken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self.lock.acquire(blocking=False):  # no worker uses the spool
            try:
                if self._descriptor is None:
                    return
            finally:
                self.lock.release()
        try:
            leaving = asyncio.wrap_future(self._workers.submit(self.discard))
        except RuntimeError:  # the workers are closed, so blocking the event loop delays no request
            self.discard()
            return
        await _through_cancellation(leaving)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._require_open()
        if isinstance(data, memoryview):
            data = data.cast("B")
        if len(self._pending) + len(data) < HOP:
            self.take(data)
        else:
            length = len(data)
            await self._hop(self._append, data)
            self._size += length

    async def flush(self) -> None:
        self._require_open()
        if self._pending or self._descriptor is None:
            await self._hop(self._append, b"")

    def flushed(self) -> Path:
        self._require_open()
        if self._pending or self._descriptor is None:
            self._broken = True
            try:
                self._append(b"")
            except OSError as error:
                raise storage_failure(error, "writing new bytes") from error
            self._broken = False
        return self.path

    def opened(self) -> BinaryIO:
        self._require_open()
        with self.lock:
            data = self.in_memory()
        return self.flushed().open("rb") if data is None else io.BytesIO(data)

    @property
    def size(self) -> int:
        return self._size

    @property
    def path(self) -> Path:
        if self._moved_to is not None:
            return self._moved_to
        if self._file is not None:
            return self._file
        with self.lock:
            self._require_open()
            try:
                return self._create()[0]
            except OSError as error:
                raise storage_failure(error, "opening a file for new bytes") from error

    def hexdigest(self, algorithm: str = "sha256") -> str:
        # In the event loop, but at most a HOP, and nothing after a `flush`.
        with self.lock:
            self._hash_pending()
            return self._hasher.hexdigest(algorithm)

    async def keep(self) -> Blob:
        self._require_open()
        self._finished = True
        return await self._keeper(self)

    def take(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes in memory, however many. For stores that have the whole blob."""
        self._pending += data
        self._unhashed += len(data)
        self._size += len(data)

    # For keepers, in a worker, holding `lock`.

    def sha256(self) -> Sha256:
        """The key of all bytes written."""
        self._require_inside()
        self._hash_pending()
        return self._hasher.sha256

    def in_memory(self) -> bytes | None:
        """All bytes, if there is no file yet."""
        return bytes(self._pending) if self._descriptor is None else None

    def spill(self) -> tuple[Path, int]:
        """Write all bytes to the file; return its path and its descriptor, which the spool closes."""
        self._require_inside()
        path, descriptor = self._create()
        self._hash_pending()
        if self._pending:
            self._operations.write(descriptor, self._pending)
            self._pending.clear()
        return path, descriptor

    def moved(self, path: Path) -> None:
        """Record that the store has moved the file to `path`, so that the spool does not remove it."""
        self._moved_to = path

    def discard(self) -> None:
        """Remove the file, unless it was moved. May be called several times."""
        with self.lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            self._finished = True
            with suppress(OSError):  # a later sweep removes the file
                if self._moved_to is None and self._file is not None:
                    self._operations.unlink(self._file)
            with suppress(OSError):  # the file was synced before it was moved, so an error of `close` does not matter
                self._operations.close(descriptor)

    def _create(self) -> tuple[Path, int]:
        if self._file is None or self._descriptor is None:
            file = self._directory / f"{secrets.token_hex(16)}.part"
            self._descriptor = self._operations.create(file)
            self._file = file
            self._operations.lock(self._descriptor)
            failpoint("blob.opened")
        return self._file, self._descriptor

    def _append(self, data: bytes | bytearray | memoryview) -> None:
        with self.lock:
            _, descriptor = self.spill()
            if data:
                self._hasher.update(data)
                self._operations.write(descriptor, data)

    def _hash_pending(self) -> None:
        if self._unhashed:
            with memoryview(self._pending) as pending:
                self._hasher.update(pending[len(pending) - self._unhashed :])
            self._unhashed = 0

    async def _hop(
        self, function: Callable[[bytes | bytearray | memoryview], None], data: bytes | bytearray | memoryview
    ) -> None:
        # It is unknown whether an interrupted write was done, so the bytes cannot be trusted any more.
        self._broken = True
        await in_worker(self._workers, "writing new bytes", function, data)
        self._broken = False

    def _require_open(self) -> None:
        if self._finished or self._closed:
            raise RuntimeError("a spool is written and kept inside its context, and kept once")
        if self._broken:
            raise Unavailable("a part of this file could not be written", hint="send the whole file again")

    def _require_inside(self) -> None:
        if self._closed:
            raise Unavailable("the spool was left", hint="send the bytes again")


def is_spool_name(name: str) -> bool:
    return _SPOOL_NAME.match(name) is not None


def sweep_spools(directory: Path, *, older_than: float, clock: Clock, operations: FileOperations) -> int:
    """Remove the files of spools whose process died; return their number. Call it in a worker."""
    horizon = clock.now() / 1_000_000 - older_than
    return sum(
        _remove_abandoned(directory / name, operations)
        for name, status in operations.list_directory(directory)
        if is_spool_name(name) and status.st_mtime <= horizon
    )


def _remove_abandoned(path: Path, operations: FileOperations) -> bool:
    try:
        descriptor = operations.open(path)
    except FileNotFoundError:
        return False
    except OSError:  # a symlink is not a spool; it is removed without following it
        descriptor = None
    try:
        if descriptor is not None and not operations.lock(descriptor, wait=False):
            return False
        operations.unlink(path)
    except FileNotFoundError:
        return False
    finally:
        if descriptor is not None:
            operations.close(descriptor)
    return True


async def _through_cancellation(leaving: asyncio.Future[None]) -> None:
    """Wait to the end even if cancelled meanwhile, and raise the cancellation afterwards."""
    interrupted: asyncio.CancelledError | None = None
    while not leaving.done():
        try:
            await asyncio.wait({leaving})
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted
    leaving.result()
