"""An answer that is kept and turns out to be out of date is not given again, even where nothing was heard of a change."""

from __future__ import annotations

import json

import pytest

from pkgindex_core.changes import MirrorPage
from pkgindex_core.models import PageHead
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from tests.core.services.conftest import DEV, PYPI, Open, World, hosted_file

DEMO = ProjectName("demo")
OTHER = ProjectName("other")


async def page(world: World, project: ProjectName, media_type: str) -> PageAnswer:
    view = View(start=DEV, root="../../../../")
    return await world.engine.pages.project(
        PageRequest(view=view, project=project, principal=Principal(), media_type=media_type)
    )


async def test_a_commit_that_is_seen_late_makes_no_page_fail(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """`seen` may be behind what other processes have committed, and reads need not be."""
    async with open_world() as world:
        await world.put(DEV, DEMO, "demo-1.0-py3-none-any.whl")
        await page(world, DEMO, JSON_V1)
        before = world.engine.store.seen()
        monkeypatch.setattr(world.engine.store, "seen", lambda: before)
        await world.put(DEV, DEMO, "demo-2.0-py3-none-any.whl")
        answer = await page(world, DEMO, HTML_V1)
        assert answer.body is not None
        assert b"demo-2.0" in answer.body


async def test_a_mirrored_page_has_one_name_before_and_after_it_is_stored(open_world: Open) -> None:
    async with open_world() as world:
        for project in (DEMO, OTHER):
            await _learn(world, project)
            world.mirror.fresh.add(project)
            if project == DEMO:
                first = await page(world, DEMO, JSON_V1)
                await world.engine.settle()
                assert await page(world, DEMO, JSON_V1) == first
        await world.engine.settle()
        answer = await page(world, DEMO, HTML_V1)
        assert answer.body is not None
        assert b"demo-1.0" in answer.body
        again = await page(world, DEMO, JSON_V1)
        assert again == first
        assert again.body is not None
        assert json.loads(again.body)["meta"]["_last-serial"] == answer.serial


async def _learn(world: World, project: ProjectName) -> None:
    store = world.engine.store
    file = hosted_file(f"{project}-1.0-py3-none-any.whl")
    (seen,) = await store.standings(project, [PYPI])
    change = MirrorPage(PYPI, project, PageHead(display_name=project), (file,))
    config = (await store.tree()).indexes[PYPI]
    await store.learn(change, index=config, seen=seen, who="[mirror]", lost=lambda: None)
