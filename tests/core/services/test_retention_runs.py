"""Rules are applied while servers run: by one server at a time, again after a pause, and by another when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.writing.retaining import Retaining
from pkgindex_core.services.writing.retention_runs import LEASE, PAUSE_SECONDS, RetentionRuns
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.index_cases.values import hosted
from pkgindex_core.tools import leases
from tests.core.services.conftest import DEV

DEMO = ProjectName("demo")
BROKEN = IndexName("root/broken")


class Server:
    """The runs of one server. Its pauses last until the test ends them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pauses: asyncio.Queue[float] = asyncio.Queue()
        self.wake = asyncio.Event()
        self.runs = RetentionRuns(engine.store, lambda: engine.retaining, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.put_nowait(seconds)
        await self.wake.wait()
        self.wake.clear()

    async def paused(self) -> float:
        """Wait until it pauses; return for how long."""
        async with asyncio.timeout(60):
            return await self.pauses.get()


@asynccontextmanager
async def following(server: Server) -> AsyncIterator[Server]:
    task = asyncio.create_task(server.runs.follow())
    try:
        yield server
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine.open(Settings(data=tmp_path), mirrors=False) as opened:
        await opened.store.apply([PutUser(User(name="root")), PutIndex(index_config(DEV))], who="[test]")
        yield opened


async def put(engine: Engine, *versions: str, index: IndexName = DEV) -> None:
    for version in versions:
        file = hosted(f"demo-{version}.tar.gz", version=version)
        await engine.store.apply([PutFile(index, DEMO, file)], who="[test]")


async def ruled(engine: Engine, index: IndexName = DEV, **options: Any) -> None:
    await engine.store.apply([PutIndex(index_config(index, options=options))], who="[test]")


async def left(engine: Engine) -> list[str]:
    page = await engine.store.page(DEV, DEMO)
    return sorted(row.version for row in page.rows) if page else []


async def test_a_rule_is_applied_again_after_each_pause(engine: Engine) -> None:
    await put(engine, "1.0", "2.0", "3.0")
    await ruled(engine, retain_releases=2)
    async with following(Server(engine)) as server:
        assert await server.paused() == PAUSE_SECONDS
        assert await left(engine) == ["2.0", "3.0"]
        await put(engine, "4.0")
        server.wake.set()
        await server.paused()
        assert await left(engine) == ["3.0", "4.0"]


async def test_without_a_rule_there_is_no_lease(engine: Engine) -> None:
    await put(engine, "1.0", "2.0")
    async with following(Server(engine)) as server:
        await server.paused()
        assert await engine.store.note(leases.KIND, LEASE) is None
        await ruled(engine, retain_releases=1)
        server.wake.set()
        await server.paused()
        assert await engine.store.note(leases.KIND, LEASE) is not None
        assert await left(engine) == ["2.0"]
        await ruled(engine)
        server.wake.set()
        await server.paused()
        assert await engine.store.note(leases.KIND, LEASE) is None


async def test_one_server_does_it_and_another_takes_over(engine: Engine, tmp_path: Path) -> None:
    await ruled(engine, retain_releases=1)
    async with Engine.open(Settings(data=tmp_path), mirrors=False) as second, AsyncExitStack() as stack:
        await put(engine, "1.0", "2.0")
        async with following(Server(engine)) as one:
            assert await one.paused() == PAUSE_SECONDS
            two = await stack.enter_async_context(following(Server(second)))
            assert await two.paused() < PAUSE_SECONDS, "it tries again to get the lease"
        await put(engine, "3.0")
        two.wake.set()
        assert await two.paused() == PAUSE_SECONDS
        assert await left(engine) == ["3.0"]


async def test_a_failure_of_one_index_is_no_failure_of_the_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await ruled(engine, BROKEN, retain_releases=1)
    await put(engine, "1.0", "2.0")
    await ruled(engine, retain_releases=1)
    retain = Retaining.retain

    async def fails(self: Retaining, index: IndexName, **options: Any) -> Any:
        # The rule is dropped between the look for rules and the run.
        if index == BROKEN:
            await ruled(engine, BROKEN)
        return await retain(self, index, **options)

    monkeypatch.setattr(Retaining, "retain", fails)
    async with following(Server(engine)) as server:
        await server.paused()
    assert await left(engine) == ["2.0"]
    assert "the retention of root/broken is put off: root/broken has no retention rule" in caplog.text


async def test_a_server_with_a_wrong_clock_takes_no_release_for_old(engine: Engine) -> None:
    class Ahead(SystemClock):
        def now(self) -> Timestamp:
            return Timestamp(super().now() + 365 * 86_400_000_000)

    await ruled(engine, retain_age=90 * 86_400)
    for version in ("1", "2"):
        file = replace(hosted(f"demo-{version}.tar.gz", version=version), upload_time=SystemClock().now())
        await engine.store.apply([PutFile(DEV, DEMO, file)], who="[test]")
    retaining = Retaining(store=engine.store, blobs=engine.blobs, clock=Ahead())
    assert await retaining.retain(DEV, dry_run=True), "by that clock it is old"
    asked = asyncio.get_running_loop().time()
    lease = await leases.acquire(engine.store, LEASE, "ahead", seconds=60)
    assert lease is not None
    held = leases.HeldLease(engine.store, lease, seconds=60, asked=asked)
    assert await retaining.retain(DEV, dry_run=False, held=held) == []
