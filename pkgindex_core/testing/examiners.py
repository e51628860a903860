"""The contract suite of `Examiner`: a source that checks the upstream of an index when it is configured.

class TestMyExaminer(ExaminerContract):
    async def begin(self): ...                     # an upstream that is right; returns an index of it
    async def open_examiner(self, context): return MySource(...)
    async def break_it(self): ...                  # from now on something is wrong with it
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig
from pkgindex_core.protocols import Source
from pkgindex_core.protocols.sources import Examiner
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio
from pkgindex_core.testing.samples import is_a_sentence

SECRET: Final = "s3cret-of-ann"
"""The password for the upstream, if it takes one. No message may contain it."""
_PATIENCE: Final = 60.0


class ExaminingSource(Source, Examiner, Protocol):
    """A source that is an examiner."""


@pytest.mark.asyncio
class ExaminerContract:
    """Subclass, name it `Test…`, and provide the upstream."""

    index: IndexConfig

    async def begin(self) -> IndexConfig:
        """Start a sound upstream. Returns an index of it, with `SECRET` as the password if it takes one."""
        raise NotImplementedError

    async def end(self) -> None:
        """Stop the upstream. The source is closed by then."""

    async def open_examiner(self, context: Context) -> ExaminingSource:
        raise NotImplementedError

    async def break_it(self) -> None:
        """Break the upstream."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        clock = ManualClock()
        store = IndexBehind(MemoryIndex(clock))
        blobs = BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path / "staging"), clock=clock)
        with ThreadPoolExecutor(2) as workers:
            context = Context(data=tmp_path, clock=clock, workers=workers, index_store=store, blob_store=blobs)
            self.index = await self.begin()
            self.source = await self.open_examiner(context)
            yield
            await self.source.close()
            await self.end()
            await store.close()
            await blobs.close()

    async def said(self) -> str:
        return await asyncio.wait_for(self.source.examine(self.index), _PATIENCE)

    async def test_it_is_known_to_examine(self) -> None:
        assert isinstance(self.source, Examiner)

    async def test_of_what_looks_right_nothing_is_said(self) -> None:
        assert await self.said() == ""

    async def test_what_is_wrong_is_a_sentence_without_secrets(self) -> None:
        await self.break_it()
        said = await self.said()
        assert is_a_sentence(said)
        assert SECRET not in said
