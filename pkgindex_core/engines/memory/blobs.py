"""Blobs in memory: the reference implementation of the protocol, for tests and for embedding.

Nothing survives the process. No method awaits anything, so no two calls overlap. A spool has a file only after its `path` was asked for.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Self

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Hasher, Sha256, sha256_of
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span
from pkgindex_core.storage_failures import storage_failure

_CHUNK = 256 << 10


async def open_memory(url: str, context: Context) -> MemoryBlobs:  # noqa: ARG001 - a `make` hook; every URL names a new, empty store
    return MemoryBlobs(clock=context.clock, spools=context.data / "memory-staging")


class MemoryBlobs:
    """A `BlobStore` over a dictionary. `spools` is a directory for the files of spools, made for the first one."""

    def __init__(self, *, clock: Clock, spools: Path) -> None:
        self.blobs: dict[Sha256, tuple[bytes, float]] = {}
        """The bytes and the time of storing. Tests may change it."""
        self._clock = clock
        self._spools = spools
        self._owner = ""
        self.damaged: dict[Sha256, bytes] = {}
        """The bytes that `set_aside` moved away."""

    def spool(self, *algorithms: str) -> MemorySpool:
        return MemorySpool(self, self._spools / f"{secrets.token_hex(16)}.part", algorithms)

    async def put(self, data: bytes) -> Blob:
        async with self.spool() as spool:
            await spool.write(data)
            return await spool.keep()

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        if key not in self.blobs:
            raise Missing("blob", key)
        data, _ = self.blobs[key]
        start, stop = (span.start, span.stop) if span else (0, len(data))
        if stop > len(data):
            raise Corrupt(f"blob {key} has {len(data)} bytes, at least {stop} were expected", hint="send it again")
        for offset in range(start, stop, _CHUNK):
            yield data[offset : min(offset + _CHUNK, stop)]

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:  # noqa: ARG002 - a look costs nothing
        if key not in self.blobs:
            return None
        data, modified = self.blobs[key]
        return Blob(key, len(data), modified)

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300, may_redirect: bool = False) -> None:
        """None: memory has neither a path nor a URL."""

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        if modified is not None and key in self.blobs and self.blobs[key][1] != modified:
            return False
        return self.blobs.pop(key, None) is not None

    async def set_aside(self, key: Sha256) -> bool:
        if key not in self.blobs or sha256_of(self.blobs[key][0]) == key:
            return False
        self.damaged[key] = self.blobs.pop(key)[0]
        return True

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        for key in list(self.blobs):
            blob = await self.stat(key) if key.startswith(prefix) else None
            if blob is not None:
                yield blob

    async def owner(self) -> str:
        return self._owner

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        if instead or not self._owner:
            self._owner = identity
        return self._owner

    async def sweep(self, *, older_than: float) -> int:
        """Remove files of spools that a killed process left behind."""
        return _sweep(self._spools, self._clock.now() / 1_000_000 - older_than)

    async def close(self) -> None:
        """Does nothing."""

    def _keep(self, data: bytes, key: Sha256) -> Blob:
        blob = Blob(key, len(data), self._clock.now() / 1_000_000)
        self.blobs[key] = (data, blob.modified)
        return blob


class MemorySpool:
    """A `Spool` over a byte array, which is copied to a file if `path` is asked for."""

    def __init__(self, store: MemoryBlobs, path: Path, algorithms: tuple[str, ...]) -> None:
        self._store = store
        self._path = path
        self._hasher = Hasher(*algorithms)
        self._data = bytearray()
        self._shown: int | None = None  # bytes in the file; None: no file
        self._done = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done = True
        if self._shown is not None:
            with suppress(OSError):  # `sweep` removes it later
                self._path.unlink()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._require_open()
        self._data += data
        self._hasher.update(memoryview(data).cast("B"))

    async def flush(self) -> None:
        self.flushed()

    def flushed(self) -> Path:
        self._require_open()
        self._show(len(self._data))
        return self._path

    def opened(self) -> BinaryIO:
        self._require_open()
        return io.BytesIO(bytes(self._data))

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def path(self) -> Path:
        if self._shown is None:
            self._require_open()
            self._show(0)
        return self._path

    def hexdigest(self, algorithm: str = "sha256") -> str:
        return self._hasher.hexdigest(algorithm)

    async def keep(self) -> Blob:
        self._require_open()
        self._done = True
        return self._store._keep(bytes(self._data), self._hasher.sha256)

    def _require_open(self) -> None:
        if self._done:
            raise RuntimeError("a spool is written and kept inside its context, and kept once")

    def _show(self, size: int) -> None:
        try:
            if self._shown is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | (os.O_EXCL if self._shown is None else 0)
            with os.fdopen(os.open(self._path, flags, 0o600), "wb") as file:
                file.write(self._data[self._shown or 0 : size])
        except OSError as error:
            raise storage_failure(error, "writing new bytes") from error
        self._shown = size


def _sweep(spools: Path, horizon: float) -> int:
    removed = 0
    for path in spools.glob("*.part"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime <= horizon:
                path.unlink()
                removed += 1
    return removed


if TYPE_CHECKING:
    _: type[BlobStore] = MemoryBlobs
