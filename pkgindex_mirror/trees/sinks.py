"""Where the bytes of one file of a tree go while they arrive.

Small files stay in memory until they are kept: then one call of a worker hashes, writes and moves them. Larger ones are hashed and
written a megabyte at a time, to a part that is named after the digest of the file. A part stays when a transfer breaks off, and the next
transfer of the same file goes on with it. A part that has all bytes is shortened by one, so that there is always something to ask for.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import HEX_LENGTHS, Hasher
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import BadUpstream
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_mirror.syncing.targets import FileSink
from pkgindex_mirror.trees.records import RecordedFile
from pkgindex_mirror.trees.storage import Kept, StoredObject

Result = TypeVar("Result")

_HOP: Final = 1 << 20
"""Bytes that are collected in memory before a worker hashes and writes them."""
_PLACE: Final = "the mirror's directory"


class SinkPlaces(Struct, frozen=True):
    """The places of a file on its way into a tree."""

    new: Path
    """A directory for files that are written at once."""
    parts: Path
    """A directory for parts of files."""
    place: Callable[[Path | bytearray, Timestamp], StoredObject] | None
    """Puts a whole file, or the bytes of one, in its place in the tree, with its modification time. Called in a worker."""
    send: Callable[[Path | bytes, RecordedFile], Awaitable[None]] | None
    """The same for a place that is not local, called in the event loop."""
    clock: Clock


@asynccontextmanager
async def opened_sink(
    file: File, path: str, arriving: SinkPlaces, kept: Kept, *, workers: Executor
) -> AsyncIterator[FileSink]:
    """Open a sink of a file that belongs to `path` in the tree. `kept` is told when it is there."""
    sink = _TreeSink(file, path, arriving, kept, workers)
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()


class _TreeSink:
    def __init__(self, file: File, path: str, arriving: SinkPlaces, kept: Kept, workers: Executor) -> None:
        self._file = file
        self._path = path
        self._arriving = arriving
        self._kept = kept
        self._workers = workers
        self._operations = FileOperations()
        self._part = arriving.parts / f"{_key(file)}.part"
        self._descriptor: int | None = None
        self._hasher = _hasher(file)
        self._pending = bytearray()
        self._is_done = False

    async def open(self) -> None:
        """Take over the part that an interrupted transfer left."""
        if (self._file.size or _HOP) >= _HOP:
            await self._work("opening a part of a file", self._resume)

    @property
    def offset(self) -> int:
        return self._hasher.size + len(self._pending)

    async def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _HOP:
            await self._work("writing a file", self._spill)

    async def restart(self) -> None:
        self._pending.clear()
        self._hasher = _hasher(self._file)
        await self._work("writing a file", self._empty)

    async def keep(self) -> None:
        record = await self._work("keeping a file", self._keep)
        if self._arriving.send is not None:
            await self._arriving.send(self._whole(), record)
            await self._work("tidying up", self._discard)
        self._is_done = True
        self._kept(self._path, record)

    async def close(self) -> None:
        if self._is_done or (self._descriptor is None and not self._pending):
            return
        # The part stays for the next transfer, if there is one already. The bytes of a small file are not worth a file.
        await self._work("writing a file", self._leave)

    async def _work(self, doing: str, function: Callable[[], Result]) -> Result:
        return await in_worker(self._workers, doing, function, place=_PLACE)

    # In a worker.

    def _resume(self) -> None:
        if not self._part.exists():
            return
        descriptor = self._open_part()
        size = os.fstat(descriptor).st_size
        limit = self._file.size
        if limit is not None and size >= limit:
            size = max(limit - 1, 0)
        os.ftruncate(descriptor, size)
        while size > self._hasher.size:
            data = self._operations.read(descriptor, min(_HOP, size - self._hasher.size), self._hasher.size)
            if not data:
                break
            self._hasher.update(data)
        os.lseek(descriptor, self._hasher.size, os.SEEK_SET)

    def _open_part(self) -> int:
        """Open the part of this file; another name if a transfer of the same bytes is under way."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._part, flags, 0o600)
        if not self._operations.lock(descriptor, wait=False):
            os.close(descriptor)
            self._part = self._arriving.new / secrets.token_hex(8)
            descriptor = os.open(self._part, flags | os.O_EXCL, 0o600)
        self._descriptor = descriptor
        return descriptor

    def _spill(self) -> None:
        descriptor = self._descriptor
        if descriptor is None:
            descriptor = self._open_part()
            os.ftruncate(descriptor, 0)
        self._operations.write(descriptor, self._pending)
        self._hasher.update(self._pending)
        self._pending.clear()
        failpoint("tree.file_part_written")

    def _empty(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _keep(self) -> RecordedFile:
        if self._descriptor is not None:
            self._spill()
        else:
            self._hasher.update(self._pending)
        problem = self._problem()
        if problem:
            self._discard()
            raise BadUpstream(
                f"{self._file.filename}: {problem}",
                hint="nothing of it was kept; it is fetched again with the next run",
            )
        failpoint("tree.file_checked")
        uploaded = self._file.upload_time
        modified = uploaded if uploaded is not None else self._arriving.clock.now()
        if self._arriving.place is None:
            return RecordedFile(self._hasher.size, modified, self._hasher.sha256)
        try:
            placed = self._arriving.place(self._pending if self._descriptor is None else self._part, modified)
        finally:
            self._close_descriptor()
        return RecordedFile(placed.size, placed.modified, self._hasher.sha256)

    def _whole(self) -> Path | bytes:
        return bytes(self._pending) if self._descriptor is None else self._part

    def _problem(self) -> str:
        """Why these bytes are not those of the file; empty when they are."""
        if self._file.size is not None and self._hasher.size != self._file.size:
            return f"{self._hasher.size} bytes came instead of {self._file.size}"
        for algorithm in _compared(self._file.digests):
            found = self._hasher.hexdigest(algorithm)
            if found != self._file.digests[algorithm]:
                return f"its {algorithm} is {found} instead of {self._file.digests[algorithm]}"
        return ""

    def _leave(self) -> None:
        try:
            if self._descriptor is not None and self._pending and self._part.exists():
                self._operations.write(self._descriptor, self._pending)
        except OSError:  # a full disk has no room for a part either
            with suppress(OSError):
                self._part.unlink(missing_ok=True)
        if self._part.parent == self._arriving.new:
            self._part.unlink(missing_ok=True)
        self._close_descriptor()

    def _discard(self) -> None:
        if self._descriptor is not None:
            self._part.unlink(missing_ok=True)
        self._close_descriptor()
        self._pending.clear()

    def _close_descriptor(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _compared(digests: Mapping[str, str]) -> tuple[str, ...]:
    """The digests to be compared: sha256 alone, if there is one."""
    if "sha256" in digests:
        return ("sha256",)
    return tuple(name for name in digests if name in HEX_LENGTHS)


def _hasher(file: File) -> Hasher:
    return Hasher(*(name for name in _compared(file.digests) if name != "sha256"))


def _key(file: File) -> str:
    """The name of a part: the digest of its file, or of its URL if it has none."""
    for algorithm in _compared(file.digests):
        return f"{algorithm}-{file.digests[algorithm][:64]}"
    return f"url-{hashlib.sha256(file.url.encode()).hexdigest()}"


if TYPE_CHECKING:
    _: type[FileSink] = _TreeSink
