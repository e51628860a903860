"""A release goes from this server to a pypiserver of today, and is installed from there."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import ServerProcess, executable, run
from tests.http.conftest import basic

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PYPISERVER = "pypiserver[passlib,cache]==2.4.2"


@pytest.fixture(scope="session")
def pypiserver_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a pypiserver from the registry."""
    place = tmp_path_factory.mktemp("pypiserver") / "environment"
    subprocess.run([executable("uv"), "venv", "--quiet", "--python", sys.executable, place], check=True)
    subprocess.run([executable("uv"), "pip", "install", "--quiet", "--python", place, PYPISERVER], check=True)
    return place / "bin" / "pypi-server"


@pytest.fixture
async def pypiserver(pypiserver_python: Path, tmp_path: Path) -> AsyncIterator[str]:
    """A pypiserver that knows one user; the URL of it."""
    packages = tmp_path / "packages"
    packages.mkdir()
    passwords = tmp_path / "htpasswd"
    passwords.write_text("ann:{SHA}/vNB+F2HQ559kaLUZbmHHvZrXpg=\n")  # `s3cret`
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        pypiserver_python, "run", "-i", "127.0.0.1", "-p", str(port), "-P", passwords, "-a", "update", packages,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(30):
            while True:
                try:
                    async with client.get(url):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield url
    finally:
        process.kill()
        await process.wait()


async def test_a_pypiserver_takes_what_is_pushed(pypiserver: str, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    """Wheel and sdist arrive as they are; a wrong password and a second time are said in its words."""
    server = ServerProcess(tmp_path / "data", upstream.url, PKGINDEX_PLUGINS__MIRROR__ALLOW_NETWORKS='["127.0.0.0/8"]')
    await server.start()
    try:
        builds = [build_wheel("acme-lib", "1.0"), build_sdist("acme-lib", "1.0")]
        for built in builds:
            (tmp_path / built.filename).write_bytes(built.data)
        said = await run(
            executable("twine"), "upload", "--disable-progress-bar", "--repository-url", f"{server.url}/legacy/",
            "-u", "root", "-p", server.password, *(tmp_path / built.filename for built in builds),
        )  # fmt: skip
        assert said.status == 0, said.output
        root = basic("root", server.password)
        wish = {"name": "acme-lib", "version": "1.0", "posturl": pypiserver, "username": "ann", "password": "wrong"}
        async with aiohttp.ClientSession(headers=root) as client:
            async with client.request("PUSH", f"{server.url}/root/dev", json=wish) as answer:
                assert answer.status == 502
                (refused,) = (await answer.json())["result"]
                assert refused[0] in {401, 403}
            for status, codes in ((200, [200, 200]), (502, [409, 409])):
                async with client.request(
                    "PUSH", f"{server.url}/root/dev", json={**wish, "password": "s3cret"}
                ) as answer:
                    told = await answer.json()
                    assert answer.status == status, told
                    assert [each[:2] for each in told["result"]] == [[code, "upload"] for code in codes]
        for built in builds:
            assert (tmp_path / "packages" / built.filename).read_bytes() == built.data
        assert "s3cret" not in server.log
    finally:
        await server.kill()
