"""The fsspec engine on real object stores passes the contract suite."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Collection, Coroutine, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

import gcsfs.core
import pytest
import s3fs
from fsspec import get_filesystem_class
from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.fsspec.opening import open_fsspec
from pkgindex_core.engines.fsspec.connecting import _session
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import BlobStore
from pkgindex_core.testing.blob_store import UNKNOWN, BlobStoreContract
from tests.contracts.test_blob_stores import _abandon, _names
from tests.object_stores import ObjectStore, azurite, fake_gcs_server, seaweedfs

T = TypeVar("T")


Running = tuple[ObjectStore, "BackDoor"]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from _running(seaweedfs, tmp_path_factory.mktemp("s3") / "store")


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from _running(fake_gcs_server, tmp_path_factory.mktemp("gcs") / "store")


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from _running(azurite, tmp_path_factory.mktemp("azure") / "store")


def _running(start: Callable[[Path], ObjectStore | None], place: Path) -> Iterator[Running]:
    store = start(place)
    if store is None:
        pytest.skip(f"{start.__name__} is not installed, and cannot be (azurite needs npm, node and the azure extra)")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment.items():
            patch.setenv(name, value)
        back_door = BackDoor(store)
        try:
            yield store, back_door
        finally:
            back_door.close()
            store.kill()


class OnAnObjectStore(BlobStoreContract):
    """What both have in common: the back door is a file system of the same library, in a thread of its own."""

    __test__ = False
    drops_exactly_once = False
    ages_blobs = False
    keeps_connections = True
    server: ObjectStore
    back_door: BackDoor
    prefix: str

    async def open_store(self, context: Context) -> BlobStore:
        options = {
            "storage_options": tomllib.loads(f"x = {self.server.options}")["x"],
            "public_endpoint": self.server.endpoint,
        }
        return await open_fsspec(f"{self.server.url}/{self.prefix}", replace(context, settings=options))

    def peek(self, key: Sha256) -> bytes | None:
        async def read(files: Any) -> bytes | None:
            try:
                return bytes(await files._cat_file(self._path(key)))
            except FileNotFoundError:
                return None

        return self._aside(read)

    def poke(self, key: Sha256, data: bytes) -> None:
        self._aside(lambda files: files._pipe_file(self._path(key), data))

    def leftovers(self) -> Collection[str]:
        return _names(self.context.data / "spool")

    def abandon(self, seconds: float) -> None:
        _abandon(self.context.data / "spool", seconds)

    def _path(self, key: Sha256) -> str:
        return f"{self.server.url.partition('://')[2]}/{self.prefix}/sha256/{key[:2]}/{key}"

    def _aside(self, do: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        return self.back_door.use(do)


class BackDoor:
    """The medium without the store: a file system of its own, in the loop of another thread."""

    def __init__(self, server: ObjectStore) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._files, self._session = self._run(self._connect(server))

    def use(self, do: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
        return self._run(do(self._files))

    def close(self) -> None:
        self._run(self._session.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connect(self, server: ObjectStore) -> tuple[Any, Any]:
        scheme = server.url.partition(":")[0]
        kind = {"s3": s3fs.S3FileSystem, "gs": gcsfs.core.GCSFileSystem}.get(scheme) or get_filesystem_class(scheme)
        options = tomllib.loads(f"x = {server.options}")["x"]
        files = kind(asynchronous=True, skip_instance_cache=True, use_listings_cache=False, **options)
        return files, await _session(files)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)


class TestSeaweedFS(OnAnObjectStore):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, s3: Running) -> None:
        self.server, self.back_door = s3
        self.prefix = uuid4().hex

    async def test_sweep_aborts_uploads_in_parts_that_were_abandoned(self, store: BlobStore) -> None:
        """s3fs leaves one behind when a put is cancelled, and so does a process that is killed."""
        bucket, path = self.server.url.partition("://")[2], self._path(UNKNOWN).partition("/")[2]
        self._aside(lambda files: files._call_s3("create_multipart_upload", Bucket=bucket, Key=path))
        self._aside(lambda files: files._call_s3("create_multipart_upload", Bucket=bucket, Key=f"other-{path}"))
        assert await store.sweep(older_than=3600) == 0
        assert await store.sweep(older_than=-10) == 1
        listed = self._aside(lambda files: files._call_s3("list_multipart_uploads", Bucket=bucket))
        keys = [upload["Key"] for upload in listed.get("Uploads", [])]
        assert path not in keys
        assert f"other-{path}" in keys, "what is not below the store's root is not its own"


# gcsfs hands the parts of an upload over as bytes, which aiohttp remarks on.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestFakeGcsServer(OnAnObjectStore):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, gcs: Running) -> None:
        self.server, self.back_door = gcs
        self.prefix = uuid4().hex


# So does the client library of Azure.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestAzurite(OnAnObjectStore):
    __test__ = True

    @pytest.fixture(autouse=True)
    def _server(self, azure: Running) -> None:
        self.server, self.back_door = azure
        self.prefix = uuid4().hex
