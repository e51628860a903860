"""kill -9 while unused files are removed, beside a server that takes uploads and deletions: no file that a page lists is lost, and in the
end no other is left."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.services.administering.clearing_run import CONDEMNED
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_core.tools import clearing, leases
from tests.crash.conftest import Command
from tests.crash.oracle import BEFORE, ROOT, file_path, prepare_data
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.http.forms import CONTENT_TYPE, encode_form, upload_parts
from tests.object_stores import ObjectStore, seaweedfs

Tally = Callable[[str, int], None]
Medium = Callable[[Path], AbstractAsyncContextManager[ObjectStore | None]]

STEPS = sorted(point for point in POINTS if point.startswith("gc."))
OPERATIONS = int(os.environ.get("PKGINDEX_TEST_GC", "200"))
"""Uploads and deletions of `test_collected_again_and_again` (see tests/README.md)."""
INDEXES = [IndexName(f"root/i{number}") for number in range(5)]
SHARED = [build_wheel("shared", f"{number}.0") for number in range(8)]
"""Wheels that all indexes have now and then, so that one blob is uploaded, deleted and removed at once."""


async def end_lease(data: Path, blobs: str = "") -> None:
    """Let the time go by after which the lease of a killed process has ended."""
    async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False) as engine:
        await engine.store.drop_note(leases.KIND, clearing.LEASE)


async def stored(data: Path, blobs: str = "") -> set[str]:
    async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False) as engine:
        return {blob.sha256 async for blob in engine.blobs.own().walk()}


@pytest.mark.parametrize("point", STEPS)
async def test_a_killed_removal_goes_on(point: str, command: Command, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    live = await stored(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        for number in range(5):
            await engine.blobs.put(b"unused %d" % number)
    assert await command("gc", "--grace", "0", "--data", data, failpoints=f"{point}=kill") == -9
    assert await command("gc", "--grace", "0", "--data", data) == 1, "its lease has not ended"
    await end_lease(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.blobs.put(b"unused 0")  # it is removed, condemned, or new
    assert await command("gc", "--grace", "0", "--data", data) == 0
    assert await stored(data) == live
    assert await command("verify", "--data", data) == 0


async def condemned(engine: Engine) -> set[str]:
    return {note.key async for batch in engine.store.notes(CONDEMNED) for note in batch}


async def test_a_server_goes_on_when_the_one_that_removes_is_killed(starter: Starter, tmp_path: Path) -> None:
    data = tmp_path / "data"
    await prepare_data(data)
    servers = [ServerProcess(starter, data, PKGINDEX_GC_EVERY="1s", PKGINDEX_SCRUB_RATE="0") for _ in range(2)]
    async with (
        Engine.open(Settings(data=data), mirrors=False) as engine,
        running(servers[0], "gc.condemned=kill@2"),
        running(servers[1]),
    ):
        blob = await engine.blobs.put(b"unused")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while blob.sha256 not in await condemned(engine):
                await asyncio.sleep(0.05)
        await servers[0].kill()
        await engine.store.drop_note(leases.KIND, clearing.LEASE)  # a minute later, if it held it
        again = await engine.blobs.put(b"unused too")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while again.sha256 not in await condemned(engine):
                await asyncio.sleep(0.05)
        assert await servers[1].stop() == 0


class Uploader:
    """One client with an index of its own, which knows what must be in it."""

    def __init__(self, server: ServerProcess, index: IndexName) -> None:
        self.live: dict[str, BuiltFile] = {}
        self.done = 0
        self._server = server
        self._index = index
        self._chance = random.Random(index)
        self._numbers = count()

    async def work(self, operations: int) -> None:
        while self.done < operations:
            if self._chance.random() < 0.3:
                name = f"own{self._index.rpartition('/')[2]}"
                await self._change(build_wheel(name, f"{next(self._numbers)}.0"))
            await self._change(self._chance.choice([*SHARED, *self.live.values()]))

    async def look(self) -> None:
        """What was acknowledged is there, the metadata too."""
        for built in self.live.values():
            await self._see(built)

    async def _change(self, built: BuiltFile) -> None:
        """Upload a file, or delete it if it is there."""
        if built.filename in self.live:
            await self._ask(
                "DELETE", file_path(built, self._index), b"", {200, 404, 410}
            )  # or an earlier request did it
            del self.live[built.filename]
        else:
            await self._ask("POST", f"/{self._index}/", encode_form(upload_parts(built)), {200})
            self.live[built.filename] = built
            await self._see(built)
        self.done += 1

    async def _see(self, built: BuiltFile) -> None:
        path = file_path(built, self._index)
        assert await self._ask("GET", path, b"", {200}) == built.data
        assert await self._ask("GET", f"{path}.metadata", b"", {200}) == built.metadata

    async def _ask(self, method: str, path: str, body: bytes, expected: set[int]) -> bytes:
        """Send a request until it is answered: the server dies now and then, and 503 says to send the same bytes again."""
        headers = {**ROOT, "Content-Type": CONTENT_TYPE.decode()} if body else ROOT
        while True:
            try:
                async with (
                    aiohttp.ClientSession() as client,
                    client.request(method, f"{self._server.url}{path}", data=body or None, headers=headers) as answer,
                ):
                    got = await answer.read()
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
                continue
            if answer.status in expected:
                return got
            assert (method, answer.status) == ("POST", 503), f"{method} {path}: {answer.status} {got[:300]!r}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def local_disk(_place: Path) -> AsyncIterator[None]:
    yield None


@asynccontextmanager
async def object_store(place: Path) -> AsyncIterator[ObjectStore]:
    store = await asyncio.to_thread(seaweedfs, place)
    if store is None:
        pytest.skip("the server is not installed")
    try:
        yield store
    finally:
        store.kill()


@pytest.mark.timeout(300 + 2 * OPERATIONS)
@pytest.mark.parametrize("medium", [local_disk, object_store])
async def test_collected_again_and_again(
    medium: Medium, starter: Starter, command: Command, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five clients upload and delete, the collector dies at random steps, and the server too. There is no grace."""
    data, chance = tmp_path / "data", random.Random(7)
    async with medium(tmp_path / "store") as store:
        for name, value in (store.environment if store else {}).items():
            monkeypatch.setenv(name, value)
        blobs = f"{store.url}/collected" if store else ""
        words = ("--data", data, *(("--blobs", blobs) if blobs else ()))
        await prepare_data(data, blobs=blobs)
        async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False) as engine:
            made = [PutIndex(IndexConfig(name=name, volatile=True, acl_upload=("root",))) for name in INDEXES]
            await engine.store.apply(made, who="[test]")
        server = ServerProcess(starter, data, *map(str, words[2:]))
        kills = runs = 0
        async with running(server):
            uploaders = [Uploader(server, name) for name in INDEXES]
            working = asyncio.gather(*(each.work(OPERATIONS // len(INDEXES)) for each in uploaders))
            while not working.done():
                point = f"{chance.choice(STEPS)}=kill@{chance.choice([1, 1, 2, 5])}" if chance.random() < 0.5 else ""
                status = await command("gc", "--grace", "0", *words, failpoints=point)
                assert status in {0, -9}
                runs += 1
                if status:
                    kills += 1
                    await end_lease(data, blobs)
                if runs % 5 == 0:
                    await server.kill()
                    await server.start()
                    kills += 1
            await working
            for each in uploaders:
                await each.look()
        assert await command("gc", "--grace", "0", *words) == 0
        live = [BEFORE, *(built for each in uploaders for built in each.live.values())]
        assert await stored(data, blobs) == {sha for each in live for sha in (each.sha256, sha256_of(each.metadata))}
        assert await command("verify", *words) == 0
    place = "S3" if store else "local disk"
    tally(f"uploads and deletions beside a collector ({place})", sum(each.done for each in uploaders))
    tally(f"kills of collectors and their servers ({place})", kills)
