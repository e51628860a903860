"""Servers in processes of their own, that tests kill, stop and start again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_SECONDS = 10.0
"""Within so long a server is there again, whatever happened to it."""
PATIENCE_SECONDS = 60.0
"""For what has no bound of its own, on a machine that does other things as well."""

_COLD = os.environ.get("PKGINDEX_TEST_COLD", "") not in {"", "0"}
"""Start every server as a user does, imports and all (see tests/README.md)."""


class Starter:
    """Starts servers by forking a program that has imported everything (`warm`)."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        mine.settimeout(PATIENCE_SECONDS)
        with theirs:
            self._program = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("warm.py"))],
                stdin=theirs,
                env={**clean_environment(), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._connection = mine

    def fork(self, args: list[str], env: dict[str, str], output: int, errors: int) -> int:
        return int(self._ask({"args": args, "env": env}, [output, errors])["pid"])

    def status(self, pid: int) -> int | None:
        """The exit status, negative for a signal; None while the process lives."""
        status = self._ask({"wait": pid}, [])["status"]
        return None if status is None else int(status)

    def close(self) -> None:
        self._connection.send(b"")
        self._connection.close()
        self._program.wait(PATIENCE_SECONDS)

    def _ask(self, request: dict[str, Any], descriptors: list[int]) -> Any:
        socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
        return json.loads(self._connection.recv(4096))


class ServerProcess:
    """`pkgindex-serve` over one data directory, any number of lives one after the other."""

    def __init__(self, starter: Starter, data: Path, *words: str, **env: str) -> None:
        self.data = data
        self.url = ""
        self.pid = 0
        self.lives = 0
        self._starter = starter
        self._words = words
        self._env = env
        self._popen: subprocess.Popen[bytes] | None = None
        self._log = data.with_name(f"{data.name}.log")

    async def start(self, failpoints: str = "", *, cold: bool = _COLD, **env: str) -> None:
        """Start, and wait for the line that says where it is."""
        args = ["run", "--data", str(self.data), "--host", "127.0.0.1", "--port", "0", *self._words]
        env = {**clean_environment(), **self._env, **env}
        if failpoints:
            env["PKGINDEX_FAILPOINTS"] = failpoints
        self.lives += 1
        reading, writing = os.pipe()
        try:
            self._launch(args, env, writing, cold=cold)
        finally:
            os.close(writing)
        line = await _first_line(reading)
        self.url = line.strip().rstrip("/")
        assert self.url.startswith("http://127.0.0.1:"), f"the server did not start:\n{self.log}"

    def _launch(self, args: list[str], env: dict[str, str], output: int, *, cold: bool) -> None:
        with self._log.open("ab") as log:
            if cold:
                command = [str(Path(sys.executable).with_name("pkgindex-serve")), *args]
                self._popen = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=log)
                self.pid = self._popen.pid
            else:
                self._popen = None
                self.pid = self._starter.fork(args, env, output, log.fileno())

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process lives."""
        return self._starter.status(self.pid) if self._popen is None else self._popen.poll()

    async def ended(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait for the end; return the exit status."""
        async with asyncio.timeout(seconds):
            while (status := self.status()) is None:
                await asyncio.sleep(0.005)
        self.pid = 0
        return status

    async def kill(self) -> None:
        """kill -9, if it lives."""
        if self.pid:
            if self.status() is None:
                self.signal(signal.SIGKILL)
                await self.ended()
            self.pid = 0

    async def stop(self) -> int:
        """Stop it as a service manager does; return the exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()


@asynccontextmanager
async def running(server: ServerProcess, failpoints: str = "", **env: str) -> AsyncIterator[ServerProcess]:
    """A server that is started, and that does not outlive the test."""
    await server.start(failpoints, **env)
    try:
        yield server
    finally:
        await server.kill()


def clean_environment() -> dict[str, str]:
    """The environment without settings that somebody's shell has for a server of their own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PKGINDEX_")}


async def _first_line(descriptor: int) -> str:
    """The first line of a pipe; empty when it ends without one."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await reader.readline()).decode()
    finally:
        transport.close()
