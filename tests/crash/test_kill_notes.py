"""kill -9 while notes are written: an acknowledged note is there, one that was not is whole or absent, and nothing else is harmed.

A note may be lost on its way. Then an upstream is asked once more, or a receiver is told once more.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.failpoints import POINTS
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools import leases
from pkgindex_mirror.readthrough import noted_checks
from pkgindex_mirror.sending import webhooks
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import HOSTED, MIRROR, prepare_data, upload
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.crash.test_sqlite_crashes import environment
from tests.mirror.receiver import Receiver, receiving

STEPS = sorted(point for point in POINTS if point.startswith("notes."))
DEMO = build_wheel("demo", "1.0")
PAGE = "/root/pypi/+simple/demo/"
LOOPBACK = {"PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS": '["127.0.0.0/8"]'}

_CHILD = """
import asyncio, os, sys
from pathlib import Path
from pkgindex_core import failpoints
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite.index import SqliteIndex

async def put(store, lane, number):
    version = await store.put_note("kind", f"{lane}", str(number).encode())
    print(f"acknowledged {lane} {number} {version}\\n", end="", flush=True)

async def main(path, points, width):
    store = await SqliteIndex.open(Path(path), SystemClock())
    failpoints.arm(points)
    for number in range(6):
        await asyncio.gather(*(put(store, lane, number) for lane in range(int(width))))
        await store.put_notes("many", {f"{key}": str(number).encode() for key in range(50)})
        print(f"acknowledged many {number} 0\\n", end="", flush=True)
    os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("turn", [1, 2, 7])
@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("point", STEPS)
async def test_killed_at_every_step_of_a_write(tmp_path: Path, point: str, turn: int, width: int) -> None:
    path = tmp_path / "index.db"
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _CHILD,
        str(path),
        f"{point}=kill@{turn}",
        str(width),
        stdout=asyncio.subprocess.PIPE,
        env=environment(),
    )
    output, _ = await asyncio.wait_for(child.communicate(), PATIENCE_SECONDS)
    assert child.returncode == -signal.SIGKILL
    said = [line.split()[1:] for line in output.decode().splitlines()]
    store = await SqliteIndex.open(path, ManualClock())
    try:
        assert await store.check() == []
        newest = {lane: (int(number), int(version)) for lane, number, version in said}
        many = [int(note.value) async for batch in store.notes("many") for note in batch]
        assert len({*many}) <= 1, "a batch is there whole or not at all"
        assert not many or len(many) == 50
        assert max(many, default=-1) >= newest.pop("many", (-1, 0))[0]
        for lane, (number, version) in newest.items():
            note = await store.note("kind", lane)
            assert note is not None
            assert (int(note.value), note.version) == (number, version) or int(note.value) == number + 1
        highest = max((version for _, version in newest.values()), default=0)
        assert (await store.put_note("kind", "later", b"") or 0) > highest
    finally:
        await store.close()


class Past(SystemClock):
    """An hour ago."""

    def now(self) -> Timestamp:
        return Timestamp(super().now() - 3_600_000_000)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        fake.add("demo", DEMO)
        yield fake


async def page_of_an_hour_ago(data: Path, upstream: ScriptedUpstream) -> None:
    """A data directory with a page that has expired."""
    await prepare_data(data, upstream=upstream.url)
    async with Engine.open(Settings(data=data), clock=Past()) as engine:
        config = (await engine.store.tree()).indexes[MIRROR]
        (standing,) = await engine.store.standings(ProjectName("demo"), [MIRROR])
        await engine.sources.of(config).refresh(config, ProjectName("demo"), standing)
        await engine.settle()
    assert upstream.count("page") == 1


async def get_page(server: ServerProcess) -> None:
    answer = await ask(server.address, PAGE)
    assert answer.status == 200
    assert DEMO.sha256.encode() in answer.body


async def test_a_restart_asks_nothing_while_an_answer_counts(
    starter: Starter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    await page_of_an_hour_ago(data, upstream)
    server = ServerProcess(starter, data)
    async with running(server):
        await get_page(server)
        assert await server.stop() == 0
    for _ in range(2):
        async with running(server):
            await get_page(server)
            assert await server.stop() == 0
        assert upstream.count("page") == 2


async def test_two_servers_over_one_directory_ask_once(
    starter: Starter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    await page_of_an_hour_ago(data, upstream)
    first, second = ServerProcess(starter, data), ServerProcess(starter, data)
    async with running(first), running(second):
        await get_page(first)
        assert await first.stop() == 0  # which notes at once what it would note within seconds
        await get_page(second)
        assert upstream.count("page") == 2
        assert await second.stop() == 0


@pytest.mark.parametrize("point", STEPS)
async def test_killed_while_an_answer_is_noted(
    point: str, starter: Starter, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    await page_of_an_hour_ago(data, upstream)
    server = ServerProcess(starter, data)
    async with running(server):
        await place_is_kept(data)  # so that the next note is that of the answer
        assert await server.stop() == 0
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.auditing.chain()  # nor is it one of the chain
    async with running(server, f"{point}=kill"):
        await get_page(server)
        assert await server.stop() == -signal.SIGKILL
    assert (await note_in(data, noted_checks.KIND, f"{MIRROR}/demo") is not None) == (point == "notes.committed")
    async with running(server):
        await get_page(server)
        assert await server.stop() == 0
    assert upstream.count("page") == (2 if point == "notes.committed" else 3)


@pytest.mark.parametrize("point", STEPS)
async def test_killed_while_the_place_behind_an_upload_is_kept(point: str, starter: Starter, tmp_path: Path) -> None:
    """The receiver is told at least once, and again only when the place was not kept. The lease of the dead ends by itself."""
    data = tmp_path / "data"
    await prepare_data(data)
    server = ServerProcess(starter, data, **LOOPBACK)
    async with receiving() as receiver:
        async with running(server):
            await place_is_kept(data)
            assert await server.stop() == 0
        async with Engine.open(Settings(data=data), mirrors=False) as engine:
            config = (await engine.store.tree()).indexes[HOSTED]
            await engine.store.apply([PutIndex(changed_config(config, upload_webhook=receiver.url))], who="[test]")
            await engine.auditing.chain()
        # Two notes are written: the lease, and the place behind the upload.
        async with running(server, f"{point}=kill@2"):
            await lease_is_held(data)
            answer = await upload(server.address, DEMO)
            assert answer is not None
            assert answer.status == 200
            await receiver.wait_for(1)
            assert await server.ended() == -signal.SIGKILL
        store = await SqliteIndex.open(data / "index.sqlite", SystemClock())
        assert await store.drop_note(leases.KIND, webhooks.KIND)  # half a minute later
        await store.close()
        later = build_wheel("later", "1.0")
        async with running(server):
            await lease_is_held(data)
            answer = await upload(server.address, later)
            assert answer is not None
            assert answer.status == 200
            await receiver.wait_for(2 if point == "notes.committed" else 3)
            assert await server.stop() == 0
    once = [DEMO.filename, later.filename]
    assert told(receiver) == (once if point == "notes.committed" else [DEMO.filename, *once])


def told(receiver: Receiver) -> list[str]:
    return [json.loads(post.body)["filename"] for post in receiver.posts]


async def note_in(data: Path, kind: str, key: str) -> bytes | None:
    """What another process sees of a note."""
    store = await SqliteIndex.open(data / "index.sqlite", SystemClock())
    try:
        note = await store.note(kind, key)
        return note.value if note is not None else None
    finally:
        await store.close()


async def place_is_kept(data: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await note_in(data, webhooks.KIND, webhooks.PLACE) is None:
            await asyncio.sleep(0.01)


async def lease_is_held(data: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await note_in(data, leases.KIND, webhooks.KIND) is None:
            await asyncio.sleep(0.01)
