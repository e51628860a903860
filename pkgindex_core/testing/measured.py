"""The contract suite of `Measured`: a source that tells its counts.

class TestMySource(MeasuredContract):
    async def begin(self): ...                     # returns an index of the source; it has what `project` needs
    async def open_measured(self, context): return MySource(...)
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig, User
from pkgindex_core.names import ProjectName, owner
from pkgindex_core.protocols import Source
from pkgindex_core.protocols.measuring import Figures, Histogram, Measured
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio

_NAME: Final = re.compile(r"\Apkgindex_[a-z]+(_[a-z]+)*\Z")
_PROJECTS: Final = tuple(ProjectName(f"{word}-secretly") for word in ("one", "two", "three", "four"))


class MeasuredSource(Source, Measured, Protocol):
    """A source that tells its counts."""


@pytest.mark.asyncio
class MeasuredContract:
    """Subclass, name it `Test…`, and provide the source."""

    index: IndexConfig

    async def begin(self) -> IndexConfig:
        """Start what the source needs. Returns an index of it."""
        raise NotImplementedError

    async def end(self) -> None:
        """Stop what `begin` started. The source is closed by then."""

    async def open_measured(self, context: Context) -> MeasuredSource:
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _opened(self, tmp_path: Path) -> AsyncIterator[None]:
        clock = ManualClock()
        self.store = IndexBehind(MemoryIndex(clock))
        blobs = BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path / "staging"), clock=clock)
        with ThreadPoolExecutor(2) as workers:
            context = Context(data=tmp_path, clock=clock, workers=workers, index_store=self.store, blob_store=blobs)
            self.index = await self.begin()
            await self.store.apply([PutUser(User(name=owner(self.index.name))), PutIndex(self.index)], who="[test]")
            self.source = await self.open_measured(context)
            yield
            await self.source.close()
            await self.end()
            await self.store.close()
            await blobs.close()

    async def ask(self, project: ProjectName) -> None:
        """Ask for a project, as a request for its page does."""
        (standing,) = await self.store.standings(project, [self.index.name])
        with suppress(PkgIndexError):
            await self.source.refresh(self.index, project, standing)

    async def told(self) -> Sequence[Figures]:
        return await self.source.figures([self.index])

    async def test_it_is_known_to_be_measured(self) -> None:
        assert isinstance(self.source, Measured)

    async def test_meters_are_well_formed(self) -> None:
        await self.ask(_PROJECTS[0])
        figures = await self.told()
        names = [each.meter.name for each in figures]
        assert names
        assert len(names) == len(set(names))
        for meter, values in ((each.meter, each.values) for each in figures):
            assert _NAME.match(meter.name), meter.name
            assert meter.name.endswith("_total") == (meter.kind == "counter"), meter.name
            assert meter.meaning.endswith("."), meter.name
            assert all(len(labels) == len(meter.labels) for labels in values), meter.name
            assert all(isinstance(value, Histogram) == (meter.kind == "histogram") for value in values.values())

    async def test_counters_never_decrease(self) -> None:
        before: dict[tuple[str, tuple[str, ...]], float] = {}
        for project in _PROJECTS:
            await self.ask(project)
            now = {
                (each.meter.name, labels): value
                for each in await self.told()
                if each.meter.kind == "counter"
                for labels, value in each.values.items()
                if not isinstance(value, Histogram)
            }
            assert [key for key, value in before.items() if now.get(key, 0) < value] == []
            before = now
        assert any(before.values())

    async def test_labels_do_not_name_projects(self) -> None:
        for project in _PROJECTS:
            await self.ask(project)
        words = {word for each in await self.told() for labels in each.values for word in labels}
        assert [word for word in words if "secretly" in word] == []

    async def test_only_the_given_indexes_are_told_of(self) -> None:
        await self.ask(_PROJECTS[0])
        words = {word for each in await self.source.figures([]) for labels in each.values for word in labels}
        assert self.index.name not in words
