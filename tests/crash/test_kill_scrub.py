"""kill -9 of servers that scrub: damage is set aside and told by whoever goes on, and nothing whole is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import PutFile
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import File
from pkgindex_core.names import parse_project_name
from pkgindex_core.services.administering.scrub_state import ScrubState
from pkgindex_core.services.administering.scrubbing import LEASE
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools import leases
from tests.conftest import Tally
from tests.crash.clients import ask
from tests.crash.conftest import Command
from tests.crash.oracle import BEFORE, HOSTED, file_path, prepare_data, upload
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.database_server import DatabaseServer
from tests.object_stores import seaweedfs

pytestmark = pytest.mark.timeout(300)

STEPS = sorted(point for point in POINTS if point.startswith(("scrub.", "aside.")))
OFTEN = {"PKGINDEX_SCRUB_EVERY": "1s", "PKGINDEX_SCRUB_RATE": "100MiB"}
BROKEN = build_wheel("broken", "1.0")


def blob_at(data: Path, content: bytes) -> Path:
    key = sha256_of(content)
    return data / "blobs" / "sha256" / key[:2] / key


def flip(data: Path, content: bytes) -> None:
    blob_at(data, content).write_bytes(content[:40] + bytes([content[40] ^ 4]) + content[41:])


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A store in which a bit of a wheel, and one of another wheel's metadata, has changed."""
    data = tmp_path / "data"
    await prepare_data(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        blob = await engine.blobs.put(BROKEN.data)
        file = File(filename=BROKEN.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size)
        await engine.store.apply([PutFile(HOSTED, parse_project_name("broken"), file, "broken")], who="[test]")
    for content in (BROKEN.data, BEFORE.metadata):
        flip(data, content)
    return data


async def state_in(data: Path, store: str = "") -> ScrubState:
    async with Engine.open(Settings(data=data, store=store), mirrors=False) as engine:
        return await engine.scrubbing.state()


async def end_lease(data: Path) -> None:
    """Let the time go by after which the lease of a killed process has ended."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.store.drop_note(leases.KIND, LEASE)


def aside(data: Path) -> list[str]:
    place = data / "blobs" / "damaged"
    return sorted(path.name.partition(".")[0] for path in place.iterdir()) if place.exists() else []


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("point", STEPS)
async def test_another_process_goes_on(point: str, turn: int, starter: Starter, command: Command, data: Path) -> None:
    server = ServerProcess(starter, data, **OFTEN)
    async with running(server, f"{point}=kill@{turn}"):
        assert await server.ended() == -signal.SIGKILL
    assert await command("scrub", "--data", data) == 1, "its lease has not ended"
    await end_lease(data)
    assert await command("scrub", "--data", data) == 3
    assert aside(data) == sorted(sha256_of(content) for content in (BROKEN.data, BEFORE.metadata))
    assert blob_at(data, BEFORE.metadata).read_bytes() == BEFORE.metadata
    assert blob_at(data, BEFORE.data).read_bytes() == BEFORE.data
    state = await state_in(data)
    assert {key: found.state for key, found in state.damaged.items()} == {sha256_of(BROKEN.data): "lost"}
    async with running(server):
        assert (await ask(server.address, file_path(BROKEN))).status == 500
        answer = await upload(server.address, BROKEN)
        assert answer is not None
        assert answer.status == 200
        assert (await ask(server.address, file_path(BROKEN))).body == BROKEN.data
        await server.stop()
    assert await command("scrub", "--data", data) == 0
    assert await command("verify", "--data", data) == 0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The index store; empty: in the data directory."""
    if request.param == "sqlite":
        yield ""
        return
    server: DatabaseServer = request.getfixturevalue("database_server")
    server.sql("CREATE DATABASE scrub")
    yield server.url("scrub")
    server.sql("DROP DATABASE scrub WITH (FORCE)")


@pytest.fixture
async def store(tmp_path: Path, url: str) -> Settings:
    settings = Settings(data=tmp_path / "data", store=url, blobs=f"file://{tmp_path}/data/blobs")
    async with Engine.open(settings, mirrors=False) as engine:
        await engine.prepare()
    return settings


async def test_of_several_servers_one_reads_and_the_next_one_takes_over(
    store: Settings, starter: Starter, tally: Tally
) -> None:
    """Servers over one store, that are killed one after the other. What each finds, the others tell too."""
    rounds = 3
    words = ("--store", store.store, "--blobs", store.blobs)
    async with Engine.open(store, mirrors=False, create=False) as engine:
        servers = [ServerProcess(starter, store.data, *words, **OFTEN) for _ in range(2)]
        for server in servers:
            await server.start()
        try:
            for number in range(rounds):
                built = build_wheel("demo", f"{number}.0")
                async with engine.blobs.spool() as spool:
                    await spool.write(built.data)
                    await spool.keep()
                file = File(
                    filename=built.filename,
                    version=f"{number}.0",
                    digests={"sha256": sha256_of(built.data)},
                    size=len(built.data),
                )
                change = PutFile(HOSTED, parse_project_name("demo"), file, "demo")
                await engine.store.apply([change], who="[test]")
                flip(store.data, built.data)
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while sha256_of(built.data) not in (await engine.scrubbing.state()).damaged:
                        await asyncio.sleep(0.05)
                for server in servers:
                    answer = await ask(server.address, file_path(built))
                    assert answer.status == 500
                killed = servers[number % 2]
                await killed.kill()
                await engine.store.drop_note(leases.KIND, LEASE)  # a minute later, if it held it
                await killed.start()
        finally:
            for server in servers:
                await server.kill()
        state = await engine.scrubbing.state()
        assert len(state.damaged) == rounds
        assert len(aside(store.data)) == rounds, "each file was set aside once"
    tally("damaged files found by servers that were killed", rounds)


async def test_a_server_that_is_stopped_in_a_round_ends_its_lease(data: Path, starter: Starter) -> None:
    """And notes what it found: another server goes on at once."""
    server = ServerProcess(starter, data, PKGINDEX_SCRUB_EVERY="1s", PKGINDEX_SCRUB_RATE="1")
    async with running(server), Engine.open(Settings(data=data), mirrors=False) as engine:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await engine.store.note(leases.KIND, LEASE) is None:
                await asyncio.sleep(0.02)
        assert await server.stop() == 0
        assert await engine.store.note(leases.KIND, LEASE) is None
        assert not (await engine.scrubbing.state()).is_whole


async def test_damage_in_an_object_store_is_found_and_set_aside(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await asyncio.to_thread(seaweedfs, tmp_path / "store")
    if store is None:
        pytest.skip("the server is not installed")
    try:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        data, blobs = tmp_path / "data", f"{store.url}/scrubbed"
        words = ("--data", data, "--blobs", blobs)
        await prepare_data(data, blobs=blobs)
        assert await command("scrub", *words) == 0
        key = sha256_of(BEFORE.data)
        async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False) as engine:
            medium: Any = engine.blobs.own()
            await medium._medium.call("pipe_file", medium._path(key), b"x" * len(BEFORE.data))
        assert await command("scrub", *words) == 3
        assert await command("scrub", "--show", *words) == 3
        async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False) as engine:
            assert await engine.blobs.stat(key) is None
            assert {key: found.state for key, found in (await engine.scrubbing.state()).damaged.items()} == {
                key: "lost"
            }
            await engine.blobs.put(BEFORE.data)
        assert await command("scrub", *words) == 0
        assert await command("verify", *words) == 0
    finally:
        store.kill()
