"""A blob store: one flat directory with a file for each blob, named by its sha256.

    {directory}/{sha256}          a blob; whole, because it was renamed into its place
    {directory}/damaged/          what had a blob's name and other bytes than its own
    {directory}/owner             the identity of the index that the blobs belong to
    {directory}/staging/{random}  bytes on their way

URL: `outsider:///absolute/directory`. Everything that touches the disk runs in the engine's worker threads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from pkgindex_core.digests import Hasher, Sha256, parse_sha256, sha256_of
from pkgindex_core.errors import Corrupt, Missing, Refused, StorageFull, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, Span, Spool

T = TypeVar("T")
_CHUNK = 256 * 1024


async def open_flat(url: str, context: Context) -> FlatBlobs:
    path = unquote(urlsplit(url).path)
    if not path.startswith("/"):
        raise Refused("an outsider store needs an absolute directory", hint="write outsider:///srv/blobs")
    store = FlatBlobs(Path(path), context)
    await store.in_worker(lambda: store.spools.mkdir(mode=0o700, parents=True, exist_ok=True))
    return store


class FlatBlobs:
    def __init__(self, directory: Path, context: Context) -> None:
        self.directory = directory
        self.spools = directory / "staging"
        self._context = context

    @asynccontextmanager
    async def spool(self, *algorithms: str) -> AsyncIterator[FlatSpool]:
        spool = FlatSpool(self, self.spools / secrets.token_hex(16), algorithms)
        try:
            await self.in_worker(spool.open)
            yield spool
        finally:
            await self.in_worker(spool.discard)

    async def put(self, data: bytes) -> Blob:
        async with self.spool() as spool:
            await spool.write(data)
            return await spool.keep()

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        blob, path = await self.stat(key), self._path(key)
        if blob is None or path is None:
            raise Missing("blob", key)
        position, stop = (span.start, span.stop) if span else (0, blob.size)
        while position < stop:
            chunk = await self.in_worker(partial(_piece, path, position, min(_CHUNK, stop - position)))
            if not chunk:
                raise Corrupt(f"blob {key} ends at {position} of {stop} bytes")
            yield chunk
            position += len(chunk)

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:
        path = self._path(key)
        try:
            return await self.in_worker(lambda: _blob(path)) if path else None
        except Missing:
            return None

    async def locate(
        self, key: Sha256, *, filename: str, expires: int = 300, may_redirect: bool = False
    ) -> Path | None:
        return self._path(key) if await self.stat(key) else None

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        path = self._path(key)
        if path is None:
            return False

        def unlink() -> bool:
            if modified not in {None, path.stat().st_mtime}:
                return False
            path.unlink()
            _sync_directory(self.directory)
            return True

        try:
            return await self.in_worker(unlink)
        except Missing:
            return False

    async def set_aside(self, key: Sha256) -> bool:
        path = self._path(key)
        if path is None:
            return False

        def move() -> bool:
            data = path.read_bytes()
            if sha256_of(data) == key:
                return False
            (self.directory / "damaged").mkdir(mode=0o700, exist_ok=True)
            path.rename(self.directory / "damaged" / f"{key}.{secrets.token_hex(4)}")
            _sync_directory(self.directory / "damaged")
            _sync_directory(self.directory)
            return True

        try:
            return await self.in_worker(move)
        except Missing:
            return False

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        for path in await self.in_worker(lambda: [*self.directory.glob(f"{prefix}*")]):
            key = parse_sha256(path.name)
            blob = await self.stat(key) if key else None
            if blob is not None:
                yield blob

    async def owner(self) -> str:
        try:
            return await self.in_worker((self.directory / "owner").read_text)
        except Missing:
            return ""

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        def write() -> None:
            draft = self.spools / secrets.token_hex(16)
            with draft.open("x") as stream:
                stream.write(identity)
                stream.flush()
                os.fsync(stream.fileno())
            if instead:
                draft.replace(self.directory / "owner")
            else:
                with suppress(FileExistsError):
                    (self.directory / "owner").hardlink_to(draft)
                draft.unlink()
            _sync_directory(self.directory)

        await self.in_worker(write)
        return await self.owner()

    async def sweep(self, *, older_than: float) -> int:
        oldest = self._context.clock.now() / 1_000_000 - older_than

        def remove() -> int:
            count = 0
            for path in self.spools.iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime <= oldest:
                        path.unlink()
                        count += 1
            return count

        return await self.in_worker(remove)

    async def close(self) -> None:
        """Nothing is held open."""

    async def in_worker(self, function: Callable[[], T]) -> T:
        """Run blocking work in a thread and see it through: whoever is cancelled meanwhile waits for its end."""
        future = asyncio.get_running_loop().run_in_executor(self._context.workers, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait({future})
            future.exception()
            raise
        except FileNotFoundError as error:
            raise Missing("file", str(error.filename)) from error
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise (StorageFull if full else Unavailable)(f"the outsider store failed: {error.strerror}") from error

    def _path(self, key: Sha256) -> Path | None:
        return self.directory / key if parse_sha256(key) == key else None


class FlatSpool:
    def __init__(self, store: FlatBlobs, path: Path, algorithms: tuple[str, ...]) -> None:
        self._store = store
        self._path = path
        self._hasher = Hasher(*algorithms)
        self._file: int | None = None

    def open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        file = self._opened()
        copy = memoryview(bytes(data))

        def append() -> None:
            rest = copy
            while rest:
                rest = rest[os.write(file, rest) :]
            self._hasher.update(copy)

        await self._store.in_worker(append)

    async def flush(self) -> None:
        """Nothing is buffered."""

    def flushed(self) -> Path:
        return self._path

    def opened(self) -> BinaryIO:
        return self._path.open("rb")

    @property
    def size(self) -> int:
        return self._hasher.size

    @property
    def path(self) -> Path:
        return self._path

    def hexdigest(self, algorithm: str = "sha256") -> str:
        return self._hasher.hexdigest(algorithm)

    async def keep(self) -> Blob:
        file = self._opened()
        self._file = None

        def rename() -> Blob:
            target = self._store.directory / self._hasher.sha256
            try:
                os.fsync(file)
            finally:
                os.close(file)
            os.utime(self._path)  # kept now, however long the writing took
            self._path.replace(target)
            _sync_directory(self._store.directory)
            return _blob(target)

        return await self._store.in_worker(rename)

    def discard(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._path.unlink(missing_ok=True)

    def _opened(self) -> int:
        if self._file is None:
            raise RuntimeError("the spool is closed")
        return self._file


def _blob(path: Path) -> Blob:
    status = path.stat()
    return Blob(Sha256(path.name), status.st_size, status.st_mtime)


def _piece(path: Path, start: int, size: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        return os.pread(file.fileno(), size, start)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


if TYPE_CHECKING:
    _store: type[BlobStore] = FlatBlobs
    _spool: type[Spool] = FlatSpool
