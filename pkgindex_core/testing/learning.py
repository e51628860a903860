"""The contract suites of `LearningIndex` and `LearningBlobs`: what is learned is shown at once, and stored a moment later.

class TestMyLearningIndex(LearningIndexContract, IndexStoreContract): ...
class TestMyLearningBlobs(LearningBlobsContract):
    async def open_store(self, context): return MyLearningBlobs(...)
    def within(self): return self.store.inner
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Missing, StorageFull, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols import BlobStore, Span
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.testing.blob_store import collect, keys_of
from pkgindex_core.testing.index_cases.learned import LearningCases
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio

DATA = b"Metadata-Version: 2.1\nName: demo\n"
KEY = sha256_of(DATA)


class LearningIndexContract(LearningCases):
    """The suite of `Learning`. A store passes it besides `IndexStoreContract`."""


@pytest.mark.asyncio
class LearningBlobsContract:
    """The promises of `LearningBlobs` beyond those of a blob store. Give the store a long pause, so that nothing is stored by itself."""

    context: Context
    store: LearningBlobs

    async def open_store(self, context: Context) -> LearningBlobs:
        raise NotImplementedError

    def within(self) -> BlobStore:
        """The inner store."""
        raise NotImplementedError

    async def failing(self, error: Unavailable | None) -> None:
        """Make every write of the inner store raise `error`, or work again for None."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        with ThreadPoolExecutor(2) as workers:
            self.context = Context(data=tmp_path, clock=ManualClock(), workers=workers)
            self.store = await self.open_store(self.context)
            yield
            await self.store.close()

    async def found(self, store: BlobStore, key: Sha256 = KEY) -> bytes | None:
        """The bytes in a store; None if they are missing. Checks that `stat`, `read` and `walk` agree."""
        blob = await store.stat(key)
        assert (key in await keys_of(store)) is (blob is not None)
        if blob is None:
            with pytest.raises(Missing):
                await collect(store.read(key))
            return None
        data = await collect(store.read(key))
        assert (blob.sha256, blob.size) == (key, len(data))
        return data

    async def test_what_was_learned_is_read_at_once_and_stored_behind(self) -> None:
        blob = await self.store.learn(DATA)
        assert (blob.sha256, blob.size) == (KEY, len(DATA))
        assert await self.found(self.store) == DATA
        assert await collect(self.store.read(KEY, Span(2, 9))) == DATA[2:9]
        assert await self.store.locate(KEY, filename="x") is None
        assert await self.found(self.within()) is None
        await self.store.settle()
        assert await self.found(self.within()) == await self.found(self.store) == DATA

    async def test_what_is_put_is_stored_when_it_returns(self) -> None:
        await self.store.put(DATA)
        assert await self.found(self.within()) == DATA

    async def test_the_same_is_learned_once(self) -> None:
        await asyncio.gather(*(self.store.learn(DATA) for _ in range(5)))
        await self.store.put(DATA)
        await self.store.settle()
        assert [blob.sha256 async for blob in self.store.walk()] == [KEY]

    async def test_what_was_learned_can_be_dropped(self) -> None:
        await self.store.learn(DATA)
        assert await self.store.drop(KEY) is True
        await self.store.settle()
        assert await self.found(self.store) is None
        assert await self.found(self.within()) is None

    async def test_what_cannot_be_stored_stays_readable_and_is_stored_later(self) -> None:
        await self.store.learn(DATA)
        await self.failing(StorageFull("no room"))
        with pytest.raises(StorageFull):
            await self.store.settle()
        assert await self.found(self.store) == DATA
        await self.failing(None)
        await self.store.settle()
        assert await self.found(self.within()) == DATA

    async def test_closing_stores_what_is_pending(self) -> None:
        stored: list[bytes] = []
        put = self.within().put

        async def noted(data: bytes) -> object:
            stored.append(data)
            return await put(data)

        self.within().put = noted  # type: ignore[method-assign,assignment]  # what is written before the end
        await self.store.learn(DATA)
        await self.store.close()
        assert stored == [DATA]
