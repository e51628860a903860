from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pkgindex_mirror.syncing.reports import RunReport
from pkgindex_mirror.testing import ScriptedUpstream
from tests.mirror.engine_target.places import IndexPlace, TreePlace
from tests.mirror.syncing.conftest import Mirroring, NamedChosen


class PlacedRuns(Mirroring):
    """Runs into a place, which each of them opens for itself, as a process does."""

    def __init__(self, upstream: ScriptedUpstream, place: IndexPlace | TreePlace) -> None:
        super().__init__(upstream, lean=True)
        self.place = place
        place.clock = self.clock

    async def run(self, chosen: NamedChosen | None = None, *, force: bool = False, **settings: Any) -> RunReport:
        async with self.place.opened() as self.target:  # type: ignore[assignment]  # another target than its usual one
            return await super().run(chosen, force=force, **settings)

    async def sync(self, *names: str) -> RunReport:
        async with self.place.opened() as self.target, self.target.turn():  # type: ignore[assignment]  # as above
            return await super().sync(*names)


class IndexRuns(PlacedRuns):
    """Runs into an index."""

    place: IndexPlace


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def runs(upstream: ScriptedUpstream, tmp_path: Path) -> IndexRuns:
    return IndexRuns(upstream, IndexPlace(tmp_path / "data", upstream.url))
