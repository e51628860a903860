"""Three servers over PostgreSQL with a standby and over SeaweedFS, with nginx in front: each part a real program that can be killed."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.crash.oracle import prepare_data
from tests.crash.processes import ServerProcess, Starter
from tests.database_server import DatabaseServer
from tests.http.test_nginx import example
from tests.object_stores import ObjectStore, free_ports, seaweedfs
from tests.proxy import nginx

_SERVERS = 3


class Installation:
    """The parts, and what can happen to each."""

    def __init__(self, primary: DatabaseServer, standby: DatabaseServer, objects: ObjectStore) -> None:
        self.url = ""
        """Of nginx."""
        self.servers: list[ServerProcess] = []
        self.objects = objects
        self.database = primary
        self._standby = standby

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    async def kill_server(self, number: int) -> None:
        """kill -9, and start it again, as a service manager does until it starts: it does not without its stores."""
        await self.servers[number].kill()
        while True:
            try:
                await self.servers[number].start()
            except AssertionError:
                await asyncio.sleep(0.5)
            else:
                return

    async def end_backends(self) -> None:
        """End all connections to the database."""
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cluster'"
        with suppress(subprocess.CalledProcessError):  # the server may just have died
            await asyncio.to_thread(self.database.sql, sql)

    async def restart_objects(self) -> None:
        """kill -9 the object store, and start it again."""
        await asyncio.to_thread(self.objects.kill)
        await asyncio.sleep(0.5)
        self.objects.start()

    async def fail_over(self) -> None:
        """The primary dies, its standby is promoted, and gets a new standby at the address of the old primary."""
        old, self.database = self.database, self._standby
        await asyncio.to_thread(old.stop, signal.SIGQUIT)
        await asyncio.to_thread(self.database.sql, "SELECT pg_promote()")
        old.remove()
        self._standby = await asyncio.to_thread(self.database.standby, old.port)

    async def close(self) -> None:
        for server in self.servers:
            await server.kill()
        self.objects.kill()
        self.database.remove()
        self._standby.remove()


@asynccontextmanager
async def installation(
    bin_directory: Path, starter: Starter, place: Path, prepare: Callable[[str, str], None]
) -> AsyncIterator[Installation]:
    """All parts, running. `prepare` is called with the variables of the object store before anything uses it."""
    objects = await asyncio.to_thread(seaweedfs, place / "objects")
    if objects is None:
        pytest.skip("SeaweedFS is not installed")
    for name, value in objects.environment.items():
        prepare(name, value)
    primary = await asyncio.to_thread(DatabaseServer, bin_directory)
    await asyncio.to_thread(primary.start)
    await asyncio.to_thread(primary.sql, "CREATE DATABASE cluster")
    whole = Installation(primary, await asyncio.to_thread(primary.standby), objects)
    try:
        hosts = f"127.0.0.1:{whole._standby.port},127.0.0.1:{primary.port}"
        store, blobs = f"postgresql://postgres@{hosts}/cluster", f"{objects.url}/cluster"
        await prepare_data(place / "prepared", store=store, blobs=blobs)
        front, *ports = free_ports(1 + _SERVERS)
        for port in ports:
            words = ("--port", f"{port}", "--store", store, "--blobs", blobs, "--trusted-proxies", "127.0.0.1")
            whole.servers.append(ServerProcess(starter, place / f"server{port}", *words))
        await asyncio.gather(*(server.start() for server in whole.servers))
        whole.url = f"http://127.0.0.1:{front}"
        (place / "nginx").mkdir()
        async with nginx(place / "nginx", _configured(front, ports), front):
            yield whole
    finally:
        await whole.close()


def _configured(front: int, ports: list[int]) -> str:
    """The configuration of the documentation, for these ports."""
    inner = iter(ports)
    text = example("several servers").replace("listen 443 ssl;", f"listen 127.0.0.1:{front};")
    text, count = re.subn(r"10\.0\.0\.[234]:3141", lambda _found: f"127.0.0.1:{next(inner)}", text)
    assert count == len(ports)
    return text
