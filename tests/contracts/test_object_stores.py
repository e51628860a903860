"""The fsspec engine on real object stores passes the contract suite."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import gcsfs.core
import pytest
import pytest_asyncio
import s3fs
from fsspec import get_filesystem_class
from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.fsspec import media
from pkgindex_core.engines.fsspec.blobs import FsspecBlobs
from pkgindex_core.engines.fsspec.connecting import _session
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.engines.fsspec.opening import open_fsspec
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import BlobStore, SignedUrl
from pkgindex_core.testing.blob_store import MIB, UNKNOWN, BlobStoreContract, collect, keys_of, some_bytes
from tests.contracts.test_blob_stores import _abandon, _names
from tests.cutting import Cutting
from tests.object_stores import BUCKET, ObjectStore, azurite, fake_gcs_server, reachable, seaweedfs

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
    missing = f"{start.__name__} is not installed, and cannot be (azurite needs npm, node and the azure extra)"
    with reachable(start(place), missing) as store:
        back_door = BackDoor(store)
        try:
            yield store, back_door
        finally:
            back_door.close()


class OnAnObjectStore(BlobStoreContract):
    """What both have in common: the back door is a file system of the same library, in a thread of its own."""

    __test__ = False
    drops_exactly_once = False
    ages_blobs = False
    keeps_connections = True
    answered_last: ClassVar[tuple[int, ...]] = (100, 20 * MIB)
    """Sizes of uploads whose last answer passes the proxy of a test."""
    server: ObjectStore
    back_door: BackDoor
    prefix: str

    @pytest.fixture(autouse=True)
    def _patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The servers share two cores with hundreds of other programs. `test_fsspec_blobs` tests the limit."""
        monkeypatch.setattr(media, "ANSWER_SECONDS", 60.0)

    async def open_store(self, context: Context) -> BlobStore:
        return await self._opened(context, self.server)

    async def _opened(self, context: Context, server: ObjectStore) -> BlobStore:
        options = {
            "storage_options": tomllib.loads(f"x = {server.options}")["x"],
            "public_endpoint": server.endpoint,
        }
        return await open_fsspec(f"{server.url}/{self.prefix}", replace(context, settings=options))

    async def test_a_name_is_given_once(self, store: BlobStore) -> None:
        """Each store has a trap here: EINVAL for a taken name, exclusive files that replace when nothing is written, uploads that resume."""
        medium = self._medium_of(store)
        path = f"{self._base()}/names/one"
        for first in (b"first", b""):
            name = f"{path}-{len(first)}"
            assert await medium.create(name, first) is True
            for other in (b"other", b"" if first else b"x"):
                assert await medium.create(name, other) is False
            assert await medium.call("cat_file", name) == first
            assert await medium.create(name, first) is True, "the answer to an earlier attempt may have been lost"
        won = await asyncio.gather(*(medium.create(f"{path}-raced", b"writer %d" % number) for number in range(8)))
        assert sum(won) == 1
        assert await medium.call("cat_file", f"{path}-raced") == b"writer %d" % won.index(True)

    async def test_what_others_write_is_seen_at_once(self, store: BlobStore) -> None:
        """Listing caches: a size from an earlier listing cuts off an object that another client replaced, or pads it."""
        data = some_bytes(3 * MIB)
        blob = await store.put(data)
        assert await keys_of(store) == {blob.sha256}
        for length in (6 * MIB, 1 * MIB, 0):
            self.poke(blob.sha256, some_bytes(length, seed=length))
            found = await store.stat(blob.sha256)
            assert found is not None
            assert found.size == length
            assert await collect(store.read(blob.sha256)) == some_bytes(length, seed=length)
        beside = Sha256(f"{blob.sha256[:2]}{'0' * 62}")
        self.poke(beside, b"new in a folder that was listed")
        assert await store.stat(beside) is not None
        assert await keys_of(store) == {blob.sha256, beside}
        assert await collect(store.read(beside)) == b"new in a folder that was listed"

    async def test_a_lost_answer_is_harmless(self, through: Cutting) -> None:
        """The store has done it, and the connection ends before it says so."""
        store = await self._opened(self.context, self.server.reached_through(through.port))
        for lost, size in enumerate(self.answered_last, start=1):
            data = some_bytes(size)
            through.cut_answer_after = partial(self._ends, data)
            blob = await store.put(data)
            assert through.cut == lost
            # In a thread: the proxy needs this loop.
            assert await asyncio.to_thread(self.peek, blob.sha256) == data
        await store.close()
        assert self.leftovers() == []

    @pytest_asyncio.fixture
    async def through(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cutting]:
        """A proxy before the store, with the variables by which the client libraries find it."""
        async with Cutting(urlsplit(self.server.endpoint).port or 0) as proxy:
            for name, value in self.server.reached_through(proxy.port).environment.items():
                monkeypatch.setenv(name, value)
            yield proxy

    @pytest.mark.parametrize("size", [0, 100])
    async def test_a_signed_url_gives_the_bytes(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        blob = await store.put(data)
        place = await store.locate(blob.sha256, filename="demo-1.0.tar.gz", may_redirect=True)
        if self.locates is None:
            assert place is None, "there is no key to sign with"
            return
        assert isinstance(place, SignedUrl)
        async with aiohttp.ClientSession() as client, client.get(place.url) as answer:
            assert (answer.status, await answer.read()) == (200, data)
            assert answer.headers["Content-Type"] == "application/octet-stream"
            assert answer.headers["Content-Disposition"] == 'attachment; filename="demo-1.0.tar.gz"'
        async with aiohttp.ClientSession() as client, client.get(f"{place.url}x") as answer:
            assert answer.status == 403

    def _ends(self, data: bytes, sent: bytes) -> bool:
        """Whether the last request of an upload has just been sent."""
        return data[-64:] in sent

    @staticmethod
    def _medium_of(store: BlobStore) -> Medium:
        assert isinstance(store, FsspecBlobs)
        return store._medium

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
        return f"{self._base()}/sha256/{key[:2]}/{key}"

    def _base(self) -> str:
        return f"{self.server.url.partition('://')[2]}/{self.prefix}"

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
    locates = "url"

    @pytest.fixture(autouse=True)
    def _server(self, s3: Running) -> None:
        self.server, self.back_door = s3
        self.prefix = uuid4().hex

    def _ends(self, data: bytes, sent: bytes) -> bool:
        return b"<CompleteMultipartUpload" in sent or (len(data) < MIB and data[-64:] in sent)

    @pytest.mark.parametrize("turns", [1, 3])
    async def test_a_cancelled_upload_leaves_no_parts(self, through: Cutting, turns: int) -> None:
        """s3fs aborts an upload that fails, and leaves one that is cancelled."""
        store = await self._opened(self.context, self.server.reached_through(through.port))
        seen, parts = asyncio.Event(), 0

        def watch(sent: bytes) -> bool:
            nonlocal parts
            parts += b"partNumber=" in sent
            if parts == turns:
                seen.set()
            return False

        through.cut_answer_after = watch
        putting = asyncio.ensure_future(store.put(some_bytes(40 * MIB)))
        await seen.wait()
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        assert self._uploads() == []
        assert await keys_of(store) == set()
        await store.close()

    def _uploads(self) -> list[str]:
        """The keys of uploads in parts that are neither complete nor aborted."""
        listed = self._aside(lambda files: files._call_s3("list_multipart_uploads", Bucket=BUCKET, Prefix=self.prefix))
        return [upload["Key"] for upload in listed.get("Uploads", [])]

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
    answered_last = (100,)  # the server names itself as the place to which the parts of a large one are sent

    @pytest.fixture(autouse=True)
    def _server(self, gcs: Running) -> None:
        self.server, self.back_door = gcs
        self.prefix = uuid4().hex


# So does the client library of Azure. The first test may have to install the server.
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestAzurite(OnAnObjectStore):
    __test__ = True
    locates = "url"

    @pytest.fixture(autouse=True)
    def _server(self, azure: Running) -> None:
        self.server, self.back_door = azure
        self.prefix = uuid4().hex
