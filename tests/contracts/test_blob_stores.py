"""Every blob store passes the contract suite; the asynchronous half of the fsspec engine over a file system of this test."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import time
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.behind import BlobsBehind
from pkgindex_core.engines.fsspec.opening import open_fsspec
from pkgindex_core.engines.local.blobs import open_local
from pkgindex_core.engines.memory.blobs import MemoryBlobs, open_memory
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.testing.blob_store import BlobStoreContract
from pkgindex_core.testing.learning import LearningBlobsContract


class TestLocalBlobs(BlobStoreContract):
    locates = "path"

    async def open_store(self, context: Context) -> BlobStore:
        return await open_local((self.data / "the blobs").as_uri(), context)

    def peek(self, key: Sha256) -> bytes | None:
        path = self._path(key)
        return path.read_bytes() if path.exists() else None

    def poke(self, key: Sha256, data: bytes) -> None:
        self._path(key).write_bytes(data)

    def age(self, key: Sha256, seconds: float) -> None:
        os.utime(self._path(key), (time.time() - seconds,) * 2)

    def leftovers(self) -> Collection[str]:
        return _names(self.data / "the blobs/staging")

    def abandon(self, seconds: float) -> None:
        _abandon(self.data / "the blobs/staging", seconds)

    def _path(self, key: Sha256) -> Path:
        return self.data / "the blobs/sha256" / key[:2] / key


class TestMemoryBlobs(BlobStoreContract):
    survives_reopening = False

    async def open_store(self, context: Context) -> BlobStore:
        self.memory: MemoryBlobs = await open_memory("memory://", context)
        return self.memory

    def peek(self, key: Sha256) -> bytes | None:
        return self.memory.blobs[key][0] if key in self.memory.blobs else None

    def poke(self, key: Sha256, data: bytes) -> None:
        self.memory.blobs[key] = (data, self.memory.blobs[key][1])

    def age(self, key: Sha256, seconds: float) -> None:
        self.memory.blobs[key] = (self.memory.blobs[key][0], time.time() - seconds)

    def leftovers(self) -> Collection[str]:
        return _names(self.context.data / "memory-staging")

    def abandon(self, seconds: float) -> None:
        (self.context.data / "memory-staging").mkdir(exist_ok=True)
        _abandon(self.context.data / "memory-staging", seconds)


class TestLocalBlobsBehind(TestLocalBlobs):
    async def open_store(self, context: Context) -> BlobStore:
        return BlobsBehind(await super().open_store(context), clock=context.clock)


class TestMemoryBlobsBehind(TestMemoryBlobs):
    async def open_store(self, context: Context) -> BlobStore:
        return BlobsBehind(await super().open_store(context), clock=context.clock)


class TestBlobsAmongCopies(TestLocalBlobs):
    """Own blobs, with an empty store of copies beside."""

    async def open_store(self, context: Context) -> BlobStore:
        async def open_copies() -> BlobStore:
            return await open_local(f"{self.data / 'the blobs' / 'mirrored'}", context)

        return BlobsBehind(await super().open_store(context), clock=context.clock, open_copies=open_copies)


class TestLearnedBlobs(LearningBlobsContract):
    async def open_store(self, context: Context) -> LearningBlobs:
        self.memory = MemoryBlobs(clock=context.clock, spools=context.data / "staging")
        return BlobsBehind(self.memory, clock=context.clock, linger=60.0)

    def within(self) -> BlobStore:
        return self.memory

    async def failing(self, error: Unavailable | None) -> None:
        if error is None:
            del self.memory.put
            return

        async def put(data: bytes) -> Blob:
            raise error

        self.memory.put = put  # type: ignore[method-assign]  # a disk that is full


class TestFsspecBlobsInWorkers(BlobStoreContract):
    """`memory://`: writes that can be seen half done, so everything goes by way of `staging/` and a move."""

    async def open_store(self, context: Context) -> BlobStore:
        return await open_fsspec(f"memory:/{self.data}", context)

    def peek(self, key: Sha256) -> bytes | None:
        path = f"{self.data}/sha256/{key[:2]}/{key}"
        return MemoryFileSystem.store[path].getvalue() if path in MemoryFileSystem.store else None

    def poke(self, key: Sha256, data: bytes) -> None:
        MemoryFileSystem().pipe_file(f"{self.data}/sha256/{key[:2]}/{key}", data)

    def age(self, key: Sha256, seconds: float) -> None:
        file = MemoryFileSystem.store[f"{self.data}/sha256/{key[:2]}/{key}"]
        file.created = file.modified = datetime.now(UTC) - timedelta(seconds=seconds)

    def leftovers(self) -> Collection[str]:
        spooled = [path for path in MemoryFileSystem.store if path.startswith(f"{self.data}/staging/")]
        return [*spooled, *_names(self.context.data / "spool")]

    def abandon(self, seconds: float) -> None:
        name = f"{int(time.time() - seconds)}-{secrets.token_hex(16)}.part"
        MemoryFileSystem().pipe_file(f"{self.data}/staging/{name}", b"half a wh")

    @pytest.fixture(autouse=True)
    def _forget(self, tmp_path: Path) -> Iterator[None]:
        yield
        for path in [path for path in MemoryFileSystem.store if path.startswith(str(tmp_path))]:
            del MemoryFileSystem.store[path]
        MemoryFileSystem.pseudo_dirs[:] = [
            path for path in MemoryFileSystem.pseudo_dirs if not path.startswith(str(tmp_path))
        ]


class ObjectFiles(AsyncFileSystem):  # type: ignore[misc]  # fsspec ships no type information
    """An object store as fsspec shows one: coroutines only, whole objects, no directories, no moves."""

    protocol = "objects"
    async_impl = True
    buckets: ClassVar[dict[str, tuple[bytes, datetime]]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        assert self.asynchronous
        assert not options.get("use_listings_cache", True)
        self.closed = False

    async def set_session(self) -> ObjectFiles:
        return self

    async def close(self) -> None:
        self.closed = True

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        await self._network()
        if path not in self.buckets:
            raise FileNotFoundError(errno.ENOENT, path)
        data, modified = self.buckets[path]
        return {"name": path, "size": len(data), "type": "file", "LastModified": modified}

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        await self._network()
        if path not in self.buckets:
            raise FileNotFoundError(errno.ENOENT, path)
        return self.buckets[path][0][start:end]

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        assert isinstance(value, bytes)
        await self._network()
        self.buckets[path] = (value, datetime.now(UTC))

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **_: Any) -> None:
        data = Path(lpath).read_bytes()
        await self._network()
        self.buckets[rpath] = (data, datetime.now(UTC))

    async def _rm_file(self, path: str, **_: Any) -> None:
        await self._network()
        self.buckets.pop(path, None)  # object stores do not say whether it was there

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[dict[str, Any]]:
        assert detail
        await self._network()
        below = [name[len(path) + 1 :] for name in self.buckets if name.startswith(path + "/")]
        if not below:
            raise FileNotFoundError(errno.ENOENT, path)
        prefixes = {name.partition("/")[0] for name in below if "/" in name}
        listed = [{"name": f"{path}/{prefix}", "size": 0, "type": "directory"} for prefix in prefixes]
        return listed + [await self._info(f"{path}/{name}") for name in below if "/" not in name]

    async def _network(self) -> None:
        assert not self.closed
        await asyncio.sleep(0)


class TestFsspecBlobsAwaited(BlobStoreContract):
    """An object store: coroutines are awaited, objects appear whole."""

    drops_exactly_once = False

    async def open_store(self, context: Context) -> BlobStore:
        register_implementation("objects", ObjectFiles, clobber=True)
        return await open_fsspec(f"objects://bucket{self.data}", context)

    def peek(self, key: Sha256) -> bytes | None:
        return ObjectFiles.buckets.get(self._path(key), (None,))[0]

    def poke(self, key: Sha256, data: bytes) -> None:
        ObjectFiles.buckets[self._path(key)] = (data, datetime.now(UTC))

    def age(self, key: Sha256, seconds: float) -> None:
        data, _ = ObjectFiles.buckets[self._path(key)]
        ObjectFiles.buckets[self._path(key)] = (data, datetime.now(UTC) - timedelta(seconds=seconds))

    def leftovers(self) -> Collection[str]:
        spooled = [path for path in ObjectFiles.buckets if "/staging/" in path]
        return [*spooled, *_names(self.context.data / "spool")]

    def abandon(self, seconds: float) -> None:
        _abandon(self.context.data / "spool", seconds)

    def _path(self, key: Sha256) -> str:
        return f"bucket{self.data}/sha256/{key[:2]}/{key}"

    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        yield
        ObjectFiles.buckets.clear()


def _abandon(directory: Path, seconds: float) -> None:
    path = directory / f"{secrets.token_hex(16)}.part"
    path.write_bytes(b"half a wh")
    os.utime(path, (time.time() - seconds,) * 2)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()] if directory.exists() else []
