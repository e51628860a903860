"""Bytes on their way into a blob store: counted and hashed as they come, in memory while few, in a file when many.

`SpooledStage` is the `Stage` of every store that needs a local file to collect bytes in; how they get from there into
the store is a function that the store hands in. The theory:

    write  ->  pending (memory)  ->  at 1 MiB: one hop to a worker, which hashes and writes    ->  keep(stage)
    small blobs never leave memory before `keep`, so a store can hash, write, sync and rename them in one hop

Two threads may touch a stage: the event loop's, and one worker's whose caller was cancelled meanwhile. So whatever uses the
file or the hashes holds `lock`, and a hop that begins after the stage was left finds it closed and does nothing.
A file is locked as long as its stage lives: a sweep by any process takes only what it can lock.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Hasher, Sha256
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob
from pkgindex_core.storage_failures import storage_failure

HOP: Final = 1 << 20
"""Bytes that are collected in memory before a worker hashes and writes them."""

_STAGE_NAME = re.compile(r"\A[0-9a-f]{32}\.part\Z")


class SpooledStage:
    """A `Stage` (see the protocol). What is for the store's keeper only says so."""

    def __init__(
        self,
        directory: Path,
        keeper: Callable[[SpooledStage], Awaitable[Blob]],
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
        self._unhashed = 0  # how many bytes at the end of `_pending` the hasher has not seen
        self._file = directory / f"{secrets.token_hex(16)}.part"
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
        if self.lock.acquire(blocking=False):  # no worker is at it
            try:
                if self._descriptor is None:
                    return
            finally:
                self.lock.release()
        try:
            leaving = asyncio.wrap_future(self._workers.submit(self.discard))
        except RuntimeError:  # the workers are gone, so nobody is delayed by doing it here
            self.discard()
            return
        await _through_cancellation(leaving)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._require_open()
        if isinstance(data, memoryview):
            data = data.cast("B")
        length = len(data)
        if len(self._pending) + length < HOP:
            self._pending += data
            self._unhashed += length
        else:
            await self._hop(self._append, data)
        self._size += length

    async def flush(self) -> None:
        self._require_open()
        if self._pending or self._descriptor is None:
            await self._hop(self._append, b"")

    @property
    def size(self) -> int:
        return self._size

    @property
    def path(self) -> Path:
        if self._moved_to is not None:
            return self._moved_to
        if self._descriptor is None:
            with self.lock:
                self._require_open()
                try:
                    self._create()
                except OSError as error:
                    raise storage_failure(error, "opening a file for new bytes") from error
        return self._file

    def hexdigest(self, algorithm: str = "sha256") -> str:
        # At most a HOP is hashed here, on the loop; nothing after a `flush`.
        with self.lock:
            self._hash_pending()
            return self._hasher.hexdigest(algorithm)

    async def keep(self) -> Blob:
        self._require_open()
        self._finished = True
        return await self._keeper(self)

    # For keepers, in a worker, holding `lock`.

    def sha256(self) -> Sha256:
        """The key of everything written."""
        self._require_inside()
        self._hash_pending()
        return self._hasher.sha256

    def in_memory(self) -> bytes | None:
        """All bytes, if there are so few that no file was needed."""
        return bytes(self._pending) if self._descriptor is None else None

    def spill(self) -> tuple[Path, int]:
        """Have all bytes in the file; its path and its descriptor, which stays the stage's."""
        self._require_inside()
        descriptor = self._create()
        self._hash_pending()
        if self._pending:
            self._operations.write(descriptor, self._pending)
            self._pending.clear()
        return self._file, descriptor

    def moved(self, path: Path) -> None:
        """The file is no longer the stage's to remove: the store has it under `path`."""
        self._moved_to = path

    def discard(self) -> None:
        """Remove the file, unless it was moved. Any number of times."""
        with self.lock:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is None:
                return
            self._finished = True
            with suppress(OSError):  # an error here loses no bytes: what stays is swept later
                if self._moved_to is None:
                    self._operations.unlink(self._file)
            with suppress(OSError):  # the file was synced before it was moved; `close` has nothing more to tell
                self._operations.close(descriptor)

    def _create(self) -> int:
        if self._descriptor is None:
            self._descriptor = self._operations.create(self._file)
            self._operations.lock(self._descriptor)
            failpoint("blob.opened")
        return self._descriptor

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
        # Whether an interrupted write was done is not known, so the bytes can no longer be vouched for.
        self._broken = True
        await in_worker(self._workers, "writing new bytes", function, data)
        self._broken = False

    def _require_open(self) -> None:
        if self._finished or self._closed:
            raise RuntimeError("a stage is written and kept inside its context, and kept once")
        if self._broken:
            raise Unavailable("an earlier write of these bytes failed", hint="send them again, to a new stage")

    def _require_inside(self) -> None:
        if self._closed:
            raise Unavailable("the stage was left", hint="send the bytes again")


def is_stage_name(name: str) -> bool:
    return _STAGE_NAME.match(name) is not None


def sweep_stages(directory: Path, *, older_than: float, clock: Clock, operations: FileOperations) -> int:
    """Remove the files of stages whose process died, in a worker; how many."""
    horizon = clock.now() / 1_000_000 - older_than
    return sum(
        _remove_abandoned(directory / name, operations)
        for name, status in operations.list_directory(directory)
        if is_stage_name(name) and status.st_mtime <= horizon
    )


def _remove_abandoned(path: Path, operations: FileOperations) -> bool:
    try:
        descriptor = operations.open(path)
    except FileNotFoundError:
        return False
    except OSError:  # a symlink under our name is nobody's stage; removing it does not follow it
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
    """Wait to the end even when cancelled meanwhile, then be cancelled."""
    interrupted: asyncio.CancelledError | None = None
    while not leaving.done():
        try:
            await asyncio.wait({leaving})
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        raise interrupted
    leaving.result()
