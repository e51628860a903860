"""What long project lists cost in memory: two mirrors of `PKGINDEX_TEST_NAMES` names each (60,000 unless told, see tests/README.md)."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pkgindex_core.changes import PutIndex
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.testing.configs import mirror_config

NAMES = int(os.environ.get("PKGINDEX_TEST_NAMES", "60000"))
FEW = 6_000_000
"""Bytes for everything that does not grow with the list: a batch of each stream, a part that is committed."""


def document(first: int) -> bytes:
    """A list as PyPI writes it: every second name is in the other one too."""
    entries = (
        f'{{"_last-serial":{number},"name":"Some-Project.{number:07}"}}' for number in range(first, first + NAMES)
    )
    return f'{{"meta":{{"api-version":"1.4"}},"projects":[{",".join(entries)}]}}'.encode()


@asynccontextmanager
async def upstreams(*bodies: bytes) -> AsyncIterator[list[str]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        body = bodies[int(request.path.strip("/"))]
        return web.Response(body=body, headers={"Content-Type": JSON_V1})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield [f"http://127.0.0.1:{runner.addresses[0][1]}/{number}/" for number in range(len(bodies))]
    finally:
        await runner.cleanup()


async def peak(work: Callable[[], Awaitable[Any]]) -> tuple[Any, int]:
    """What a piece of work allocated at most, beyond what was there."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    result = await work()
    return result, tracemalloc.get_traced_memory()[1] - before


@pytest.mark.timeout(120 + NAMES // 1000)
async def test_long_lists_are_never_held_as_strings(tmp_path: Path, tally: Callable[[str, int], None]) -> None:
    bodies = document(0), document(NAMES // 2)
    plugins = load_plugins(settings={"mirror": {"wait": 600.0}})
    async with (
        upstreams(*bodies) as (one, two),
        Engine.open(Settings(data=tmp_path, upstream=one, page_cache_bytes=0), plugins=plugins) as engine,
    ):
        await engine.prepare()
        second = mirror_config("root/second", two)
        both = IndexConfig(name=IndexName("root/both"), bases=(IndexName("root/pypi"), second.name))
        await engine.store.apply([PutIndex(second), PutIndex(both)], who="[test]")

        async def whole_list(media_type: str) -> int:
            answer = await engine.listings.projects(
                both.name, principal=Principal(), media_type=media_type, coding="gzip", if_none_match=None
            )
            assert answer.body is not None
            return len(answer.body)

        async def own_names() -> int:
            names = await engine.listings.names(second.name, principal=Principal())
            return sum([piece.count(b'"') // 2 async for piece in names.pieces])

        tracemalloc.start()
        try:
            # Each document is there while it is read, and its names after it, one after the other; nothing else grows with them.
            size, cost = await peak(partial(whole_list, JSON_V1))
            assert cost < FEW + 1.1 * sum(map(len, bodies)), f"{cost:,} bytes for lists of {sum(map(len, bodies)):,}"
            tally("kB at most for fetching and merging two lists", cost // 1000)
            for media_type in (JSON_V1, HTML_V1):
                size, cost = await peak(partial(whole_list, media_type))
                assert cost < FEW + 3 * size, f"{cost:,} bytes for a list of {size:,}"
            count, cost = await peak(own_names)
            assert (count, cost < FEW) == (NAMES, True), f"{cost:,} bytes"
        finally:
            tracemalloc.stop()
