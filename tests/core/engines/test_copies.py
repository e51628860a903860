"""Own blobs and copies read as one store, and only copies may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.behind import BlobsBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.protocols import BlobStore
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tools.reading_locks import is_marked_as_read, mark_as_read

DATA = b"the bytes of a wheel"
KEY = sha256_of(DATA)


class Both:
    def __init__(self, place: Path) -> None:
        clock = ManualClock()
        self.own = MemoryBlobs(clock=clock, spools=place)
        self.copies = MemoryBlobs(clock=clock, spools=place)
        self.opened = 0
        self.store = BlobsBehind(self.own, clock=clock, open_copies=self._open)

    async def _open(self) -> BlobStore:
        self.opened += 1
        return self.copies

    async def read(self, key: Sha256 = KEY) -> bytes:
        return b"".join([data async for data in self.store.read(key)])


@pytest.fixture
def both(tmp_path: Path) -> Both:
    return Both(tmp_path)


async def test_own_blobs_need_no_copies(both: Both) -> None:
    await both.store.put(DATA)
    assert await both.read() == DATA
    assert await both.store.stat(KEY) is not None
    assert both.opened == 0


async def test_a_copy_is_read_and_found_and_is_no_own_blob(both: Both) -> None:
    await both.copies.put(DATA)
    assert await both.read() == DATA
    found = await both.store.stat(KEY)
    assert found is not None
    assert found.size == len(DATA)
    assert not await both.store.owns(KEY)
    assert both.opened == 1


async def test_a_copy_that_was_dropped_is_missing_although_it_was_found_before(both: Both) -> None:
    await both.copies.put(DATA)
    assert await both.store.stat(KEY) is not None
    await both.copies.drop(KEY)
    assert await both.store.stat(KEY) is None
    with pytest.raises(Missing):
        await both.read()


async def test_bytes_that_are_uploaded_after_their_copy_went_are_found(both: Both) -> None:
    await both.copies.put(DATA)
    assert await both.store.stat(KEY) is not None
    await both.copies.drop(KEY)
    await both.store.put(DATA)
    assert await both.read() == DATA
    assert await both.store.stat(KEY) is not None


async def test_a_copy_that_was_made_own_outlives_the_copy(both: Both) -> None:
    await both.copies.put(DATA)
    await both.store.make_own(KEY)
    await both.copies.drop(KEY)
    assert await both.store.owns(KEY)
    assert await both.read() == DATA
    await both.store.make_own(KEY)  # does nothing
    with pytest.raises(Missing):
        await both.store.make_own(sha256_of(b"other"))


async def test_a_damaged_copy_is_not_made_own(both: Both) -> None:
    both.copies.blobs[KEY] = (b"other bytes", 0.0)
    with pytest.raises(Corrupt):
        await both.store.make_own(KEY)
    assert not both.own.blobs


async def test_a_walk_names_each_blob_once(both: Both) -> None:
    await both.own.put(DATA)
    await both.copies.put(DATA)
    await both.copies.put(b"other")
    assert sorted([blob.sha256 async for blob in both.store.walk()]) == sorted([KEY, sha256_of(b"other")])


async def test_a_drop_and_setting_aside_concern_both(both: Both) -> None:
    await both.own.put(DATA)
    await both.copies.put(DATA)
    assert await both.store.drop(KEY)
    assert await both.store.stat(KEY) is None
    both.copies.blobs[KEY] = (b"other bytes", 0.0)
    assert await both.store.set_aside(KEY)
    assert await both.store.stat(KEY) is None


async def test_a_blob_counts_as_read_until_its_reader_ends(both: Both) -> None:
    await both.copies.put(DATA)
    reader = both.store.read(KEY)
    assert not both.store.is_read(KEY)
    await anext(reader)
    assert both.store.is_read(KEY)
    await reader.aclose()  # type: ignore[attr-defined]  # the iterator is a generator
    assert not both.store.is_read(KEY)


def test_a_mark_ends_with_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    assert not is_marked_as_read(path)
    with path.open("rb") as file:
        mark_as_read(file.fileno())
        assert is_marked_as_read(path)
    assert not is_marked_as_read(path)
    assert not is_marked_as_read(tmp_path / "missing")
