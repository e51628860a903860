"""Clients change and read the same projects at several servers, while servers are killed: their histories are linearizable.

`PKGINDEX_TEST_HISTORIES=10000` says how many requests are recorded for each store (see tests/README.md).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import IndexConfig, User
from pkgindex_core.names import IndexName
from tests.cluster.linearizability import violation
from tests.cluster.project_model import ProjectModel
from tests.cluster.recording import INDEXES, Recorder
from tests.conftest import Tally
from tests.crash.processes import ServerProcess, Starter, running
from tests.database_server import DatabaseServer
from tests.http.conftest import PASSWORD, hash_of

REQUESTS = int(os.environ.get("PKGINDEX_TEST_HISTORIES", "500"))
PROJECTS_AT_ONCE = 3
CLIENTS = 3
"""Clients of each project."""
LENGTH = 20
"""Requests of each client to one project."""

Trouble = Callable[[Recorder], Awaitable[str]]


async def _prepare(data: Path, store: str = "", blobs: str = "") -> None:
    indexes = [
        PutIndex(IndexConfig(name=IndexName(name), volatile=kind == "made", acl_upload=("root",)))
        for kind, name in INDEXES.items()
    ]
    async with Engine.open(Settings(data=data, store=store, blobs=blobs), mirrors=False) as engine:
        await engine.store.apply([PutUser(User(name="root", password_hash=hash_of(PASSWORD))), *indexes], who="[test]")


async def _killed(server: ServerProcess, recorder: Recorder) -> None:
    with recorder.without(server):
        await server.kill()
        await server.start()


def _children(server: ServerProcess) -> Sequence[int]:
    return [int(each) for each in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


async def _check(
    servers: Sequence[ServerProcess], troubles: Sequence[Trouble], dice: random.Random, tally: Tally, place: str
) -> None:
    """Record, make trouble meanwhile, and check each project."""
    recorder = Recorder(servers, dice)
    is_over = asyncio.Event()

    async def trouble() -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), dice.uniform(0.3, 1.5))
            if is_over.is_set():
                return
            tally(f"{await dice.choice(troubles)(recorder)} during recorded requests ({place})", 1)

    async def projects(row: int) -> None:
        number = 0
        while recorder.recorded < REQUESTS:
            project = f"p{row}x{number}"
            await asyncio.gather(*(recorder.work(f"c{client}", project, LENGTH) for client in range(CLIENTS)))
            number += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(trouble())
        await asyncio.gather(*(projects(row) for row in range(PROJECTS_AT_ONCE)))
        is_over.set()
    for project in tuple(recorder.histories):
        await recorder.look_everywhere(project)
    for project, history in recorder.histories.items():
        found = violation(ProjectModel(), history)
        assert found is None, f"{project}: {found}"
    unknown = sum(each.answer is None for history in recorder.histories.values() for each in history)
    print(place, dict(sorted(recorder.counts.items())))
    assert recorder.recorded >= REQUESTS
    tally(f"recorded requests in linearizable histories ({place})", recorder.recorded)
    tally(f"recorded requests without a known outcome ({place})", unknown)


@asynccontextmanager
async def _all_running(servers: Sequence[ServerProcess]) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(running(server))
        yield


@pytest.mark.timeout(300 + REQUESTS // 5)
async def test_workers_and_servers_over_one_directory(starter: Starter, tmp_path: Path, tally: Tally) -> None:
    """Two servers over one SQLite database, of which one has two workers."""
    data, dice = tmp_path / "data", random.Random(REQUESTS)
    await _prepare(data)
    one, two = ServerProcess(starter, data, "--workers", "2"), ServerProcess(starter, data)

    async def kill_server(recorder: Recorder) -> str:
        await _killed(dice.choice([one, two]), recorder)
        return "kills of servers"

    async def kill_worker(recorder: Recorder) -> str:
        """The pauses before a worker is started again grow, until the server is killed."""
        if children := _children(one):
            with suppress(ProcessLookupError):
                os.kill(dice.choice(children), signal.SIGKILL)
        return "kills of workers"

    async with _all_running([one, two]):
        await _check([one, two], [kill_server, kill_worker], dice, tally, "SQLite")


@pytest.mark.timeout(300 + REQUESTS // 5)
async def test_servers_over_one_database(
    database_server: DatabaseServer, starter: Starter, tmp_path: Path, tally: Tally
) -> None:
    """Three servers over PostgreSQL."""
    dice = random.Random(REQUESTS)
    database_server.sql("CREATE DATABASE histories")
    try:
        store, blobs = database_server.url("histories"), f"file://{tmp_path}/blobs"
        await _prepare(tmp_path / "data", store, blobs)
        words = ("--store", store, "--blobs", blobs)
        servers = [ServerProcess(starter, tmp_path / f"data{number}", *words) for number in range(3)]

        async def kill_server(recorder: Recorder) -> str:
            await _killed(dice.choice(servers), recorder)
            return "kills of servers"

        async def end_backends(_recorder: Recorder) -> str:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'histories'"
            await asyncio.to_thread(database_server.sql, sql)
            return "ends of all connections to the database"

        async with _all_running(servers):
            await _check(servers, [kill_server, end_backends], dice, tally, "PostgreSQL")
    finally:
        database_server.sql("DROP DATABASE histories WITH (FORCE)")
