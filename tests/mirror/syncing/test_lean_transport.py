"""The fast transport: plain answers it takes itself, everything else is asked again by the careful one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.syncing.lean_transport import LeanTransport
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Unchanged

WHEEL = build_wheel("demo", "1.0")


@asynccontextmanager
async def transport(
    upstream: ScriptedUpstream, *, site: Site | None = None, **more: Any
) -> AsyncIterator[LeanTransport]:
    settings = MirrorSettings(connect_timeout=2.0, read_timeout=0.4, page_deadline=2.0, first_pause=0.001, **more)
    site = site or Site(base=upstream.url)
    made = LeanTransport(UpstreamClient(settings, SystemClock()), site, settings)
    try:
        yield made
    finally:
        await made.close()


async def test_connections_are_used_again(upstream: ScriptedUpstream):
    upstream.add("demo", WHEEL)
    upstream.serials["demo"] = 7
    async with transport(upstream) as lean:
        first = await lean.page(f"{upstream.url}demo/")
        assert isinstance(first, Document)
        assert first.validators["serial"] == "7"
        (pool,) = lean._pools.values()
        (connection,) = pool._idle
        assert isinstance(await lean.page(f"{upstream.url}demo/", validators=first.validators), Unchanged)
        assert pool._idle == [connection]
        assert await lean.small_file(upstream.file_url(WHEEL.filename), WHEEL.size) == WHEEL.data
        assert isinstance(await lean.small_file(f"{upstream.root}files/none", 3), AbsentAnswer)
        assert isinstance(await lean.page(f"{upstream.url}none/"), AbsentAnswer)


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.status(503),
        behaviours.truncated(),
        behaviours.cut_chunked(),
        behaviours.reset(),
        behaviours.reset(0),
        behaviours.garbage(),
        behaviours.length_off_by(5),
        behaviours.silent(),
        behaviours.silent_after(),
        behaviours.status(429, headers={"Retry-After": "0"}),
    ],
)
async def test_trouble_is_judged_by_the_careful_one(upstream: ScriptedUpstream, behaviour: Any):
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviour, times=1)
    async with transport(upstream) as lean:
        answer = await lean.page(f"{upstream.url}demo/")
        assert isinstance(answer, Document)
        assert upstream.count("page") == 2


@pytest.mark.parametrize("behaviour", [behaviours.gzipped(), behaviours.until_close(), behaviours.dripping_head(0.0)])
async def test_unusual_answers_are_read_all_the_same(upstream: ScriptedUpstream, behaviour: Any):
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviour)
    async with transport(upstream) as lean:
        answer = await lean.page(f"{upstream.url}demo/")
        assert isinstance(answer, Document)
        assert b"demo-1.0" in answer.body


async def test_chunks_are_put_together(upstream: ScriptedUpstream):
    upstream.add("demo", WHEEL)
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"]
    pieces += [b'7;x=1\r\n{"a": [\r\n', b"3\r\n1]}\r\n0\r\n\r\n"]
    upstream.script("page", lambda _asked, _answer: behaviours.Raw(pieces=pieces))
    async with transport(upstream) as lean:
        answer = await lean.page(f"{upstream.url}demo/")
        assert isinstance(answer, Document)
        assert answer.body == b'{"a": [1]}'
        assert upstream.count("page") == 1


async def test_a_file_of_another_size_is_not_taken(upstream: ScriptedUpstream):
    upstream.add("demo", WHEEL)
    async with transport(upstream) as lean:
        assert await lean.small_file(upstream.file_url(WHEEL.filename), WHEEL.size + 1) is None


async def test_credentials_stay_with_the_upstream(upstream: ScriptedUpstream):
    async with ScriptedUpstream(host="localhost") as other:
        other.add("demo", WHEEL)
        upstream.add("demo", WHEEL)
        site = Site(base=upstream.url, authorization="Basic c2VjcmV0")
        async with transport(upstream, site=site, allow_networks=("127.0.0.0/8", "::1")) as lean:
            await lean.small_file(upstream.file_url(WHEEL.filename), WHEEL.size)
            await lean.small_file(other.file_url(WHEEL.filename), WHEEL.size)
    assert upstream.asked[0].headers["Authorization"] == "Basic c2VjcmV0"
    assert "Authorization" not in other.asked[0].headers


async def test_a_link_to_a_private_address_is_not_followed(upstream: ScriptedUpstream):
    async with ScriptedUpstream(host="localhost") as inside:
        inside.add("demo", WHEEL)
        async with transport(upstream) as lean:
            assert await lean.small_file(inside.file_url(WHEEL.filename), WHEEL.size) is None
            async with lean.file(inside.file_url(WHEEL.filename)) as answer:
                assert isinstance(answer, Failed)
                assert answer.kind == "forbidden"
        assert inside.asked == []


async def test_many_questions_at_once_each_get_their_own_answer(upstream: ScriptedUpstream):
    wheels = [build_wheel("demo", f"1.{number}") for number in range(30)]
    upstream.add("demo", *wheels)
    async with transport(upstream) as lean:
        found = await asyncio.gather(
            *(lean.small_file(upstream.file_url(wheel.filename), wheel.size) for wheel in wheels)
        )
    assert found == [wheel.data for wheel in wheels]
