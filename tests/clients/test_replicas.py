"""Two replicas of a server with a private index: uv and pip install from them while the server is dead. One of them takes its place."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import Ran, clean_environment, executable, run
from tests.database_server import DatabaseServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}
PRIVATE = "anna/private"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Options for the store of the primary."""
    if request.param == "sqlite":
        yield ()
        return
    server: DatabaseServer = request.getfixturevalue("database_server")
    server.sql("CREATE DATABASE followed")
    yield ("--store", server.url("followed"))
    server.sql("DROP DATABASE followed WITH (FORCE)")


class ReplicaProcess:
    """`pkgindex-mirror follow` as a user starts it."""

    def __init__(self, data: Path, primary: str, token_file: Path) -> None:
        self.data = data
        self.url = ""
        self._words = ("follow", primary, "--token-file", token_file, "--data", data, "--port", "0")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.data.with_suffix(".log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                executable("pkgindex-mirror"),
                *map(str, self._words),
                env={**clean_environment(), **HERE},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 60)
        self.url = line.decode().strip().rstrip("/")
        assert self.url, self.data.with_suffix(".log").read_text()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 60)

    async def told(self) -> dict[str, object]:
        async with aiohttp.ClientSession() as client, client.get(f"{self.url}/+ready") as answer:
            return dict((await answer.json(content_type=None))["replica"])

    async def until(self, *, follows: bool, serials: int = 0) -> None:
        """Wait until it follows and has everything, or until it has noticed that the primary is gone."""
        async with asyncio.timeout(60):
            while True:
                told = await self.told()
                level = not follows or (told["lag_serials"] == 0 and await self.serial() >= serials)
                if told["follows"] is follows and told["whole"] and level:
                    return
                await asyncio.sleep(0.05)

    async def serial(self) -> int:
        return await serial_of(self.url)


async def serial_of(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/+status") as answer:
        return int(json.loads(await answer.read())["result"]["serial"])


@asynccontextmanager
async def world(tmp_path: Path, upstream: str, store: tuple[str, ...]) -> AsyncIterator[tuple[ServerProcess, Path]]:
    """A primary with a private index, and a file with a token that may copy everything."""
    primary = ServerProcess(tmp_path / "primary" / "data", upstream, *store, **HERE)
    primary.data.parent.mkdir()
    await primary.start()
    try:
        for name in ("anna", "ben"):
            await serve(primary, store, "user", "create", name, "--password-stdin", typed=f"secret-of-{name}\n")
        await serve(primary, store, "index", "create", PRIVATE, "bases=root/pypi", "acl_read=ben", "acl_upload=anna")
        token = tmp_path / "token"
        token.write_text(
            (await serve(primary, store, "token", "create", "root", "--action", "changes")).splitlines()[-1]
        )
        yield primary, token
    finally:
        await primary.kill()


async def serve(server: ServerProcess, store: tuple[str, ...], *words: str, typed: str = "") -> str:
    ran = await run(executable("pkgindex-serve"), *words, "--data", server.data, *store, env=HERE, typed=typed)
    assert ran.status == 0, ran.output
    return ran.output.strip()


async def upload(tmp_path: Path, url: str, version: str, user: str = "anna") -> Ran:
    built = build_wheel("acme-secret", version, requires_dist=("six",))
    (tmp_path / built.filename).write_bytes(built.data)
    return await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
        f"{url}/{PRIVATE}/", "-u", user, "-p", f"secret-of-{user}", tmp_path / built.filename,
    )  # fmt: skip


async def test_installing_from_replicas_while_the_primary_is_dead(
    tmp_path: Path, upstream: ScriptedUpstream, installers: Installers, store: tuple[str, ...]
) -> None:
    async with world(tmp_path, upstream.url, store) as (primary, token):
        assert (await upload(tmp_path, primary.url, "1.0")).status == 0
        reader = (
            await serve(primary, store, "token", "create", "ben", "--index", PRIVATE, "--action", "read")
        ).splitlines()[-1]
        replicas = [ReplicaProcess(tmp_path / name, primary.url, token) for name in ("one", "two")]
        try:
            for replica in replicas:
                await replica.start()
                await replica.until(follows=True)
            one, two = replicas
            await two.end(signal.SIGKILL)
            assert (await upload(tmp_path, primary.url, "2.0")).status == 0
            serial = await serial_of(primary.url)
            await one.until(follows=True, serials=serial)
            await two.start()
            await two.until(follows=True, serials=serial)
            # What the mirror of the primary has not is asked there.
            for replica in replicas:
                ran, found = await installers.install(
                    "uv", f"{named(replica.url, 'ben:secret-of-ben')}/{PRIVATE}/+simple/", "acme-secret"
                )
                assert [each.replace("_", "-") for each in found] == ["acme-secret-2.0", "six-1.17.0"], ran.output
            await primary.kill()
            for replica in replicas:
                await replica.until(follows=False)
                for client in installers.names:
                    for credentials in ("ben:secret-of-ben", f"__token__:{reader}"):
                        url = f"{named(replica.url, credentials)}/{PRIVATE}/+simple/"
                        ran, found = await installers.install(client, url, "acme-secret")
                        assert [each.replace("_", "-") for each in found] == ["acme-secret-2.0", "six-1.17.0"], (
                            ran.output
                        )
                refused, found = await installers.install("uv", f"{replica.url}/{PRIVATE}/+simple/", "acme-secret")
                assert refused.status != 0
                assert not found
            refused = await upload(tmp_path, one.url, "3.0")
            assert refused.status != 0
            assert f"read-only replica of {primary.url}" in refused.output
            # The runbook: one of them takes the place of the primary, and the other one follows it.
            assert await one.end() == 0
            assert await two.end() == 0
            ran = await run(executable("pkgindex-serve"), "run", "--data", one.data, "--port", "0", env=HERE)
            assert ran.status == 1
            assert f"the store is a replica of {primary.url}" in ran.output
            ran = await run(executable("pkgindex-serve"), "promote", "--yes", "--data", one.data, env=HERE)
            assert ran.status == 0, ran.output
            promoted = ServerProcess(one.data, upstream.url, **HERE)
            await promoted.start()
            try:
                assert (await upload(tmp_path, promoted.url, "3.0")).status == 0
                again = ReplicaProcess(two.data, promoted.url, token)
                replicas.append(again)
                await again.start()
                await again.until(follows=True, serials=await serial_of(promoted.url))
                url = f"{named(again.url, 'ben:secret-of-ben')}/{PRIVATE}/+simple/"
                ran, found = await installers.install("pip", url, "acme-secret")
                assert [each.replace("_", "-") for each in found] == ["acme-secret-3.0", "six-1.17.0"], ran.output
            finally:
                await promoted.kill()
        finally:
            for replica in replicas:
                await replica.end(signal.SIGKILL)


def named(url: str, credentials: str) -> str:
    return url.replace("http://", f"http://{credentials}@")
