"""Pages and sidecars over connections of our own: plain answers are taken, and trouble is told as aiohttp tells it."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror import urls
from pkgindex_mirror.retry import RetryPolicy
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.upstreams import lean_connections, short_answers
from pkgindex_mirror.upstreams.sites import Site
from pkgindex_mirror.upstreams.upstream import UpstreamClient
from pkgindex_mirror.upstreams.upstream_answers import AbsentAnswer, Document, Failed, Transfer, Unchanged

WHEEL = build_wheel("demo", "1.0")
ONCE = RetryPolicy(attempts=1, first=0.001, deadline=5.0)


@asynccontextmanager
async def asking(upstream: ScriptedUpstream, *, short: bool = True, **more: Any) -> AsyncIterator[UpstreamClient]:
    """A client of its own. `short` False: aiohttp asks for everything."""
    settings = MirrorSettings(connect_timeout=2.0, read_timeout=0.4, page_deadline=5.0, first_pause=0.001, **more)
    client = UpstreamClient(settings, SystemClock())
    if not short:
        leave_to_aiohttp(client, upstream)
    try:
        yield client
    finally:
        await client.close()


def leave_to_aiohttp(client: UpstreamClient, upstream: ScriptedUpstream) -> None:
    client.connections._short_answers()._left[urls.origin(upstream.url)] = math.inf


async def page(client: UpstreamClient, upstream: ScriptedUpstream, **more: Any) -> Any:
    return await client.document(Site(base=upstream.url), f"{upstream.url}demo/", policy=ONCE, **more)


async def test_a_connection_is_used_again_for_pages_and_sidecars(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    site = Site(base=upstream.url)
    async with asking(upstream) as client:
        first = await page(client, upstream)
        assert isinstance(first, Document)
        (pool,) = client.connections._short_answers()._pools.values()
        (connection,) = pool._idle
        assert isinstance(await page(client, upstream, validators=first.validators), Unchanged)
        assert isinstance(await client.document(site, f"{upstream.url}none/"), AbsentAnswer)
        sidecar = urls.with_suffix(upstream.file_url(WHEEL.filename), ".metadata")
        async with client.file(site, sidecar, short=True) as answer:
            assert isinstance(answer, Transfer)
            assert [data async for data in answer.chunks()] == [WHEEL.metadata]
        assert pool._idle == [connection]
        assert client.connections._configured is None, "aiohttp was not needed"


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.status(503, headers={"Retry-After": "7"}),
        behaviours.status(429, headers={"Retry-After": "7"}),
        behaviours.status(403),
        behaviours.truncated(),
        behaviours.cut_chunked(),
        behaviours.reset(),
        behaviours.garbage(),
        behaviours.silent(),
        behaviours.silent_after(),
        behaviours.gzipped(),
        behaviours.until_close(),
        behaviours.dripping_head(0.0),
    ],
)
async def test_an_answer_means_what_it_means_to_aiohttp(upstream: ScriptedUpstream, behaviour: Any) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviour)
    told = []
    for short in (True, False):
        async with asking(upstream, short=short) as client:
            answer = await page(client, upstream)
            told.append(
                (answer.kind, answer.again, answer.healthy, answer.down, answer.rest, answer.retry_after)
                if isinstance(answer, Failed)
                else (type(answer), getattr(answer, "body", None))
            )
    assert told[0] == told[1]


async def test_an_upstream_whose_answers_are_not_plain_is_asked_once(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.until_close())
    async with asking(upstream) as client:
        for _ in range(3):
            assert isinstance(await page(client, upstream), Document)
    assert upstream.count("page") == 4, "the first answer showed that aiohttp is needed"


async def test_a_silent_upstream_is_not_asked_twice(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.silent())
    async with asking(upstream) as client:
        answer = await page(client, upstream)
    assert isinstance(answer, Failed)
    assert upstream.count("page") == 1


async def test_a_connection_that_idled_for_long_is_not_used(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean_connections, "_IDLE_SECONDS", 0.0)
    upstream.add("demo", WHEEL)
    async with asking(upstream) as client:
        assert isinstance(await page(client, upstream), Document)
        (pool,) = client.connections._short_answers()._pools.values()
        (connection,) = pool._idle
        while connection.is_open:
            await asyncio.sleep(0)
        assert isinstance(await page(client, upstream), Document)
        assert connection not in pool._idle


async def test_an_answer_that_is_too_long_is_left_to_aiohttp(
    upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_answers, "LONGEST", 16)
    upstream.add("demo", WHEEL)
    async with asking(upstream) as client:
        assert isinstance(await page(client, upstream), Document)
        assert client.connections._configured is not None


class _CountingResolver:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
        self.asked.append(host)
        await asyncio.sleep(0)
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}
        return [found]

    async def close(self) -> None:
        pass


async def test_connections_share_the_addresses_of_a_host(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    resolver: Any = _CountingResolver()
    base = upstream.url.replace("127.0.0.1", "index.example.org")
    settings = MirrorSettings(connect_timeout=2.0, read_timeout=5.0)
    client = UpstreamClient(settings, SystemClock(), resolver=resolver)
    try:
        answers = await asyncio.gather(*(client.document(Site(base=base), f"{base}demo/") for _ in range(8)))
    finally:
        await client.close()
    assert {type(each) for each in answers} == {Document}
    assert resolver.asked == ["index.example.org"]


async def test_a_host_that_only_pages_name_may_not_be_private(upstream: ScriptedUpstream) -> None:
    upstream.add("demo", WHEEL)
    resolver: Any = _CountingResolver()
    client = UpstreamClient(MirrorSettings(), SystemClock(), resolver=resolver)
    elsewhere = upstream.url.replace("127.0.0.1", "files.example.org")
    try:
        answer = await client.document(Site(base="https://index.example.org/simple/"), f"{elsewhere}demo/", policy=ONCE)
    finally:
        await client.close()
    assert isinstance(answer, Failed)
    assert answer.kind == "forbidden"
    assert upstream.count("page") == 0
