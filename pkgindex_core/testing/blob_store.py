"""The contract suite of `BlobStore`, which every blob store passes, also those of third parties.

    class TestMyBlobs(BlobStoreContract):
        async def open_store(self, context):          # a store on the medium of this test, opened or reopened
            return await open_mine("mine://" + context.data.name, context)
        def peek(self, key): ...                      # back doors: the medium without the store,
        def poke(self, key, data): ...                # so that put is never proved by get
        def age(self, key, seconds): ...
        def leftovers(self): ...
        def abandon(self, seconds): ...

An attribute declares what a medium cannot do, and the suite asserts that too instead of skipping it. Each test fails at its end
if spools left anything on the medium.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Literal

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import Blob, BlobStore, SignedUrl, Span
from pkgindex_core.testing.needed import pytest, pytest_asyncio

KIB = 1 << 10
MIB = 1 << 20
_WORKERS = 4
UNKNOWN = sha256_of(b"nobody ever stores this")
SIZES = [0, 1, 2, 4095, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]


def some_bytes(size: int, seed: int = 0) -> bytes:
    """Pseudo-random bytes, so that a piece in the wrong place is noticed."""
    return random.Random(seed).randbytes(size)


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def keys_of(store: BlobStore) -> set[Sha256]:
    return {blob.sha256 async for blob in store.walk()}


@pytest.mark.asyncio
class BlobStoreContract:
    """Subclass, name it `Test…`, and give it the medium."""

    locates: ClassVar[Literal["path", "url"] | None] = None
    """The kind of the result of `locate` for a stored blob."""
    survives_reopening: ClassVar[bool] = True
    """Whether another store on the same medium finds the blobs."""
    tells_modified: ClassVar[bool] = True
    """Whether `Blob.modified` is the time at which the bytes were stored."""
    keeps_connections: ClassVar[bool] = False
    """Whether the store keeps connections open. If so, the suite does not count open files."""
    ages_blobs: ClassVar[bool] = True
    """Whether `age` can make a blob older. Not for an object store, which sets times itself."""
    drops_exactly_once: ClassVar[bool] = True
    """Whether exactly one of several concurrent calls of `drop` for one blob returns True."""

    context: Context
    data: Path
    """The directory of this test; `context.data` is in it."""

    async def open_store(self, context: Context) -> BlobStore:
        raise NotImplementedError

    def peek(self, key: Sha256) -> bytes | None:
        """The bytes of the key on the medium; None if there are none."""
        raise NotImplementedError

    def poke(self, key: Sha256, data: bytes) -> None:
        """Replace the bytes of a stored blob."""
        raise NotImplementedError

    def age(self, key: Sha256, seconds: float) -> None:
        """Make a stored blob `seconds` old. Only called if `tells_modified` and `ages_blobs`."""
        raise NotImplementedError

    def leftovers(self) -> Collection[str]:
        """The files of spools on the medium and on the local disk."""
        raise NotImplementedError

    def abandon(self, seconds: float) -> None:
        """Make what a process leaves behind that was killed in a spool `seconds` ago."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _medium(self, tmp_path: Path) -> AsyncIterator[None]:
        self.data = tmp_path
        (tmp_path / "data").mkdir(mode=0o700)
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="worker") as workers:
            self.context = Context(data=tmp_path / "data", clock=SystemClock(), workers=workers)
            yield

    @pytest_asyncio.fixture
    async def store(self, _medium: None) -> AsyncIterator[BlobStore]:
        store = await self.open_store(self.context)
        descriptors = _open_descriptors()
        yield store
        await self._settle()
        assert not self.leftovers(), "a spool left something behind"
        assert self.keeps_connections or _open_descriptors() <= descriptors, "files were left open"
        await store.close()

    # Putting.

    @pytest.mark.parametrize("size", SIZES)
    async def test_bytes_of_any_size_come_back(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        blob = await store.put(data)
        assert (blob.sha256, blob.size) == (sha256_of(data), size)
        assert self.peek(blob.sha256) == data
        assert await collect(store.read(blob.sha256)) == data

    @pytest.mark.parametrize("piece", [1, 1000, 64 * KIB, 64 * KIB + 1, MIB, 5 * MIB])
    async def test_pieces_of_any_size_make_one_blob(self, store: BlobStore, piece: int) -> None:
        data = some_bytes(2 * MIB + 11 if piece >= 1000 else 300)
        async with store.spool() as spool:
            for start in range(0, len(data), piece):
                await spool.write(data[start : start + piece])
            blob = await spool.keep()
        assert self.peek(sha256_of(data)) == data
        assert (blob.sha256, blob.size) == (sha256_of(data), len(data))

    async def test_any_split_gives_the_same_key(self, store: BlobStore) -> None:
        chance = random.Random(7)
        data = some_bytes(150 * KIB)
        for _ in range(25):
            cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
            async with store.spool() as spool:
                for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
                    await spool.write(data[start:stop])
                    if chance.random() < 0.2:
                        await spool.flush()
                assert spool.size == len(data)
                assert spool.hexdigest() == sha256_of(data)

    async def test_bytes_bytearray_and_memoryview_are_written(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            await spool.write(b"bytes ")
            await spool.write(bytearray(b"bytearray "))
            await spool.write(memoryview(b"..memoryview..")[2:-2])
            blob = await spool.keep()
        assert self.peek(blob.sha256) == b"bytes bytearray memoryview"

    @pytest.mark.parametrize("size", [100, 2 * MIB])
    async def test_a_buffer_may_be_reused_after_a_write(self, store: BlobStore, size: int) -> None:
        buffer = bytearray(b"a" * size)
        async with store.spool() as spool:
            await spool.write(buffer)
            buffer[:] = b"b" * size
            await spool.write(buffer)
            buffer[:] = b"c" * size
            blob = await spool.keep()
        assert self.peek(blob.sha256) == b"a" * size + b"b" * size

    @pytest.mark.parametrize("size", [0, 100, MIB + 1])
    async def test_nothing_is_visible_before_keep(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        key = sha256_of(data)
        async with store.spool() as spool:
            await spool.write(data)
            await spool.flush()
            assert self.peek(key) is None
            assert await store.stat(key) is None
            assert await keys_of(store) == set()
            with pytest.raises(Missing):
                await collect(store.read(key))
            await spool.keep()
            assert self.peek(key) == data

    @pytest.mark.parametrize("size", [0, 100, MIB + 1])
    async def test_a_worker_flushes_in_its_own_thread(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        async with store.spool() as spool:
            await spool.write(data)
            path = await asyncio.to_thread(spool.flushed)
            assert path == spool.path
            assert await asyncio.to_thread(path.read_bytes) == data
            await spool.write(b"more")
            blob = await spool.keep()
        assert self.peek(blob.sha256) == data + b"more"

    @pytest.mark.parametrize("size", [0, 100, MIB + 1])
    async def test_what_was_written_can_be_opened_in_a_worker(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        async with store.spool() as spool:
            await spool.write(data)
            for _ in range(2):
                with await asyncio.to_thread(spool.opened) as opened:
                    assert await asyncio.to_thread(opened.read) == data
            await spool.write(b"more")
            with await asyncio.to_thread(spool.opened) as opened:
                assert await asyncio.to_thread(opened.read) == data + b"more"
            blob = await spool.keep()
        assert self.peek(blob.sha256) == data + b"more"

    @pytest.mark.parametrize("size", [0, 100, MIB + 1])
    async def test_leaving_without_keep_discards(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        async with store.spool() as spool:
            await spool.write(data)
            await spool.flush()
        assert self.peek(sha256_of(data)) is None
        assert not self.leftovers()

    @pytest.mark.parametrize("size", [100, MIB + 1])
    async def test_an_error_inside_discards_and_goes_on(self, store: BlobStore, size: int) -> None:
        async def fail() -> None:
            async with store.spool() as spool:
                await spool.write(some_bytes(size))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert not self.leftovers()
        assert await keys_of(store) == set()

    async def test_keep_is_called_once(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            await spool.write(b"once")
            await spool.keep()
            with pytest.raises(RuntimeError):
                await spool.keep()

    async def test_nothing_is_written_after_keep(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            blob = await spool.keep()
            with pytest.raises(RuntimeError):
                await spool.write(b"late")
        assert self.peek(blob.sha256) == b""

    async def test_nothing_is_kept_outside_the_context(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            await spool.write(b"too late")
        with pytest.raises(RuntimeError):
            await spool.keep()
        assert self.peek(sha256_of(b"too late")) is None

    @pytest.mark.parametrize("algorithm", ["sha256", "md5", "sha1", "sha512", "blake2b_256"])
    async def test_digests_that_were_asked_for_are_told_at_any_time(self, store: BlobStore, algorithm: str) -> None:
        pieces = [b"", b"small", some_bytes(MIB + 5), b"tail"]
        so_far = b""
        async with store.spool(algorithm) as spool:
            for piece in pieces:
                await spool.write(piece)
                so_far += piece
                assert spool.hexdigest(algorithm) == _reference(algorithm, so_far)
                assert spool.hexdigest() == sha256_of(so_far)
                assert spool.size == len(so_far)

    async def test_a_digest_that_was_not_asked_for_is_not_told(self, store: BlobStore) -> None:
        async with store.spool("md5") as spool:
            with pytest.raises(LookupError):
                spool.hexdigest("sha512")

    # The file of a spool.

    async def test_flushed_bytes_are_readable_through_the_path(self, store: BlobStore) -> None:
        so_far = b""
        async with store.spool() as spool:
            for piece in (b"first", some_bytes(MIB), b"third"):
                await spool.write(piece)
                await spool.flush()
                so_far += piece
                assert spool.path.read_bytes() == so_far

    async def test_a_reader_follows_the_growing_file(self, store: BlobStore) -> None:
        pieces = [some_bytes(size, seed=size) for size in (10, 70 * KIB, MIB + 3, 1)]
        async with store.spool() as spool:
            with spool.path.open("rb") as following:
                assert following.read() == b""
                for piece in pieces:
                    await spool.write(piece)
                    await spool.flush()
                    assert following.read() == piece
                blob = await spool.keep()
                following.seek(0)  # the end of the spool does not cut off a reader
                assert sha256_of(following.read()) == blob.sha256

    async def test_the_path_is_the_same_until_keep_and_its_file_private(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            path = spool.path
            await spool.write(some_bytes(2 * MIB))
            await spool.flush()
            assert spool.path == path
            assert path.stat().st_mode & 0o077 == 0

    async def test_the_path_is_gone_after_discarding(self, store: BlobStore) -> None:
        async with store.spool() as spool:
            path = spool.path
            await spool.write(b"unwanted")
        assert not path.exists()

    async def test_looking_at_the_path_changes_nothing(self, store: BlobStore) -> None:
        async with store.spool("md5") as spool:
            await spool.write(b"one ")
            assert spool.path.exists()
            await spool.write(b"two")
            assert spool.hexdigest("md5") == hashlib.md5(b"one two").hexdigest()
            blob = await spool.keep()
        assert self.peek(blob.sha256) == b"one two"

    # The same bytes again.

    @pytest.mark.parametrize("size", [0, 100, MIB + 1])
    async def test_equal_bytes_are_stored_once(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        first, second = await store.put(data), await store.put(data)
        assert (first.sha256, first.size) == (second.sha256, second.size)
        assert [blob.sha256 async for blob in store.walk()] == [first.sha256]
        assert self.peek(first.sha256) == data

    async def test_storing_again_renews_the_time(self, store: BlobStore) -> None:
        """Otherwise garbage collection could drop a blob that was just acknowledged."""
        blob = await store.put(b"old and new")
        if not self.tells_modified:
            assert blob.modified == 0
            return
        if not self.ages_blobs:
            assert abs(blob.modified - self._now()) < 60
            return
        self.age(blob.sha256, 10 * 86_400)
        old = await store.stat(blob.sha256)
        assert old is not None
        assert old.modified < self._now() - 9 * 86_400
        again = await store.put(b"old and new")
        renewed = await store.stat(blob.sha256)
        assert renewed is not None
        assert abs(renewed.modified - self._now()) < 60
        assert abs(again.modified - self._now()) < 60

    @pytest.mark.parametrize("damage", [b"", b"cut", some_bytes(MIB + 2000, seed=3)], ids=["emptied", "cut", "longer"])
    @pytest.mark.parametrize("size", [1000, MIB + 1000])
    async def test_storing_again_repairs_bytes_of_another_size(
        self, store: BlobStore, size: int, damage: bytes
    ) -> None:
        data = some_bytes(size)
        blob = await store.put(data)
        self.poke(blob.sha256, damage)
        repaired = await store.put(data)
        assert (repaired.sha256, repaired.size) == (blob.sha256, size)
        assert self.peek(blob.sha256) == data
        assert await collect(store.read(blob.sha256)) == data

    # Reading.

    async def test_an_unknown_key_is_missing_at_the_first_chunk(self, store: BlobStore) -> None:
        reading = store.read(UNKNOWN)
        with pytest.raises(Missing):
            await anext(reading)
        with pytest.raises(Missing):
            await collect(store.read(UNKNOWN, Span(0, 1)))

    async def test_any_span_is_exact(self, store: BlobStore) -> None:
        size = 600 * KIB + 5
        data = some_bytes(size)
        blob = await store.put(data)
        edges = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, size - 1, size]
        for start in edges:
            for stop in edges:
                if start < stop:
                    assert await collect(store.read(blob.sha256, Span(start, stop))) == data[start:stop]

    async def test_chunks_are_bounded(self, store: BlobStore) -> None:
        blob = await store.put(some_bytes(12 * MIB))
        sizes = [len(chunk) async for chunk in store.read(blob.sha256)]
        assert sum(sizes) == 12 * MIB
        assert min(sizes) > 0
        assert max(sizes) <= 8 * MIB

    async def test_an_empty_blob_has_no_chunks(self, store: BlobStore) -> None:
        blob = await store.put(b"")
        assert [chunk async for chunk in store.read(blob.sha256)] == []

    async def test_fewer_bytes_than_asked_for_are_corrupt(self, store: BlobStore) -> None:
        """A caller that asks for a span knows the size, and would take a short answer for a whole one."""
        blob = await store.put(some_bytes(1000))
        self.poke(blob.sha256, some_bytes(10))
        with pytest.raises(Corrupt):
            await collect(store.read(blob.sha256, Span(5, 1000)))

    async def test_a_reader_may_stop_early(self, store: BlobStore) -> None:
        data = some_bytes(6 * MIB)
        blob = await store.put(data)
        for _ in range(5):
            reading = store.read(blob.sha256)
            assert data.startswith(await anext(reading))
            await reading.aclose()  # type: ignore[attr-defined]  # every async generator has it
        assert await collect(store.read(blob.sha256)) == data

    async def test_a_cancelled_reader_harms_nobody(self, store: BlobStore) -> None:
        data = some_bytes(3 * MIB)
        blob = await store.put(data)
        for turns in range(8):
            await _cancel_after(turns, collect(store.read(blob.sha256)))
        assert await collect(store.read(blob.sha256)) == data

    async def test_many_read_one_blob_at_once(self, store: BlobStore) -> None:
        data = some_bytes(MIB)
        blob = await store.put(data)
        read = await asyncio.gather(*(collect(store.read(blob.sha256)) for _ in range(12)))
        assert all(each == data for each in read)

    # Looking.

    async def test_stat_tells_what_is_there(self, store: BlobStore) -> None:
        assert await store.stat(UNKNOWN) is None
        blob = await store.put(b"look")
        found = await store.stat(blob.sha256)
        assert found is not None
        assert (found.sha256, found.size) == (blob.sha256, 4)
        if self.tells_modified:
            assert abs(found.modified - self._now()) < 60
        else:
            assert found.modified == 0

    @pytest.mark.parametrize("filename", ["demo-1.0.tar.gz", "../../etc/passwd", 'a"b\r\nX-Evil: 1', "", "x" * 5000])
    async def test_locate_says_what_was_declared(self, store: BlobStore, filename: str) -> None:
        blob = await store.put(b"here")
        assert not isinstance(await store.locate(blob.sha256, filename=filename), SignedUrl)
        place = await store.locate(blob.sha256, filename=filename, may_redirect=True)
        match self.locates:
            case None:
                assert place is None
            case "path":
                assert isinstance(place, Path)
                assert place.is_absolute()
                assert place.read_bytes() == b"here"
            case "url":
                assert isinstance(place, SignedUrl)
                assert not set(place.url) & set('\r\n "')
                assert blob.sha256 in place.url

    async def test_locate_knows_no_unknown_key(self, store: BlobStore) -> None:
        assert await store.locate(UNKNOWN, filename="demo-1.0.tar.gz") is None
        if self.locates != "url":
            assert await store.locate(UNKNOWN, filename="demo-1.0.tar.gz", may_redirect=True) is None

    @pytest.mark.parametrize(
        "key", ["", "..", "../../../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "%2e" * 21]
    )
    async def test_what_is_no_key_names_nothing(self, store: BlobStore, key: str) -> None:
        """Callers check keys. A bad key that gets through must not lead to a file."""
        wrong = Sha256(key)
        assert await store.stat(wrong) is None
        assert await store.stat(wrong, promised=5) is None
        assert await store.locate(wrong, filename="x", may_redirect=True) is None
        assert await store.drop(wrong) is False
        with pytest.raises(Missing):
            await collect(store.read(wrong))
        with pytest.raises(Missing):
            await collect(store.read(wrong, Span(0, 1)))

    async def test_a_promise_is_believed_until_a_read_finds_otherwise(self, store: BlobStore) -> None:
        blob = await store.put(b"promised")
        kept = await store.stat(blob.sha256, promised=8)
        assert kept is not None
        assert (kept.sha256, kept.size) == (blob.sha256, 8)
        for broken in (UNKNOWN, blob.sha256):
            if broken == blob.sha256:
                self.poke(broken, b"short")
            believed = await store.stat(broken, promised=8)
            assert believed is None or believed.size in {5, 8}
            with pytest.raises((Missing, Corrupt)):
                await collect(store.read(broken, Span(0, 8)))
            found = await store.stat(broken, promised=8)
            assert (found and found.size) == (5 if broken == blob.sha256 else None)
        await store.put(b"promised")
        assert await collect(store.read(blob.sha256, Span(0, 8))) == b"promised"

    async def test_walk_tells_every_blob_once(self, store: BlobStore) -> None:
        assert await keys_of(store) == set()
        stored = {(await store.put(b"%d" % number)).sha256 for number in range(300)}
        walked = [blob async for blob in store.walk()]
        assert len(walked) == 300
        assert {blob.sha256 for blob in walked} == stored
        assert all(blob.size == len(self.peek(blob.sha256) or b"") for blob in walked)

    async def test_walk_tells_the_blobs_of_a_prefix(self, store: BlobStore) -> None:
        stored = {(await store.put(b"%d" % number)).sha256 for number in range(100)}
        some = min(stored)
        for prefix in ("", some[:1], some[:2], some[:5], some, "0" * 40):
            walked = [blob.sha256 async for blob in store.walk(prefix)]
            assert sorted(walked) == sorted(key for key in stored if key.startswith(prefix))

    async def test_walk_goes_on_while_blobs_come_and_go(self, store: BlobStore) -> None:
        steady = {(await store.put(b"steady %d" % number)).sha256 for number in range(40)}
        doomed = [(await store.put(b"doomed %d" % number)).sha256 for number in range(40)]
        seen = set()
        async for blob in store.walk():
            seen.add(blob.sha256)
            if doomed:
                await store.drop(doomed.pop())
                await store.put(b"new %d" % len(doomed))
        assert steady <= seen

    # Dropping.

    async def test_dropped_bytes_are_gone(self, store: BlobStore) -> None:
        blob, other = await store.put(b"drop me"), await store.put(b"keep me")
        assert await store.drop(blob.sha256) is True
        assert self.peek(blob.sha256) is None
        assert await store.stat(blob.sha256) is None
        assert await store.locate(blob.sha256, filename="x") is None
        with pytest.raises(Missing):
            await collect(store.read(blob.sha256))
        assert await keys_of(store) == {other.sha256}
        assert self.peek(other.sha256) == b"keep me"

    async def test_dropping_what_is_not_there_says_so(self, store: BlobStore) -> None:
        assert await store.drop(UNKNOWN) is False
        blob = await store.put(b"twice")
        assert [await store.drop(blob.sha256), await store.drop(blob.sha256)] == [True, False]

    async def test_a_blob_with_another_time_is_not_dropped(self, store: BlobStore) -> None:
        """It was stored again after its time was read."""
        blob = await store.put(b"drop me if I am old")
        if self.tells_modified:
            assert await store.drop(blob.sha256, modified=blob.modified - 1) is False
            assert self.peek(blob.sha256) == b"drop me if I am old"
        there = await store.stat(blob.sha256)
        assert there is not None
        assert await store.drop(blob.sha256, modified=there.modified) is True
        assert self.peek(blob.sha256) is None
        assert await store.drop(blob.sha256, modified=there.modified) is False

    async def test_dropped_bytes_may_come_back(self, store: BlobStore) -> None:
        for _ in range(3):
            blob = await store.put(b"to and fro")
            assert self.peek(blob.sha256) == b"to and fro"
            assert await store.drop(blob.sha256) is True

    async def test_of_many_that_drop_one_is_told(self, store: BlobStore) -> None:
        blob = await store.put(b"one of us")
        told = await asyncio.gather(*(store.drop(blob.sha256) for _ in range(8)))
        assert self.peek(blob.sha256) is None
        if self.drops_exactly_once:
            assert told.count(True) == 1
        else:
            assert told.count(True) >= 1

    # Many at once.

    async def test_many_different_blobs_at_once(self, store: BlobStore) -> None:
        contents = [some_bytes(size, seed=size) for size in range(0, 200 * KIB, 5 * KIB)]
        blobs = await asyncio.gather(*(store.put(data) for data in contents))
        assert [blob.sha256 for blob in blobs] == [sha256_of(data) for data in contents]
        assert all(self.peek(blob.sha256) == data for blob, data in zip(blobs, contents, strict=True))

    @pytest.mark.parametrize("size", [100, MIB + 1])
    async def test_the_same_bytes_at_once(self, store: BlobStore, size: int) -> None:
        data = some_bytes(size)
        blobs = await asyncio.gather(*(store.put(data) for _ in range(16)))
        assert {(blob.sha256, blob.size) for blob in blobs} == {(sha256_of(data), size)}
        assert [blob.sha256 async for blob in store.walk()] == [sha256_of(data)]
        assert self.peek(sha256_of(data)) == data

    async def test_spools_do_not_mix(self, store: BlobStore) -> None:
        async def slowly(letter: bytes) -> Blob:
            async with store.spool() as spool:
                for _ in range(40):
                    await spool.write(letter * 50 * KIB)
                    await asyncio.sleep(0)
                return await spool.keep()

        blobs = await asyncio.gather(*(slowly(letter) for letter in (b"a", b"b", b"c", b"d")))
        assert [self.peek(blob.sha256) for blob in blobs] == [x * 2000 * KIB for x in (b"a", b"b", b"c", b"d")]

    async def test_readers_see_whole_bytes_while_they_are_stored_again(self, store: BlobStore) -> None:
        data = some_bytes(300 * KIB)
        blob = await store.put(data)

        async def rewrite() -> None:
            for _ in range(10):
                await store.put(data)

        async def reread() -> None:
            for _ in range(10):
                assert await collect(store.read(blob.sha256)) == data

        await asyncio.gather(rewrite(), reread(), rewrite(), reread())

    async def test_any_history_equals_a_dictionary(self, store: BlobStore) -> None:
        chance = random.Random(20)
        contents = [some_bytes(chance.choice([0, 10, 5000, 100 * KIB]), seed=number) for number in range(12)]
        model: dict[Sha256, bytes] = {}
        for _ in range(250):
            data = chance.choice(contents)
            key = sha256_of(data)
            match chance.choice(["put", "put", "drop", "stat", "read", "walk"]):
                case "put":
                    await store.put(data)
                    model[key] = data
                case "drop":
                    assert await store.drop(key) is (model.pop(key, None) is not None)
                case "stat":
                    found = await store.stat(key)
                    assert (found and found.size) == (len(data) if key in model else None)
                case "read" if key in model:
                    assert await collect(store.read(key)) == data
                case "walk":
                    assert await keys_of(store) == set(model)
        assert {key: self.peek(key) for key in model} == model

    # Being cancelled.

    @pytest.mark.parametrize("size", [100, MIB + 1, 4 * MIB])
    async def test_a_cancelled_put_is_whole_or_absent(self, store: BlobStore, size: int) -> None:
        for turns in range(12):
            data = some_bytes(size, seed=turns)
            await _cancel_after(turns, store.put(data))
            await self._settle()
            assert self.peek(sha256_of(data)) in {None, data}
            assert not self.leftovers()

    async def test_a_cancelled_writer_leaves_nothing(self, store: BlobStore) -> None:
        writing = asyncio.Event()

        async def write_for_ever() -> None:
            async with store.spool() as spool:
                while True:
                    await spool.write(bytes(300 * KIB))
                    await spool.flush()
                    writing.set()
                    await asyncio.sleep(0)  # some stores await nothing

        for _ in range(5):
            writing.clear()
            task = asyncio.ensure_future(write_for_ever())
            await writing.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not self.leftovers()
        assert await keys_of(store) == set()

    async def test_a_cancelled_drop_is_done_or_not(self, store: BlobStore) -> None:
        for turns in range(6):
            blob = await store.put(b"maybe")
            await _cancel_after(turns, store.drop(blob.sha256))
            await self._settle()
            assert self.peek(blob.sha256) in {None, b"maybe"}
            assert (await store.stat(blob.sha256) is None) == (self.peek(blob.sha256) is None)

    # Starting, sweeping, ending.

    async def test_blobs_survive_reopening(self, store: BlobStore) -> None:
        data = some_bytes(100 * KIB)
        blob = await store.put(data)
        await store.close()
        again = await self.open_store(self.context)
        found = await again.stat(blob.sha256)
        if self.survives_reopening:
            assert found is not None
            assert await collect(again.read(blob.sha256)) == data
            assert await keys_of(again) == {blob.sha256}
        else:
            assert found is None
        await again.close()

    async def test_two_stores_on_one_medium_agree(self, store: BlobStore) -> None:
        if not self.survives_reopening:
            return
        other = await self.open_store(self.context)
        blob = await store.put(b"shared")
        assert await collect(other.read(blob.sha256)) == b"shared"
        assert await other.drop(blob.sha256) is True
        assert await store.stat(blob.sha256) is None
        again = await store.put(b"shared")
        assert await other.stat(again.sha256) is not None
        await other.close()

    async def test_sweep_takes_what_was_abandoned_long_ago(self, store: BlobStore) -> None:
        blob = await store.put(b"no leftover")
        self.abandon(7200)
        self.abandon(7200)
        self.abandon(60)
        assert len(self.leftovers()) == 3
        assert await store.sweep(older_than=3600) == 2
        assert len(self.leftovers()) == 1
        assert await store.sweep(older_than=0) == 1
        assert await store.sweep(older_than=0) == 0
        assert self.peek(blob.sha256) == b"no leftover"

    async def test_sweep_leaves_old_blobs_alone(self, store: BlobStore) -> None:
        blob = await store.put(b"very old")
        if self.tells_modified and self.ages_blobs:
            self.age(blob.sha256, 1000 * 86_400)
        assert await store.sweep(older_than=0) == 0
        assert self.peek(blob.sha256) == b"very old"

    async def test_leftovers_do_not_count_as_blobs(self, store: BlobStore) -> None:
        self.abandon(60)
        assert await keys_of(store) == set()
        await store.sweep(older_than=0)

    async def test_damaged_bytes_are_set_aside_and_may_come_back(self, store: BlobStore) -> None:
        for data in (b"a blob that the disk will change", some_bytes(300 * KIB)):
            blob = await store.put(data)
            self.poke(blob.sha256, data[:-1] + bytes([data[-1] ^ 1]))
            assert await store.set_aside(blob.sha256) is True
            assert await store.stat(blob.sha256) is None
            assert self.peek(blob.sha256) is None
            assert await keys_of(store) == set()
            await store.sweep(older_than=0)
            assert await store.set_aside(blob.sha256) is False
            await store.put(data)
            assert self.peek(blob.sha256) == data
            await store.drop(blob.sha256)

    async def test_whole_bytes_and_what_is_not_there_are_not_set_aside(self, store: BlobStore) -> None:
        for data in (b"whole", b"", some_bytes(300 * KIB)):
            blob = await store.put(data)
            assert await store.set_aside(blob.sha256) is False
            assert self.peek(blob.sha256) == data
        assert await store.set_aside(UNKNOWN) is False
        assert await store.set_aside(Sha256("../etc/passwd")) is False

    # The owner of the blobs.

    async def test_the_first_index_that_claims_the_blobs_has_them(self, store: BlobStore) -> None:
        mine, other = "1" * 32, "abcdef0123456789" * 2
        assert await store.owner() == ""
        assert await store.claim(mine) == mine
        assert await store.claim(mine) == mine
        assert await store.claim(other) == mine
        assert await store.owner() == mine
        assert await store.claim(other, instead=True) == other
        assert await store.owner() == other

    async def test_the_mark_of_the_owner_is_no_blob(self, store: BlobStore) -> None:
        blob = await store.put(b"a blob")
        await store.claim("1" * 32)
        assert await keys_of(store) == {blob.sha256}
        await store.sweep(older_than=0)
        assert await store.owner() == "1" * 32

    async def test_the_owner_survives_reopening(self, store: BlobStore) -> None:
        await store.claim("1" * 32)
        await store.close()
        again = await self.open_store(self.context)
        assert await again.owner() == ("1" * 32 if self.survives_reopening else "")
        await again.close()

    async def test_of_many_that_claim_at_once_all_are_told_of_one(self, store: BlobStore) -> None:
        told = await asyncio.gather(*(store.claim("1" * 32) for _ in range(8)))
        assert set(told) == {"1" * 32}
        rivals = await asyncio.gather(*(store.claim(f"{number:032x}") for number in range(2, 8)))
        assert set(rivals) == {"1" * 32}

    async def test_close_may_be_called_again(self, store: BlobStore) -> None:
        await store.put(b"last")
        await store.close()
        await store.close()

    def _now(self) -> float:
        return self.context.clock.now() / 1_000_000

    async def _settle(self) -> None:
        """Wait until workers have finished the calls that were cancelled."""
        together = threading.Barrier(_WORKERS)
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self.context.workers, together.wait) for _ in range(_WORKERS)))


async def _cancel_after(turns: int, work: Awaitable[object]) -> None:
    """Let work run for some turns of the loop, then cancel it. It may end with `CancelledError`, but with no other error."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and task.exception() is not None:
        raise AssertionError("cancelling surfaced as an error") from task.exception()


def _reference(algorithm: str, data: bytes) -> str:
    if algorithm == "blake2b_256":
        return hashlib.blake2b(data, digest_size=32).hexdigest()
    return hashlib.new(algorithm, data).hexdigest()


def _open_descriptors() -> int:
    """The number of open files of this process; 0 if the system does not tell."""
    descriptors = Path("/proc/self/fd")
    return len(list(descriptors.iterdir())) if descriptors.exists() else 0
