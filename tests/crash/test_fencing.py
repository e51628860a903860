"""Processes over one store take turns by a lease: killed, and stopped for longer than their turn, in the middle of their commits.

The log is the witness: each commit names the token of its holder, and no commit of an earlier holder is behind one of a later one.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import Serial
from tests.conftest import Tally
from tests.crash.processes import PATIENCE_SECONDS
from tests.crash.test_sqlite_crashes import environment
from tests.database_server import DatabaseServer

pytestmark = pytest.mark.timeout(300)

SECONDS = 0.6
"""The time of the lease. Slow processes lose it, and go on."""
ROUNDS = 6

_CHILD = f"""
import asyncio, sys
from pathlib import Path
from pkgindex_core.changes import PutUser
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import User
from pkgindex_core.tools import leases

async def main(name, data, url):
    async with Engine.open(Settings(data=Path(data), store=url), mirrors=False, create=False) as engine:
        store = engine.store

        async def work(holding):
            holding.check = lambda: None  # the store alone is asked, as if the process were stopped behind the look at its own clock
            while True:
                change, who = PutUser(User(name=f"{{name}}{{holding.token}}")), f"{{name}} {{holding.token}}"
                await holding.guarded(lambda held: store.apply([change], who=who, require=[held]))
                await asyncio.sleep(0.01)

        while True:
            try:
                await leases.while_held(store, "work", name, work, seconds={SECONDS}, pause=lambda: asyncio.sleep(0.02))
            except Unavailable:
                pass

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The index store; empty: in the data directory."""
    if request.param == "sqlite":
        yield ""
        return
    server: DatabaseServer = request.getfixturevalue("database_server")
    server.sql("CREATE DATABASE fencing")
    yield server.url("fencing")
    server.sql("DROP DATABASE fencing WITH (FORCE)")


Start = Callable[[str], Awaitable[asyncio.subprocess.Process]]


@asynccontextmanager
async def workers(data: Path, url: str) -> AsyncIterator[Start]:
    """Starts processes that commit while they hold the lease, under their name and token."""
    every: list[asyncio.subprocess.Process] = []

    async def start(name: str) -> asyncio.subprocess.Process:
        words = (sys.executable, "-c", _CHILD, name, str(data), url)
        every.append(await asyncio.create_subprocess_exec(*words, env=environment()))
        return every[-1]

    try:
        yield start
    finally:
        for each in every:
            await kill(each)


async def kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


class Log:
    """The commits of the workers."""

    def __init__(self, engine: Engine, begun: Serial) -> None:
        self._store = engine.store
        self._begun = begun

    async def has(self, name: str, *, seconds: float = PATIENCE_SECONDS, after: Serial | None = None) -> bool:
        """Whether a worker commits within a time, after a serial (now)."""
        after = await self._store.head() if after is None else after
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    commits = await self._store.commits(after)
                    if any(commit.who.split()[0] == name for commit in commits):
                        return True
                    after = commits[-1].serial if commits else after
                    await self._store.wait(after, timeout=seconds)
        return False

    async def tokens(self) -> list[int]:
        found, after = list[int](), self._begun
        while commits := await self._store.commits(after):
            found += [int(commit.who.split()[1]) for commit in commits]
            after = commits[-1].serial
        return found


async def test_a_killed_holder_is_followed_by_another_one(tmp_path: Path, url: str, tally: Tally) -> None:
    data = tmp_path / "data"
    await prepare_store(data, url)
    async with Engine.open(Settings(data=data, store=url), mirrors=False) as engine, workers(data, url) as start:
        log = Log(engine, await engine.store.head())
        holder = await start("worker0")
        assert await log.has("worker0")
        for turn in range(1, ROUNDS + 1):
            then = await start(f"worker{turn}")
            await kill(holder)
            assert await log.has(f"worker{turn}")
            holder = then
        await kill(holder)
        tokens = await log.tokens()
        assert tokens == sorted(tokens)
        assert len(set(tokens)) > ROUNDS
    tally(f"killed holders of a lease ({_place(url)})", ROUNDS)


async def test_a_holder_that_was_stopped_commits_nothing_when_it_goes_on(
    tmp_path: Path, url: str, tally: Tally
) -> None:
    """If it is stopped inside a transaction of SQLite nobody can take over, and that commit counts: such a round is repeated."""
    data = tmp_path / "data"
    await prepare_store(data, url)
    chance = random.Random(7)
    overtaken = turn = 0
    async with Engine.open(Settings(data=data, store=url), mirrors=False) as engine, workers(data, url) as start:
        log = Log(engine, await engine.store.head())
        while overtaken < ROUNDS:
            turn += 1
            old = await start(f"old{turn}")
            assert await log.has(f"old{turn}")
            await asyncio.sleep(chance.random() / 20)  # so that it is stopped somewhere in its work
            old.send_signal(signal.SIGSTOP)
            stopped = await engine.store.head()
            new = await start(f"new{turn}")
            is_overtaken = await log.has(f"new{turn}", seconds=20 * SECONDS, after=stopped)
            old.send_signal(signal.SIGCONT)
            if is_overtaken:
                overtaken += 1
                assert await log.has(f"new{turn}"), "it keeps its turn"
                await kill(new)
                assert await log.has(f"old{turn}"), "it takes its turn again"
            for each in (old, new):
                await kill(each)
        tokens = await log.tokens()
        assert tokens == sorted(tokens), "a commit of a holder whose turn was over"
    tally(f"holders that were stopped for longer than their lease ({_place(url)})", overtaken)


async def prepare_store(data: Path, url: str) -> None:
    async with Engine.open(Settings(data=data, store=url), mirrors=False) as engine:
        await engine.prepare()


def _place(url: str) -> str:
    return "PostgreSQL" if url else "SQLite"
