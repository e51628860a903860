"""What was decided stays decided until something that it depends on changes: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from pkgindex_core.changes import DropIndex, MirrorPage, PutToken, PutUser
from pkgindex_core.digests import Sha256
from pkgindex_core.models import PageHead, Token, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading import resolving
from pkgindex_core.services.reading.pages import PageRequest, View
from tests.core.services.conftest import DEV, PYPI, Open, World, hosted_file

OURS = [ProjectName(f"ours{number}") for number in range(25)]
THEIRS = [ProjectName(f"theirs{number}") for number in range(25)]


async def _prepare(world: World, monkeypatch: pytest.MonkeyPatch) -> list[ProjectName]:
    """Fifty warm pages, and the projects that are decided anew from here on."""
    for project in OURS:
        await world.put(DEV, project, f"{project}-1.0-py3-none-any.whl")
    for project in THEIRS:
        world.mirror.pages[project] = [hosted_file(f"{project}-1.0-py3-none-any.whl")]
        world.mirror.fresh.add(project)
        await world.mirror.refresh(
            (await world.engine.store.tree()).indexes[PYPI],
            project,
            (await world.engine.store.standings(project, [PYPI]))[0],
            again=True,
        )
    await _ask(world)
    await _ask(world)
    decided: list[ProjectName] = []
    standings = world.engine.store.standings

    async def counted(project: ProjectName, order: Any, **about: Any) -> Any:
        decided.append(project)
        return await standings(project, order, **about)

    monkeypatch.setattr(world.engine.store, "standings", counted)
    await _ask(world)
    assert decided == []
    return decided


async def _ask(world: World, start: IndexName = DEV, projects: Iterable[ProjectName] = (*OURS, *THEIRS)) -> None:
    for project in projects:
        await world.engine.pages.project(
            PageRequest(
                view=View(start=start, root="../../../../"), project=project, principal=Principal(), media_type=JSON_V1
            )
        )


async def test_users_and_tokens_void_no_decision(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        decided = await _prepare(world, monkeypatch)
        await world.engine.store.apply([PutUser(User(name="anna"))], who="[test]")
        token = Token(id="0" * 16, user="anna", secret_sha256=Sha256("a" * 64))
        await world.engine.store.apply([PutToken(token)], who="[test]")
        await _ask(world)
        assert decided == []


async def test_an_upload_voids_its_own_project_alone(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        decided = await _prepare(world, monkeypatch)
        await world.put(DEV, OURS[3], f"{OURS[3]}-2.0-py3-none-any.whl")
        await _ask(world)
        assert decided == [OURS[3]]


async def test_what_a_mirror_learns_voids_its_own_project_alone(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        decided = await _prepare(world, monkeypatch)
        learned = MirrorPage(PYPI, THEIRS[7], PageHead(), (hosted_file(f"{THEIRS[7]}-1.0-py3-none-any.whl", "b"),))
        await world.engine.store.apply([learned], who="[mirror]")
        await _ask(world)
        assert decided == [THEIRS[7]]


async def test_a_change_of_the_tree_voids_all(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        decided = await _prepare(world, monkeypatch)
        await world.index("root/other")
        await _ask(world)
        assert decided == [*OURS, *THEIRS]


async def test_what_is_kept_is_bounded_by_layers(open_world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer of an order is kept with its verdict, so a project of a long order takes the place of several."""
    monkeypatch.setattr(resolving, "_KEPT_LAYERS", 100)
    async with open_world() as world:
        decided = await _prepare(world, monkeypatch)  # fifty projects of two layers
        long = await world.index("root/long", bases=(await world.index("root/more", bases=(DEV,)),))
        await _ask(world)
        decided.clear()
        await _ask(world, long, OURS[:1])
        await _ask(world, DEV, reversed([*OURS, *THEIRS]))
        assert decided == [OURS[0], OURS[1], OURS[0]]


async def test_a_short_list_is_answered_without_another_thread(
    open_world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world() as world:
        await world.put(DEV, OURS[0], f"{OURS[0]}-1.0-py3-none-any.whl")

        async def listed() -> bytes:
            answer = await world.engine.listings.projects(
                DEV, principal=Principal(), media_type=JSON_V1, coding="identity", if_none_match=None
            )
            assert answer.body is not None
            return bytes(answer.body)

        first = await listed()
        monkeypatch.setattr(world.engine.workers, "submit", None)
        assert await listed() == first
        assert OURS[0].encode() in first


async def test_nothing_stays_of_indexes_that_were_deleted(open_world: Open) -> None:
    """Build jobs make an index each, and delete it afterwards."""
    async with open_world() as world:
        resolving = world.engine.pages._resolving
        for number in range(20):
            index = await world.index(f"root/job{number}")
            await resolving.chain(index, Principal())
            await world.engine.store.apply([DropIndex(index)], who="[test]")
        await resolving.chain(DEV, Principal())
        assert [*resolving._lineages[1]] == [DEV]
