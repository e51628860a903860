"""A file while it arrives: one writer and any number of readers. Readers do not slow or stop the writer.

The newest bytes are in a window in memory. Older ones are in the spool's file:

    0 ............ on disk ............ [ window: the newest chunks ][ held back ]
                                                                       ^ released    ^ received

A reader near the front reads from the window, a slow one from the file. The newest chunk, and the last byte of a span, are held back
until the digests of the whole file are checked. So no reader gets a complete file with wrong bytes.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pkgindex_core.errors import Missing, PkgIndexError, Removed, Unavailable, afresh
from pkgindex_core.protocols import Blob, BlobStore, ColdFile, Span
from pkgindex_core.tools.reading_locks import mark_as_read
from pkgindex_core.tools.workers import in_worker

WINDOW = 1024 * 1024
"""Bytes kept in memory for readers that keep up."""
_PIECE = 256 * 1024


class ArrivingFile:
    """A `ColdFile`. The fetching task calls the methods up to `fail`; readers call the others."""

    def __init__(self, blob_store: BlobStore, workers: Executor) -> None:
        self._blob_store = blob_store
        self._workers = workers
        self._window: deque[tuple[int, bytes]] = deque()
        self._buffered = 0
        self._descriptor: int | None = None
        self._readers = 0
        self._size: int | None = None
        self.validator = ""
        """The upstream's validator of the file that comes; empty when there is none."""
        self._opened = False
        self._received = 0
        self._released = 0
        self._verified = False
        self._blob: Blob | None = None
        self._error: PkgIndexError | None = None
        self._news = asyncio.Event()

    def open(self, size: int | None, validator: str = "") -> None:
        """Say that the upstream answers with a file of `size` bytes; None when the size is not known."""
        self._size = size
        self.validator = validator
        self._opened = True
        self._tell()

    def append(self, data: bytes) -> bool:
        """Take bytes that are in the spool already. True when the window is full: then flush the spool and call `flushed`."""
        self._released = self._received
        self._window.append((self._received, data))
        self._received += len(data)
        self._buffered += len(data)
        self._tell()
        return self._buffered > WINDOW

    def flushed(self, path: Path) -> None:
        """Say that all appended bytes can be read from `path`; the window shrinks to half.

        The file is opened here, once, because it is renamed when it is kept.
        """
        if self._descriptor is None:
            with suppress(OSError):  # readers then wait until the file is kept
                self._descriptor = os.open(path, os.O_RDONLY)
        while self._buffered > WINDOW // 2 and len(self._window) > 1:
            self._buffered -= len(self._window.popleft()[1])

    def verify(self) -> None:
        """Say that the digests of all bytes are right: the bytes held back are released."""
        self._released = self._size = self._received
        self._verified = True
        self._tell()

    def keep(self, blob: Blob) -> None:
        """Say that the file is durable in the blob store. Another call changes nothing."""
        if not self._opened:
            self._opened = True
            self._size = blob.size
        self._blob = blob
        if self._descriptor is not None and self._readers:
            mark_as_read(self._descriptor)  # the last reader closes it
        else:
            self._close()
        self._tell()

    def fail(self, error: PkgIndexError) -> None:
        """Say that no more bytes come, and why."""
        self._error = error
        self._close()
        self._tell()

    @property
    def is_open(self) -> bool:
        """Whether readers may have a size or bytes."""
        return self._opened

    @property
    def come(self) -> int:
        """The number of bytes that have come."""
        return self._received

    @property
    def failed(self) -> bool:
        return self._error is not None

    @property
    def is_verified(self) -> bool:
        """Whether all bytes arrived and their digests are right. The file may not be durable yet."""
        return self._verified

    async def headers(self) -> None:
        """Wait for `open`. Raises the error that `fail` was given."""
        while not self._opened:
            self._raise_failure()
            await self._news.wait()

    @property
    def size(self) -> int | None:
        return self._size

    async def read(self, span: Span | None = None) -> AsyncIterator[bytes]:
        offset = span.start if span else 0
        stop = span.stop if span else None
        descriptor: int | None = None
        self._readers += 1
        try:
            while True:
                news = self._news
                end = self._readable(stop)
                if offset < end:
                    data = self._from_window(offset, end)
                    if data is None and descriptor is None:
                        descriptor = self._opened_again()
                        if descriptor is None:
                            break
                        continue
                    if data is None and descriptor is not None:
                        data = await self._from_file(descriptor, offset, end)
                    assert data
                    offset += len(data)
                    yield data
                elif self._verified:
                    return
                elif self._blob is not None:
                    break  # the file was stored before this reader began
                else:
                    self._raise_failure()
                    await news.wait()
        finally:
            if descriptor is not None:
                os.close(descriptor)
            self._readers -= 1
            if not self._readers and self._blob is not None:
                self._close()
        blob = await self.finished()
        end = blob.size if stop is None else min(stop, blob.size)
        if offset < end:
            try:
                async for data in self._blob_store.read(blob.sha256, Span(offset, end)):
                    yield data
            except Missing as error:  # another process removed it since
                raise Removed from error

    async def verified(self) -> int:
        """Wait until all bytes arrived and their digests are right; return their number. The file may not be durable yet."""
        while not self._verified and self._blob is None:
            self._raise_failure()
            await self._news.wait()
        return self._received if self._blob is None else self._blob.size

    async def finished(self) -> Blob:
        while self._blob is None:
            self._raise_failure()
            await self._news.wait()
        return self._blob

    def _readable(self, stop: int | None) -> int:
        """The offset up to which a reader may read now."""
        if self._verified:
            return self._received if stop is None else min(stop, self._received)
        return self._released if stop is None else min(stop - 1, self._released)

    def _from_window(self, offset: int, end: int) -> bytes | None:
        if not self._window or offset < self._window[0][0]:
            return None
        for start, data in self._window:
            if start <= offset < start + len(data):
                if start == offset and end >= start + len(data):
                    return data
                return data[offset - start : end - start]
        return None

    def _opened_again(self) -> int | None:
        """A descriptor of the spool's file; None when the file is in the blob store by now."""
        try:
            # In the event loop: `dup` takes microseconds, and a descriptor from a worker would leak if its reader were cancelled.
            return None if self._descriptor is None else os.dup(self._descriptor)
        except OSError as error:
            raise Unavailable("a file that is being fetched could not be read back") from error

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    async def _from_file(self, descriptor: int, offset: int, end: int) -> bytes:
        wanted = min(end - offset, _PIECE)
        try:
            data = await in_worker(self._workers, os.pread, descriptor, wanted, offset)
        except OSError as error:
            raise Unavailable("a file that is being fetched could not be read back") from error
        if not data:
            raise Unavailable("a file that is being fetched was cut off on the disk")
        return data

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise afresh(self._error)


if TYPE_CHECKING:
    _: type[ColdFile] = ArrivingFile
