"""Files that are passed on to clients and not kept: those of projects whose policy is `streamed`.

They arrive as other files do, so ranges, digests and broken transfers are the same. Their bytes are in a spool, which is removed when the last
byte has come; clients that are not as far read it through a descriptor. All clients that come before the last byte share one transfer.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols import Blob, BlobStore, ColdFile, Span, Spool
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.readthrough.files.cold_files import ArrivingFile
from pkgindex_mirror.readthrough.files.fetching import FilePlace


class PassedFile(ArrivingFile):
    """A file on its way to clients. Those hold on to a `reading`."""

    def __init__(self, blob_store: BlobStore, workers: Executor) -> None:
        super().__init__(blob_store, workers)
        self._readings: weakref.WeakSet[PassedReading] = weakref.WeakSet()

    def reading(self) -> PassedReading:
        """Begin to wait for the file."""
        reading = PassedReading(self)
        self._readings.add(reading)
        return reading

    def flushed(self, path: Path) -> None:
        """As in `ArrivingFile`. Raises OSError if the bytes cannot be read back, and `Unavailable` if no client is left."""
        if not self._readings:
            raise Unavailable("no client waits for it any more")
        if self._descriptor is None:
            self._descriptor = os.open(path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)
        super().flushed(path)

    def keep(self, blob: Blob) -> None:
        """Say that all bytes have come. They are in no blob store, unless they were before the transfer began."""
        if not self.is_verified:
            super().keep(blob)

    async def finished(self) -> Blob:
        """Raises `Unavailable` if the file is not in the blob store."""
        if self._blob is None:
            raise Unavailable("the file is passed on and not kept", hint="its policy is `streamed`")
        return self._blob

    def _close(self) -> None:
        """The descriptor is closed with this object, since a client may begin to read after the last byte has come."""


class PassedReading:
    """The hold of one client on a file. A client that reads nothing, as after a HEAD request, drops it."""

    def __init__(self, passed: PassedFile) -> None:
        self._passed = passed

    @property
    def size(self) -> int | None:
        return self._passed.size

    async def headers(self) -> None:
        await self._passed.headers()

    async def read(self, span: Span | None = None) -> AsyncIterator[bytes]:
        async for data in self._passed.read(span):  # ends with this one, which alone refers to it
            yield data

    async def verified(self) -> int:
        return await self._passed.verified()

    async def finished(self) -> Blob:
        return await self._passed.finished()


class PassedCopy:
    """The spool of a file that is not kept, and for which no other file has to make room."""

    def __init__(self, copies: BlobStore) -> None:
        self.copies = copies

    def expect(self, size: int, sha256: str) -> None:
        """Nothing is reserved."""

    async def keep(self, spool: Spool) -> Blob:
        """Tell what has come. The end of the spool removes it."""
        return Blob(Sha256(spool.hexdigest()), spool.size)


@asynccontextmanager
async def passing(cache: FileCache) -> AsyncIterator[PassedCopy]:
    """Begin the arrival of a file that is not kept, as `FileCache.arriving` begins that of others."""
    yield PassedCopy(await cache.copies())


if TYPE_CHECKING:
    _: type[ColdFile] = PassedReading
    _copy: type[FilePlace] = PassedCopy
