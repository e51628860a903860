"""Where the bytes of one file go while a sync fetches it: into the store of mirrored files, as when a client requests it first.

Metadata files are kept in memory, and become blobs of the store itself, where the read-through has them too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from pkgindex_core.digests import HEX_LENGTHS, sha256_of
from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import File
from pkgindex_core.protocols import Blob, BlobStore, Spool
from pkgindex_core.storage_failures import storage_failure
from pkgindex_mirror.caching.file_cache import ArrivingCopy, FileCache
from pkgindex_mirror.syncing.file_fetching import SIDECAR
from pkgindex_mirror.syncing.targets import FileSink

_HASHED_AHEAD: Final = 1024 * 1024

Kept = Callable[[File, Blob], None]
"""Called with a file that is stored now."""


@asynccontextmanager
async def opened_sink(file: File, cache: FileCache, blobs: BlobStore, kept: Kept) -> AsyncIterator[FileSink]:
    """Open a sink for a file. The end of the context discards what was not kept."""
    if file.filename.endswith(SIDECAR):
        yield _SidecarSink(file, blobs)
        return
    async with cache.arriving() as copy:
        sink = _CopySink(file, copy, kept)
        try:
            with _told():
                await sink.restart()
            yield sink
        finally:
            await sink.close()


class _SidecarSink:
    """The caller bounds its size."""

    def __init__(self, file: File, blobs: BlobStore) -> None:
        self._file = file
        self._blobs = blobs
        self._data = bytearray()

    @property
    def offset(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        self._data += data

    async def restart(self) -> None:
        self._data.clear()

    async def keep(self) -> None:
        data = bytes(self._data)
        if sha256_of(data) != self._file.sha256:
            raise _wrong(self._file, "sha256")
        with _told():
            await self._blobs.put(data)


class _CopySink:
    def __init__(self, file: File, copy: ArrivingCopy, kept: Kept) -> None:
        self._file = file
        self._copy = copy
        self._kept = kept
        self._digests = {name: value for name, value in file.digests.items() if name in HEX_LENGTHS}
        self._stack = AsyncExitStack()
        self._spool: Spool | None = None

    @property
    def offset(self) -> int:
        return self._open.size

    @property
    def _open(self) -> Spool:
        assert self._spool is not None
        return self._spool

    async def write(self, data: bytes) -> None:
        with _told():
            await self._open.write(data)

    async def restart(self) -> None:
        with _told():
            await self._stack.aclose()
            self._spool = await self._stack.enter_async_context(self._copy.copies.spool(*self._digests))
        if self._file.size is not None:
            self._copy.expect(self._file.size, self._digests.get("sha256", ""))

    async def keep(self) -> None:
        spool, file = self._open, self._file
        if file.size not in {None, spool.size}:
            raise _wrong(file, "size")
        with _told():
            if spool.size > _HASHED_AHEAD:
                await spool.flush()  # hashes the remaining bytes in a worker
            wrong = [name for name, value in self._digests.items() if spool.hexdigest(name) != value]
            if wrong:
                raise _wrong(file, ", ".join(wrong))
            blob = await self._copy.keep(spool)
        self._kept(file, blob)

    async def close(self) -> None:
        with _told():
            await self._stack.aclose()


def _wrong(file: File, what: str) -> BadUpstream:
    return BadUpstream(
        f"the bytes of {file.filename} do not match the {what} of its page",
        hint="the file was not kept; report it to the operator of the upstream",
    )


@contextmanager
def _told() -> Iterator[None]:
    """Tell failures of the disk in the words of the library."""
    try:
        yield
    except OSError as error:
        raise storage_failure(error, "while a mirrored file was stored", place="the store of mirrored files") from error
