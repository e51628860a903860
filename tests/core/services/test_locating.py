"""A file that is known by its name is the one that the page of its project lists."""

from __future__ import annotations

import pytest

from pkgindex_core.changes import PutProject
from pkgindex_core.errors import Missing
from pkgindex_core.models import PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from tests.core.services.conftest import Open, World

DEMO = ProjectName("demo")
NAME = "demo-1.0-py3-none-any.whl"
TOP, BASE = IndexName("root/top"), IndexName("root/base")


async def _prepare(world: World) -> None:
    await world.index(BASE)
    await world.index(TOP, bases=(IndexName("root/middle"), BASE))
    await world.index("root/middle")
    await world.put("root/middle", DEMO, NAME)
    await world.put(BASE, DEMO, NAME, size=2)


async def _mark(world: World, index: str, status: str) -> None:
    await world.engine.store.apply([PutProject(IndexName(index), DEMO, PageHead(status=status))], who="[test]")


async def test_a_quarantined_layer_hides_no_file_of_another_one(open_world: Open) -> None:
    async with open_world() as world:
        await _prepare(world)
        await _mark(world, TOP, "active")
        assert (await world.engine.locating.locate(TOP, NAME, principal=Principal()))[0] == "root/middle"
        await _mark(world, "root/middle", "quarantined")
        assert (await world.engine.locating.locate(TOP, NAME, principal=Principal()))[0] == BASE


async def test_what_is_quarantined_for_all_is_found_nowhere(open_world: Open) -> None:
    async with open_world() as world:
        await _prepare(world)
        await _mark(world, TOP, "quarantined")
        with pytest.raises(Missing):
            await world.engine.locating.locate(TOP, NAME, principal=Principal())
