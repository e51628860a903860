"""A page or list that somebody doubts is asked for again at the next request, and not before."""

from __future__ import annotations

import asyncio

from pkgindex_core.protocols.sources import Doubting
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough.pages.doubts import Doubts
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import DEMO, INDEX, MakeMirror

OLD, NEW = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")


async def test_the_next_request_asks_and_the_one_after_it_does_not(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url)
    assert isinstance(mirror.readthrough, Doubting)
    await mirror.refresh()
    upstream.add("demo", NEW)
    await mirror.refresh()
    assert upstream.count("page") == 1
    mirror.readthrough.doubt(mirror.index, DEMO)
    assert upstream.count("page") == 1
    (standing,) = await mirror.store.standings(DEMO, [INDEX])
    assert not mirror.readthrough.is_current(mirror.index, DEMO, standing)
    await asyncio.gather(*(mirror.refresh() for _ in range(5)))
    assert upstream.count("page") == 2
    assert set(await mirror.files()) == {OLD.filename, NEW.filename}
    await mirror.refresh()
    assert upstream.count("page") == 2


async def test_it_holds_after_a_restart_that_knows_a_fresh_answer(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """A doubt also holds against the last answer that is in the store."""
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    await mirror.settle()
    mirror.readthrough._checks.forget(INDEX, DEMO)
    mirror.readthrough.doubt(mirror.index, DEMO)
    await mirror.refresh()
    assert upstream.count("page") == 2


async def test_it_lasts_until_the_upstream_has_answered(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    mirror.readthrough.doubt(mirror.index, DEMO)
    upstream.script("page", behaviours.status(503))
    assert (await mirror.refresh()).state == "stale"
    upstream.behave()
    async with asyncio.timeout(20):
        while (await mirror.refresh()).state != "fresh":
            mirror.clock.advance(1.0)
            await asyncio.sleep(0.01)


async def test_a_list_is_doubted_by_itself(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", OLD)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    await mirror.readthrough.names(mirror.index)
    mirror.readthrough.doubt(mirror.index, None)
    await mirror.refresh()
    await mirror.readthrough.names(mirror.index)
    await mirror.readthrough.names(mirror.index)
    assert (upstream.count("page"), upstream.count("names")) == (1, 2)


def test_an_answer_ends_the_doubt_that_it_was_asked_under_and_no_later_one() -> None:
    doubts = Doubts(2)
    doubts.add(INDEX, DEMO)
    first = doubts.of(INDEX, DEMO)
    doubts.add(INDEX, DEMO)
    doubts.settle(INDEX, DEMO, first)
    later = doubts.of(INDEX, DEMO)
    assert later is not None
    doubts.settle(INDEX, DEMO, later)
    assert doubts.of(INDEX, DEMO) is None
