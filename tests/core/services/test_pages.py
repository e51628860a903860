from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage
from pkgindex_core.errors import Denied, Missing, Unavailable
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import AUTHENTICATED, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, TokenScope
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading import building
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from pkgindex_core.tools import workers
from tests.core.services.conftest import DEV, PYPI, Open, World, hosted_file

NUMPY = ProjectName("numpy")
PUBLIC = "numpy-9.0-py3-none-any.whl"
PRIVATE = "numpy-1.0-py3-none-any.whl"


async def page(world: World, index: str = DEV, project: ProjectName = NUMPY, **wanted: Any) -> PageAnswer:
    request = PageRequest(
        view=View(start=IndexName(index), root="../../../../"),
        project=project,
        principal=wanted.pop("principal", Principal()),
        media_type=JSON_V1,
        **wanted,
    )
    return await world.engine.pages.project(request)


def names(answer: PageAnswer) -> list[str]:
    assert answer.body is not None
    return [file["filename"] for file in json.loads(answer.body)["files"]]


async def test_a_page_is_built_once_and_then_known_by_its_name(open_world: Open) -> None:
    async with open_world() as world:
        await world.put(DEV, NUMPY, PRIVATE)
        first = await page(world)
        assert names(first) == [PRIVATE]
        second = await page(world)
        assert second.body is first.body
        assert (await page(world, if_none_match=first.etag)).body is None
        await world.put(DEV, NUMPY, "numpy-1.1-py3-none-any.whl")
        third = await page(world, if_none_match=first.etag)
        assert third.etag != first.etag
        assert names(third) == [PRIVATE, "numpy-1.1-py3-none-any.whl"]


async def test_a_hundred_who_ask_at_once_cause_one_build(open_world: Open) -> None:
    async with open_world() as world:
        await world.put(DEV, NUMPY, PRIVATE)
        answers = await asyncio.gather(*(page(world) for _ in range(100)))
        assert len({id(answer.body) for answer in answers}) == 1


async def test_a_private_name_is_never_asked_of_a_mirror(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        await world.put(DEV, NUMPY, PRIVATE)
        assert names(await page(world)) == [PRIVATE]
        assert world.mirror.asked == []


async def test_a_package_published_while_the_upstream_is_asked_wins(open_world: Open) -> None:
    """The dependency-confusion race: admitted when nobody had the name, shown when somebody has."""
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        world.mirror.gate = asyncio.Event()
        asking = asyncio.create_task(page(world))
        while not world.mirror.asked:
            await asyncio.sleep(0)
        await world.put(DEV, NUMPY, PRIVATE)
        world.mirror.gate.set()
        assert names(await asking) == [PRIVATE]


async def test_who_cannot_see_the_private_package_is_not_given_the_public_one(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        await world.index("root/secret", acl_read=("anna",))
        await world.index("root/open", bases=(IndexName("root/secret"), PYPI))
        await world.put("root/secret", NUMPY, PRIVATE)
        with pytest.raises(Missing):
            await page(world, "root/open")
        assert names(await page(world, "root/open", principal=Principal(name="anna"))) == [PRIVATE]
        assert world.mirror.asked == []


async def test_private_bases_are_not_read_through_an_open_index(open_world: Open) -> None:
    async with open_world() as world:
        await world.index("root/secret", acl_read=("anna",))
        await world.index("root/open", bases=(IndexName("root/secret"),))
        await world.put("root/secret", NUMPY, PRIVATE)
        await world.put("root/open", NUMPY, "numpy-2.0-py3-none-any.whl")
        anonymous = await page(world, "root/open")
        assert names(anonymous) == ["numpy-2.0-py3-none-any.whl"]
        anna = await page(world, "root/open", principal=Principal(name="anna"))
        assert names(anna) == [PRIVATE, "numpy-2.0-py3-none-any.whl"]
        assert anonymous.etag != anna.etag
        # A shared cache that kept what anonymous clients get would give it to anna, too.
        assert anonymous.public is False
        assert anna.public is False


async def test_a_private_index_needs_credentials_and_then_does_not_exist(open_world: Open) -> None:
    async with open_world() as world:
        await world.index("root/secret", acl_read=("anna",))
        await world.put("root/secret", NUMPY, PRIVATE)
        with pytest.raises(Denied) as refused:
            await page(world, "root/secret")
        assert refused.value.anonymous
        with pytest.raises(Missing):
            await page(world, "root/secret", principal=Principal(name="ben"))
        await world.index("root/team", acl_read=(AUTHENTICATED,))
        await world.put("root/team", NUMPY, PRIVATE)
        assert names(await page(world, "root/team", principal=Principal(name="ben"))) == [PRIVATE]


async def test_unknown_is_not_absent(open_world: Open) -> None:
    async with open_world() as world:
        with pytest.raises(Missing):
            await page(world)
        world.mirror.down = True
        with pytest.raises(Unavailable):
            await page(world)


async def test_an_outage_never_shortens_a_page(open_world: Open) -> None:
    """A whitelisted name has a hosted and a mirrored layer: without the mirror the page is unknown, not shorter."""
    async with open_world() as world:
        await world.index("root/both", bases=(PYPI,), mirror_whitelist=("numpy",))
        await world.put("root/both", NUMPY, PRIVATE)
        world.mirror.down = True
        with pytest.raises(Unavailable):
            await page(world, "root/both")


async def test_what_is_stored_is_served_stale_and_marked(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        fresh = await page(world)
        assert (names(fresh), fresh.stale) == ([PUBLIC], ())
        world.mirror.down = True
        stale = await page(world)
        assert names(stale) == [PUBLIC]
        assert stale.stale == ((PYPI, "the fake is down"),)


async def test_a_fresh_mirror_is_not_asked_again(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        await page(world)
        world.mirror.fresh.add("numpy")
        await page(world)
        asked = list(world.mirror.asked)
        for _ in range(10):
            await page(world)
        assert world.mirror.asked == asked
        world.mirror.fresh.clear()
        await page(world)
        assert len(world.mirror.asked) == len(asked) + 1


async def test_mirrors_that_are_current_are_asked_again_side_by_side(open_world: Open) -> None:
    async with open_world() as world:
        other = await world.index("root/other", type="mirror", mirror_url="https://other.example/simple/")
        both = await world.index("root/both", bases=(PYPI, other))
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        world.mirror.fresh.add("numpy")
        world.mirror.gate = asyncio.Event()
        asking = asyncio.create_task(world.engine.pages.refresh(both, NUMPY, principal=Principal(name="root")))
        async with asyncio.timeout(5):
            while len(world.mirror.asked) < len([PYPI, other]):
                await asyncio.sleep(0)
        world.mirror.gate.set()
        await asking


async def test_a_changed_configuration_changes_the_page_at_once(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        await world.index("root/mine", bases=(PYPI,))
        await world.put("root/mine", NUMPY, PRIVATE)
        assert names(await page(world, "root/mine")) == [PRIVATE]
        await world.index("root/mine", bases=(PYPI,), mirror_whitelist=("*",))
        assert names(await page(world, "root/mine")) == [PRIVATE, PUBLIC]


async def test_links_name_the_index_that_has_the_file(open_world: Open) -> None:
    async with open_world() as world:
        world.mirror.pages["numpy"] = [hosted_file(PUBLIC)]
        answer = await page(world)
        assert answer.body is not None
        assert json.loads(answer.body)["files"][0]["url"] == f"../../../../root/pypi/+f/aaa/{'a' * 13}/{PUBLIC}"


async def test_the_cache_is_bounded_and_a_body_too_large_for_it_is_still_served(open_world: Open) -> None:
    async with open_world(page_cache_bytes=400) as world:
        for number in range(30):
            await world.put(DEV, ProjectName(f"p{number}"), f"p{number}-1.0-py3-none-any.whl")
            assert len(names(await page(world, project=ProjectName(f"p{number}")))) == 1
            assert world.engine.bodies.size <= 400
        for number in range(9):
            await world.put(DEV, NUMPY, f"numpy-1.{number}-py3-none-any.whl")
        assert len(names(await page(world))) == 9


async def test_a_token_for_one_project_reads_that_one_of_a_private_index(open_world: Open) -> None:
    async with open_world() as world:
        await world.index("root/secret", acl_read=("anna",))
        await world.put("root/secret", NUMPY, PRIVATE)
        await world.put("root/secret", ProjectName("other"), "other-1.0-py3-none-any.whl")
        token = Principal(name="anna", scope=TokenScope(token_id="t", projects=("numpy",), actions=("read",)))
        assert names(await page(world, "root/secret", principal=token)) == [PRIVATE]
        with pytest.raises(Missing):
            await page(world, "root/secret", ProjectName("other"), principal=token)


@pytest.mark.parametrize(("reason", "in_workers"), [("broken", 0), ("<" * 1000, 1)], ids=["ordinary", "long fields"])
async def test_a_page_in_one_piece_is_written_in_the_loop_when_that_is_quick(
    open_world: Open, monkeypatch: pytest.MonkeyPatch, reason: str, in_workers: int
) -> None:
    """Few files may be many bytes: their fields are an upstream's."""
    handed_over: list[object] = []

    async def in_worker(executor: Executor, function: Callable[[], object]) -> object:
        handed_over.append(function)
        return await workers.in_worker(executor, function)

    monkeypatch.setattr(building, "in_worker", in_worker)
    async with open_world() as world:
        files = [replace(hosted_file(f"numpy-{number}.0.tar.gz"), yanked=reason) for number in range(200)]
        change = MirrorPage(PYPI, NUMPY, PageHead(), kept=keep(NUMPY, files).kept)
        await world.engine.store.apply([change], who="[mirror]")
        world.mirror.fresh.add("numpy")
        assert len(names(await page(world, PYPI))) == 200
    assert len(handed_over) == in_workers
