"""Real clients in clean environments, a real server in a process of its own, real wheels behind it.

The upstream is a fake (`ScriptedUpstream`) that serves real wheels, fetched from the package registry once per session.
Clients see no configuration of the machine: no pip.conf, no uv.toml, no find-links, no cache.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from benchmarks.peers import environments
from pkgindex_core.digests import sha256_of
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.devpi import Hire, Person
from tests.clients.running import Ran, clean_environment, executable, run
from tests.devpi_server import devpi_server

REAL_WHEELS = ("six==1.17.0", "idna==3.10", "packaging==24.2", "setuptools==80.9.0")
OLD_PIP = "23.0.1"


class ServerProcess:
    """`pkgindex-serve` as a user starts it."""

    def __init__(self, data: Path, upstream: str, *words: str, scheme: str = "http", **env: str) -> None:
        self._scheme = scheme
        self.data = data
        self.url = ""
        self._words = words
        self._upstream = upstream
        self._env = env
        self._process: asyncio.subprocess.Process | None = None
        self._port = "0"

    async def start(self) -> None:
        """Start, and wait for the line that says where it is. A restart keeps the port."""
        words = ("--data", self.data, "--port", self._port, "--upstream", self._upstream, *self._words)
        with (self.data.parent / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                executable("pkgindex-serve"),
                *map(str, words),
                env={**clean_environment(), **self._env},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        self.url = line.decode().strip().rstrip("/")
        assert self.url.startswith(f"{self._scheme}://127.0.0.1:"), self.log
        self._port = self.url.rpartition(":")[2]

    def without(self, name: str) -> None:
        """Leave a variable out of the next starts."""
        self._env.pop(name)

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """Stop as a service manager does; return the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        return await asyncio.wait_for(process.wait(), 30)

    @property
    def password(self) -> str:
        return (self.data / "root-password").read_text().strip()

    @property
    def log(self) -> str:
        time.sleep(0.2)  # lines of requests are written together, after a twentieth of a second
        return (self.data.parent / "server.log").read_text()


@pytest.fixture(scope="session")
def real_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[BuiltFile]:
    """Wheels from the package registry."""
    directory = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            directory,
            *REAL_WHEELS,
        ],
        check=True,
    )  # the machine's own configuration says where the registry is
    return [_read_wheel(path) for path in sorted(directory.glob("*.whl"))]


@pytest.fixture(scope="session")
def pip_environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pythons with the current pip and with an old one; nothing is ever installed into them beside."""
    base = tmp_path_factory.mktemp("pips")
    environments = {}
    for name, requirement in {"pip": "pip", "pip-old": f"pip=={OLD_PIP}"}.items():
        venv.create(base / name, with_pip=True)
        python = base / name / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--upgrade", requirement], check=True)
        environments[name] = python
    return environments


@pytest.fixture
async def upstream(real_wheels: Sequence[BuiltFile]) -> AsyncIterator[ScriptedUpstream]:
    """The fake upstream, with real wheels."""
    async with ScriptedUpstream() as fake:
        for built in real_wheels:
            fake.add(built.filename.split("-")[0], built)
        yield fake


@pytest.fixture
async def server(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[ServerProcess]:
    """A fresh server in front of the upstream."""
    process = ServerProcess(tmp_path / "data", upstream.url)
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


@pytest.fixture(scope="session")
def bandersnatch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a real bandersnatch, in an environment of its own, from the package registry. It needs a newer Python than this project does."""
    python = environments.python_for("bandersnatch")
    if not python:
        pytest.skip("bandersnatch needs Python 3.12, and none was found here")
    place = tmp_path_factory.mktemp("bandersnatch") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", python, place], check=True)
    requirements = environments.REQUIREMENTS["bandersnatch"]
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, *requirements], check=True)
    return place / "bin" / "bandersnatch"


class Installers:
    """Installs into clean environments with every client."""

    def __init__(self, base: Path, pips: dict[str, Path]) -> None:
        self._base = base
        self._pips = pips
        self._count = 0

    @property
    def names(self) -> tuple[str, ...]:
        return ("uv", *self._pips)

    async def install(self, client: str, index_url: str, *words: str | Path) -> tuple[Ran, list[str]]:
        """Install into a fresh place; return what was said and which distributions are there."""
        self._count += 1
        target = self._base / f"{client}-{self._count}"
        if client == "uv":
            ran = await run(
                executable("uv"), "pip", "install", "--no-cache", "--python", sys.executable, "--target", target,
                "--default-index", index_url, *words,
            )  # fmt: skip
        else:
            ran = await run(
                self._pips[client], "-m", "pip", "install", "--no-cache-dir", "--target", target,
                "--index-url", index_url, *words,
            )  # fmt: skip
        found = sorted(path.name.removesuffix(".dist-info") for path in target.glob("*.dist-info"))
        shutil.rmtree(target, ignore_errors=True)
        return ran, found


@pytest.fixture
def installers(tmp_path: Path, pip_environments: dict[str, Path]) -> Installers:
    return Installers(tmp_path / "installed", pip_environments)


def _read_wheel(path: Path) -> BuiltFile:
    with ZipFile(path) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA") and each.count("/") == 1]
        metadata = archive.read(name)
    data = path.read_bytes()
    return BuiltFile(filename=path.name, data=data, metadata=metadata, sha256=sha256_of(data))


@pytest.fixture(scope="session")
def devpi_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment with devpi's client and what it calls; made by uv, from the package registry."""
    place = tmp_path_factory.mktemp("devpi") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    install = [executable("uv"), "pip", "install", "--quiet", "--python", place]
    # The machine's own configuration says where the registry is.
    subprocess.run([*install, "devpi-client>=7.2,<8", "tox", "build", "setuptools", "wheel", "pip"], check=True)
    return place / "bin"


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of one environment with pip-audit and poetry, from the package registry."""
    place = tmp_path_factory.mktemp("tools") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    words = ["pip-audit==2.10.1", "poetry==2.5.1"]
    # The machine's own configuration says where the registry is.
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, *words], check=True)
    return place / "bin"


@pytest.fixture
async def devpi_url(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[str]:
    """A fresh server that begins as devpi's does: root has no password, everybody may make users.

    `PKGINDEX_TEST_DEVPI=/tmp/devpi/bin` puts a real devpi-server in its place, to see that a story is told as it is.
    """
    peer = os.environ.get("PKGINDEX_TEST_DEVPI")
    if peer:
        async with devpi_server(Path(peer), upstream=upstream.url) as url:
            yield url
        return
    words = ("--root-password", "", "--open-registration")
    here = {"PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS": '["127.0.0.0/8"]'}  # where stories push to
    process = ServerProcess(tmp_path / "data", upstream.url, *words, **here)
    await process.start()
    try:
        yield process.url
    finally:
        await process.kill()
        print(process.log)  # shown when the test fails


@pytest.fixture
async def another_server(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[ServerProcess]:
    """A server of somebody else, for what goes there."""
    process = ServerProcess(tmp_path / "elsewhere" / "data", upstream.url)
    process.data.parent.mkdir()
    await process.start()
    try:
        yield process
    finally:
        await process.kill()


@pytest.fixture
def hire(tmp_path: Path, devpi_commands: Path) -> Hire:
    """Make people with homes of their own."""

    def make(name: str) -> Person:
        return Person(name, tmp_path / f"home-of-{name}", devpi_commands)

    return make
