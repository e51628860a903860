"""Servers over directories in processes of their own, started by the lines that pypiserver's users type."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from passlib import hash as kinds

from pkgindex_core.testing.wheels import BuiltFile
from tests.clients.running import clean_environment, executable, run


class Running:
    """A server in a process of its own, started by a command line in which `PORT` stands for a free port."""

    def __init__(self, home: Path, program: Path) -> None:
        self.home = home
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self, line: str, **files: str) -> None:
        """Start, and wait until it answers. `~` is the home directory of the test, as the shell would have it.

        `files` are written there as TOML files first, with the port in place of PORT.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [word.replace("~", str(self.home)).replace("PORT", str(port)) for word in line.split()]
        for name, text in files.items():
            (self.home / f"{name}.toml").write_text(text.replace("PORT", str(port)))
        with (self.home / f"{self._program.name}.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                self._program, *words, env={**clean_environment(), "HOME": str(self.home)}, stdout=log, stderr=log
            )
        self.url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 30
        while not await self._answers():
            assert time.monotonic() < until, self.log
            assert self._process.returncode is None, self.log
            await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        port = urlsplit(self.url).port
        assert port is not None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    @property
    def log(self) -> str:
        return (self.home / f"{self._program.name}.log").read_text()

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def as_user(self, name: str, password: str) -> str:
        """The URL of the simple index with credentials."""
        return f"{self.url.replace('://', f'://{name}:{password}@')}/simple/"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    (place / "packages").mkdir(parents=True)
    return place


@pytest.fixture
async def server(home: Path) -> AsyncIterator[Running]:
    running = Running(home, executable("pkgindex-serve"))
    yield running
    await running.stop()


def password_file(home: Path, flag: str = "-sc") -> None:
    """`htpasswd -sc ~/.htpasswd alice`, or what it would write."""
    path = home / ".htpasswd"
    if shutil.which("htpasswd"):
        subprocess.run(["htpasswd", f"{flag}b", path, "alice", "secret"], check=True, capture_output=True)
    else:
        path.write_text(f"alice:{kinds.ldap_sha1.hash('secret')}\n")


async def twine(server: Running, *built: BuiltFile, name: str = "alice", password: str = "secret") -> str:
    """`twine upload --repository-url …`; what it says when it fails."""
    place = server.home / "dist"
    place.mkdir(exist_ok=True)
    for each in built:
        (place / each.filename).write_bytes(each.data)
    ran = await run(
        executable("twine"), "upload", "--disable-progress-bar", "--non-interactive",
        "--repository-url", f"{server.url}/", "-u", name, "-p", password, *(place / each.filename for each in built),
        env={"HOME": str(server.home)},
    )  # fmt: skip
    return "" if ran.status == 0 else ran.output
