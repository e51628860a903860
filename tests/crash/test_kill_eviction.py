"""A proxy with a bound dies at every step by which a file enters or leaves the cache, and at the step of a push that makes a file its own.

Afterwards no file is forgotten: the account is that of the disk, and every file that a page lists is served, since one that was removed is
fetched again.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.caching.account import HELD_SECONDS
from pkgindex_mirror.caching.notes import FILE, CacheNotes
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import MIRROR, ROOT, age_spools, examine_files, file_path, prepare_data, wait_until_ready
from tests.crash.processes import ServerProcess, Starter, running

Tally = Callable[[str, int], None]

STEPS = sorted(point for point in POINTS if point.startswith(("cache.", "copies.")))
WHEELS = [
    build_wheel(f"demo{number}", "1.0", files={"demo.bin": random.Random(number).randbytes(20_000)})
    for number in range(8)
]
SIZE = max(len(wheel.data) for wheel in WHEELS)
BOUND = 5 * SIZE
BOUNDED = {"PKGINDEX_PLUGINS__MIRROR__CACHE_SIZE": str(BOUND), "PKGINDEX_PLUGINS__MIRROR__ATTEMPTS": "1"}
TARGET = IndexName("root/target")


class LaterClock(SystemClock):
    """A clock of the time when no step of a dead server counts any more."""

    def now(self) -> Timestamp:
        return Timestamp(super().now() + int(2 * HELD_SECONDS * 1e6))


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        for number, wheel in enumerate(WHEELS):
            fake.add(f"demo{number}", wheel)
        yield fake


@pytest.mark.parametrize("point", STEPS)
async def test_killed_at_a_step_of_eviction(
    point: str, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.store.apply([PutIndex(IndexConfig(name=TARGET, acl_upload=("root",)))], who="[test]")
    server = ServerProcess(starter, data, **({} if point == "cache.stocked" else BOUNDED))
    async with running(server):
        for wheel in WHEELS[:5]:
            await check(server, wheel)
        assert await server.stop() == 0
    server = ServerProcess(starter, data, **BOUNDED)
    async with running(server, f"{point}=kill"):
        if point == "copies.made_own":
            assert await push(server, WHEELS[0]) is None
        # The first one is stored since the stop, so this is a use after it got its place, and it moves.
        for wheel in (WHEELS[0], *WHEELS[5:]):
            await ask(server.address, "/root/pypi/+simple/" + wheel.filename.split("-")[0] + "/")
            await ask(server.address, file_path(wheel, MIRROR))
        assert await server.ended() == -signal.SIGKILL
    age_spools(data)
    server = ServerProcess(starter, data, **BOUNDED)
    async with running(server):
        await wait_until_ready(server)
        for wheel in WHEELS:
            await check(server, wheel)
        if point == "copies.made_own":
            assert await push(server, WHEELS[0]) == 200
            await check(server, WHEELS[0], TARGET)
        assert await server.stop() == 0
    await account_is_right(data)
    await examine_files(data, files=1 + (point == "copies.made_own"))
    tally("kills", 1)
    tally("restarts", 1)


async def check(server: ServerProcess, wheel: BuiltFile, index: IndexName = MIRROR) -> None:
    """The page of a file is there, and so are its bytes."""
    page = await ask(server.address, f"/{index}/+simple/{wheel.filename.split('-')[0]}/")
    assert wheel.sha256.encode() in page.body
    answer = await ask(server.address, file_path(wheel, index))
    assert (answer.status, answer.is_whole, answer.body == wheel.data) == (200, True, True)


async def push(server: ServerProcess, wheel: BuiltFile) -> int | None:
    """Push a mirrored file to a hosted index; the status, None when the connection ended without an answer."""
    wish = {"name": wheel.filename.split("-")[0], "version": "1.0", "targetindex": TARGET}
    async with aiohttp.ClientSession() as client:
        try:
            async with client.request("PUSH", f"{server.url}/{MIRROR}", json=wish, headers=ROOT) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None


async def account_is_right(data: Path) -> None:
    """When the steps of dead servers were finished, the account is that of the disk, which keeps to the bound."""
    settings = Settings(data=data, plugins={"mirror": {"cache_size": BOUND}})
    async with Engine.open(settings, clock=LaterClock()) as engine:
        source = engine._offered.sources["mirror"]
        assert isinstance(source, ReadThrough)
        await source.cache.tend()
        stored = {path.name: path.stat().st_size for path in (data / "blobs/mirrored/sha256").glob("*/*")}
        found = await CacheNotes(engine.store).ledger()
        assert found is not None
        assert (found[0].kept, found[0].arriving, found[0].leaving) == (sum(stored.values()), {}, {})
        assert found[0].kept <= BOUND
        records = [note.key async for batch in engine.store.notes(FILE) for note in batch]
        assert sorted(records) == sorted(stored)


async def test_two_servers_over_one_directory_count_together(
    starter: Starter, upstream: ScriptedUpstream, tmp_path: Path, tally: Tally
) -> None:
    """Both fetch and evict the same files. One is killed in the middle, and started again."""
    data = tmp_path / "data"
    await prepare_data(data, upstream=upstream.url)
    servers = [ServerProcess(starter, data, **BOUNDED) for _ in range(2)]

    async def load(server: ServerProcess, seed: int) -> int:
        chosen = random.Random(seed)
        answers = 0
        for _ in range(40):
            wheel = chosen.choice(WHEELS)
            answer = await ask(server.address, file_path(wheel, MIRROR))
            if answer.is_whole:  # not while a server is killed
                assert (answer.status, answer.body == wheel.data) == (200, True), answer.body[:500]
                answers += 1
        return answers

    async with running(servers[0]), running(servers[1]):
        for wheel in WHEELS:
            await check(servers[0], wheel)
        counted = await asyncio.gather(*(load(server, seed) for seed in range(2) for server in servers))
        assert counted == [40] * 4
        loading = [asyncio.ensure_future(load(server, 7)) for server in servers]
        while upstream.count("file") < 60:
            await asyncio.sleep(0.01)
            if all(each.done() for each in loading):
                break
        await servers[1].kill()
        assert await loading[0] == 40
        await loading[1]
        await servers[1].start()
        for server in servers:
            for wheel in WHEELS:
                await check(server, wheel)
        assert [await server.stop() for server in servers] == [0, 0]
    await account_is_right(data)
    tally("kills", 1)
