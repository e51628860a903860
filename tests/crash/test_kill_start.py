"""kill -9 while a new store begins: the next start goes on, and the store and its blobs have one identity."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.failpoints import POINTS
from pkgindex_core.services.administering.ownership import identity_of
from tests.crash.oracle import spooled
from tests.crash.processes import ServerProcess, Starter, running

STEPS = sorted(point for point in POINTS if point.startswith("owner."))


async def identity(data: Path) -> str:
    store = await SqliteIndex.open(data / "index.sqlite", SystemClock(), may_create=False)
    try:
        return await identity_of(store)
    finally:
        await store.close()


async def killed_start(starter: Starter, data: Path, point: str) -> None:
    server = ServerProcess(starter, data)
    with pytest.raises(AssertionError, match="did not start"):
        await server.start(f"{point}=kill")
    assert await server.ended() == -9


@pytest.mark.parametrize("point", [*STEPS, "commit.begun", "commit.written", "commit.committed"])
async def test_a_first_start_that_was_killed_goes_on(point: str, starter: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await killed_start(starter, data, point)
    async with running(ServerProcess(starter, data)):
        assert (data / "blobs" / "owner").read_text().strip() == await identity(data)
    left = spooled(data)
    assert len(left) == (point == "owner.written")  # swept when it is old: its process may live


async def test_servers_that_begin_one_store_at_once_agree(starter: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    servers = [ServerProcess(starter, data) for _ in range(4)]
    try:
        await asyncio.gather(*(server.start() for server in servers))
    finally:
        for server in servers:
            await server.kill()
    assert (data / "blobs" / "owner").read_text().strip() == await identity(data)


async def test_servers_with_two_databases_that_begin_over_the_same_blobs(tmp_path: Path) -> None:
    """One of them has the blobs, and the other is told."""

    async def begin(number: int) -> str:
        settings = Settings(data=tmp_path / str(number), blobs=(tmp_path / "blobs").as_uri())
        async with Engine.open(settings, mirrors=False) as engine:
            await engine.prepare()
            return await engine.uuid()

    told = await asyncio.gather(*(begin(number) for number in range(4)), return_exceptions=True)
    begun = [identity for identity in told if isinstance(identity, str)]
    assert begun == [(tmp_path / "blobs" / "owner").read_text().strip()]
    for error in (each for each in told if isinstance(each, BaseException)):
        assert "different indexes" in str(error) or "empty or missing" in str(error)
