"""For how long an answer of an upstream counts, who waits for the next one, and how old what is stored may become."""

from __future__ import annotations

import pytest

from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import DEMO, MakeMirror, Mirror

WHEEL = build_wheel("demo", "1.0")


@pytest.fixture
async def mirror(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> Mirror:
    """A mirror that has a page, fresh for 1,000 seconds."""
    upstream.add("demo", WHEEL)
    made = await make_mirror(upstream.url, config={"mirror_cache_expiry": 1000})
    await made.refresh()
    return made


async def landed(mirror: Mirror) -> None:
    """Wait for what is asked in the background."""
    while mirror.readthrough._asking._flights:
        for flight in list(mirror.readthrough._asking._flights._flights.values()):
            await flight.result()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 1000),
        ({"Cache-Control": "max-age=600, public"}, 600),
        ({"Cache-Control": "max-age=600", "Age": "150"}, 450),
        ({"Cache-Control": "max-age=5000"}, 1000),
        ({"Cache-Control": "max-age=900, s-maxage=400"}, 400),
        ({"Cache-Control": "max-age=0, must-revalidate"}, 300),
        ({"Cache-Control": "no-cache"}, 300),
    ],
)
async def test_the_upstreams_word_counts_within_bounds(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, headers: dict[str, str], seconds: int
) -> None:
    upstream.page_headers = headers
    upstream.add("demo", WHEEL)
    first = await make_mirror(upstream.url, config={"mirror_cache_expiry": 1000})
    await first.refresh()
    for turn in range(2):  # the second time after an answer without news, which is noted
        first.clock.advance(seconds - 1)
        restarted = await make_mirror(upstream.url, of=first, config={"mirror_cache_expiry": 1000})
        await restarted.refresh()
        assert upstream.count("page") == 1 + turn
        first.clock.advance(2)
        assert not await first.is_fresh()
        await first.refresh()
        await first.readthrough._noted.settle()
        assert upstream.count("page") == 2 + turn


async def test_an_answer_without_news_says_anew_how_long_the_page_is_fresh(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.page_headers = {"Cache-Control": "max-age=600", "Age": "200"}
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 1000})
    await mirror.refresh()
    for headers, seconds in (({"Cache-Control": "max-age=900"}, 900), ({}, 900), ({"Cache-Control": "no-cache"}, 300)):
        mirror.clock.advance(1000)
        upstream.page_headers = headers
        await mirror.refresh()
        mirror.clock.advance(seconds - 1)
        assert await mirror.is_fresh(), headers
        mirror.clock.advance(2)
        assert not await mirror.is_fresh(), headers


async def test_a_page_in_use_is_asked_for_before_it_expires(mirror: Mirror, upstream: ScriptedUpstream) -> None:
    newer = build_wheel("demo", "2.0")
    upstream.add("demo", newer)
    mirror.clock.advance(799)
    assert await mirror.is_fresh()
    await landed(mirror)
    assert upstream.count("page") == 1
    mirror.clock.advance(2)
    for _ in range(3):
        assert await mirror.is_fresh()
    await landed(mirror)
    await mirror.settle()
    assert upstream.count("page") == 2
    assert set(await mirror.files()) == {WHEEL.filename, newer.filename}
    mirror.clock.advance(799)
    assert await mirror.is_fresh()
    assert upstream.count("page") == 2


async def test_a_page_that_nobody_wants_is_not_asked_for(mirror: Mirror, upstream: ScriptedUpstream) -> None:
    mirror.clock.advance(5000)
    await landed(mirror)
    assert upstream.count("page") == 1


async def test_asking_ahead_in_vain_leaves_the_page_fresh(mirror: Mirror, upstream: ScriptedUpstream) -> None:
    upstream.script("page", behaviours.status(500))
    mirror.clock.advance(801)
    assert await mirror.is_fresh()
    await landed(mirror)
    asked = upstream.count("page")
    assert asked == 1 + 3
    for _ in range(3):
        assert await mirror.is_fresh()
        await landed(mirror)
    assert upstream.count("page") == asked
    mirror.clock.advance(200)
    freshness = await mirror.refresh()
    assert (freshness.state, freshness.reason) == ("stale", "it answered 500")


async def test_a_page_may_be_served_while_its_upstream_is_asked(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 100}, stale_while_revalidate=60)
    await mirror.refresh()
    upstream.script("page", behaviours.late(0.1))
    mirror.clock.advance(159)
    freshness = await mirror.refresh()
    assert (freshness.state, freshness.reason) == ("stale", "its upstream is being asked again")
    await landed(mirror)
    assert upstream.count("page") == 2
    assert (await mirror.refresh()).state == "fresh"
    # Longer after its expiry the client waits.
    mirror.clock.advance(161)
    assert (await mirror.refresh()).state == "fresh"
    assert upstream.count("page") == 3


async def test_with_an_expiry_of_zero_every_client_waits(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0}, stale_while_revalidate=60)
    for turn in range(3):
        assert (await mirror.refresh()).state == "fresh"
        assert upstream.count("page") == turn + 1


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("noted", [False, True])
async def test_what_is_stored_is_served_up_to_the_limit(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, *, restarted: bool, noted: bool
) -> None:
    config = {"mirror_cache_expiry": 100}
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config=config, stale_limit=500)
    await mirror.refresh()
    await mirror.readthrough.names(mirror.index)
    if noted:
        mirror.clock.advance(200)
        await mirror.refresh()
        await mirror.readthrough.names(mirror.index)
        await mirror.readthrough._noted.settle()
    upstream.script("page", behaviours.status(500))
    upstream.script("names", behaviours.status(500))

    async def later(seconds: float) -> Mirror:
        mirror.clock.advance(seconds)
        return await make_mirror(upstream.url, of=mirror, config=config, stale_limit=500) if restarted else mirror

    old = await later(499)
    assert (await old.refresh()).state == "stale"
    assert (await old.readthrough.names(old.index)).freshness.state == "stale"
    old = await later(2)
    limit = r"it answered 500, and what is stored is older than stale_limit \(500 s\)"
    with pytest.raises(Unavailable, match=limit):
        await old.refresh()
    with pytest.raises(Unavailable, match=limit):
        await old.readthrough.names(old.index)
    upstream.script("page", behaviours.status(403))
    old = await later(2)
    with pytest.raises(BadUpstream, match="it answered 403"):
        await old.refresh()
    # What is stored is still there, and counts as soon as the upstream says so.
    upstream.behave()
    old = await later(10)
    assert (await old.refresh()).state == "fresh"
    assert await old.standing() == await mirror.standing(DEMO)


async def test_the_limit_counts_for_a_silent_upstream(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(
        upstream.url, config={"mirror_cache_expiry": 100}, stale_limit=500, stale_wait=0.05, read_timeout=5.0
    )
    await mirror.refresh()
    upstream.script("page", behaviours.silent())
    mirror.clock.advance(499)
    assert (await mirror.refresh()).state == "stale"
    mirror.clock.advance(2)
    with pytest.raises(Unavailable, match="older than stale_limit"):
        await mirror.refresh()
