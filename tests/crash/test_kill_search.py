"""kill -9 while the catalogue of searches is brought up to date: it goes on where it was, and leaves nothing out and has nothing twice."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from pkgindex_core.changes import DropProject, MirrorNames, PutFile, PutRelease
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.engines.memory.catalogue import MemoryCatalogue
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import File, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import SearchCatalogue, SearchEntry, SearchQuery
from pkgindex_core.services.administering.cataloguing import Cataloguing
from tests.crash.test_sqlite_crashes import environment

STEPS = sorted(point for point in POINTS if point.startswith("search."))
HOSTED, MIRROR = IndexName("root/dev"), IndexName("root/pypi")

_CHILD = """
import asyncio, sys
from pkgindex_core import failpoints
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.services.administering import cataloguing

cataloguing._PROJECTS = cataloguing._NAMES = 3
cataloguing._COMMITS = cataloguing._TOUCHED = 2

async def main(data, points):
    failpoints.arm(points)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.cataloguing.caught_up()

asyncio.run(main(*sys.argv[1:]))
"""


async def fill(data: Path, *, first: bool) -> None:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        if first:
            await engine.prepare(log_in=False)
        for number in range(4 if first else 8):
            name = ProjectName(f"demo-{number}")
            file = File(filename=f"demo_{number}-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1)
            release = Release(version="1.0", metadata=b'{"summary": "words"}')
            await engine.store.apply([PutFile(HOSTED, name, file), PutRelease(HOSTED, name, release)], who="[test]")
        listed = [ProjectName(f"listed-{number}") for number in range(7)]
        await engine.store.apply([MirrorNames(MIRROR, put=tuple((name, name) for name in listed))], who="[test]")
        if not first:
            await engine.store.apply([DropProject(HOSTED, ProjectName("demo-1"))], who="[test]")
            await engine.store.apply([MirrorNames(MIRROR, drop=(listed[3],))], who="[test]")


async def step_until_killed(data: Path, points: str) -> int:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, str(data), points, env=environment())
    return await asyncio.wait_for(child.wait(), 60)


async def content(catalogue: SearchCatalogue) -> list[SearchEntry]:
    return [each.entry for each in await catalogue.find(SearchQuery(), {HOSTED, MIRROR}, limit=1000)]


@pytest.mark.parametrize("point", STEPS)
async def test_a_killed_catalogue_goes_on(tmp_path: Path, point: str) -> None:
    data = tmp_path / "data"
    await fill(data, first=True)
    # The walk takes some steps and the log others: killed at the first, third and fifth, and then again on what is left.
    for hit in (1, 3, 5):
        assert await step_until_killed(data, f"{point}=kill@{hit}") == -signal.SIGKILL
    await fill(data, first=False)
    for hit in (1, 2):
        assert await step_until_killed(data, f"{point}=kill@{hit}") == -signal.SIGKILL
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.cataloguing.caught_up()
        anew = MemoryCatalogue()
        await Cataloguing(store=engine.store, blobs=engine.blobs, catalogue=anew, workers=engine.workers).caught_up()
        found = await content(engine.catalogue)
        assert found == await content(anew)
        assert len(found) == len({(each.index, each.project) for each in found}) == 7 + 6
