"""The contract suite of `Proving`: a source that can get the provenance of a file from its upstream.

class TestMySource(ProvingContract):
    async def begin(self): ...                     # an upstream with `document`; sets `index` and `file`
    async def open_proving(self, context): return MySource(...)
    async def answer(self, document): ...          # what the upstream has from now on in its place; None: nothing
    async def go_away(self): ...                   # the upstream cannot be asked from now on
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage, PutIndex, PutUser
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import BadUpstream, Missing, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig, PageHead, User
from pkgindex_core.names import ProjectName, owner
from pkgindex_core.protocols import Source
from pkgindex_core.protocols.sources import Proving
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio


class ProvingSource(Source, Proving, Protocol):
    """A source that gets provenance."""


@pytest.mark.asyncio
class ProvingContract:
    """Subclass, name it `Test…`, and provide the upstream."""

    index: IndexConfig
    project: ProjectName
    file: File
    """A file of the upstream, with a sha256 and the place of its provenance."""
    document: bytes
    """The provenance of the file."""
    publisher: str
    """The publisher that the document proves; "" if the source verifies nothing."""

    async def begin(self) -> None:
        raise NotImplementedError

    async def open_proving(self, context: Context) -> ProvingSource:
        raise NotImplementedError

    async def answer(self, document: bytes | None) -> None:
        raise NotImplementedError

    async def go_away(self) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        """Stop what `begin` started. The source is closed by then."""

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        clock = ManualClock()
        self.store = store = IndexBehind(MemoryIndex(clock))
        blobs = BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path / "staging"), clock=clock)
        with ThreadPoolExecutor(2) as workers:
            context = Context(data=tmp_path, clock=clock, workers=workers, index_store=store, blob_store=blobs)
            await self.begin()
            await store.apply([PutUser(User(name=owner(self.index.name))), PutIndex(self.index)], who="[test]")
            await store.apply([MirrorPage(self.index.name, self.project, PageHead(), (self.file,))], who="[test]")
            self.source = await self.open_proving(context)
            yield
            await self.source.close()
            await self.end()
            await store.close()
            await blobs.close()

    async def read(self) -> tuple[bytes, str]:
        """As a request does, which has the file from the store."""
        file = await self.store.file(self.index.name, self.project, self.file.filename)
        assert file is not None
        return await self.source.provenance(self.index, self.project, file)

    async def test_it_is_known_to_prove(self) -> None:
        assert isinstance(self.source, Proving)

    async def test_the_document_is_that_of_the_upstream(self) -> None:
        for _ in range(2):
            assert await self.read() == (self.document, self.publisher)

    async def test_an_absent_one_is_missing(self) -> None:
        await self.answer(None)
        with pytest.raises(Missing):
            await self.read()

    async def test_of_an_upstream_that_is_away_nothing_is_known(self) -> None:
        await self.go_away()
        with pytest.raises(Unavailable):
            await self.read()

    @pytest.mark.parametrize("wrong", [b"[]", b"<html>", b"{}"])
    async def test_what_is_no_provenance_is_not_passed_on(self, wrong: bytes) -> None:
        await self.answer(wrong)
        for _ in range(2):
            with pytest.raises(BadUpstream):
                await self.read()

    async def test_the_provenance_of_another_file_is_not_passed_on(self) -> None:
        another = replace(self.file, digests={"sha256": "0" * 64})
        with pytest.raises(BadUpstream):
            await self.source.provenance(self.index, self.project, another)

    async def test_what_was_wrong_is_asked_for_again(self) -> None:
        await self.answer(b"<html>")
        with pytest.raises(BadUpstream):
            await self.read()
        await self.answer(self.document)
        assert await self.read() == (self.document, self.publisher)
