"""What devpi's plugins do, with devpi's real client: tokens of devpi-tokens, constrained indexes, users of an LDAP directory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, Ran, ServerProcess, executable, run
from tests.directory import Directory, directory

__all__ = ["directory"]

pytestmark = pytest.mark.clients

CLIENT = ("devpi-client==7.3.0", "devpi-tokens[client]==1.1.0")


@pytest.fixture(scope="session")
def devpi_with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """devpi's client with the plugin, in an environment of its own."""
    place = tmp_path_factory.mktemp("devpi-tokens")
    uv = executable("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, place / "env"], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", place / "env/bin/python", *CLIENT], check=True)
    return place / "env/bin/devpi"


class Devpi:
    """One person's client."""

    def __init__(self, program: Path, home: Path) -> None:
        self._program = program
        self._home = home
        home.mkdir()

    async def __call__(self, command: str, *words: str | Path, fails: bool = False) -> str:
        ran = await self.ran(command, *words)
        assert (ran.status != 0) == fails, ran.output
        return ran.output

    async def ran(self, command: str, *words: str | Path) -> Ran:
        # The client writes to the configuration of whoever runs it; HOME is its own.
        state = self._home / "state"
        return await run(self._program, command, "--clientdir", state, *words, env={"HOME": str(self._home)})


async def logged_in(devpi: Devpi, server: ServerProcess, name: str) -> None:
    """Make a user with an index `dev`, and be them."""
    await devpi("use", server.url)
    await devpi("login", "root", f"--password={server.password}")
    await devpi("user", "-c", name, "password=word1234")
    await devpi("login", name, "--password=word1234")
    await devpi("index", "-c", "dev", "bases=")
    await devpi("use", f"{name}/dev")


async def test_tokens(devpi_with_tokens: Path, server: ServerProcess, tmp_path: Path) -> None:
    """devpi-tokens' commands make, show, use and delete tokens; what a holder adds to one is not accepted."""
    devpi = Devpi(devpi_with_tokens, tmp_path / "anna")
    await logged_in(devpi, server, "anna")
    files = {name: tmp_path / f"{name}-1.0-py3-none-any.whl" for name in ("demo", "other")}
    for name, path in files.items():
        path.write_bytes(build_wheel(name, "1.0").data)

    token = tmp_path / "token"
    await devpi("token-create", "-a", "upload,pkg_read", "-i", "anna/dev", "-p", "demo", "-o", token)
    listed = await devpi("token-list")
    assert "allowed=pkg_read,upload" in listed
    assert "indexes=anna/dev" in listed
    inspected = await devpi("token-inspect", "-f", token)
    (token_id,) = [line.split(":")[1].strip() for line in inspected.splitlines() if line.strip().startswith("id ")]
    assert token_id in listed
    assert "restriction: projects=demo" in inspected

    assert "logged in 'anna'" in await devpi("token-login", "-f", token)
    await devpi("upload", files["demo"])
    assert "limited to other projects" in await devpi("upload", files["other"], fails=True)
    assert "needs a login" in await devpi("token-list", fails=True)
    assert "demo" in await devpi("list")

    await devpi("token-derive", "-f", token, "-e", "1 day", "-o", tmp_path / "derived")
    assert "failed" in await devpi("token-login", "-f", tmp_path / "derived", fails=True)

    await devpi("login", "anna", "--password=word1234")
    assert f"token {token_id} deleted" in await devpi("token-delete", token_id)
    assert "No tokens" in await devpi("token-list")
    assert "failed" in await devpi("token-login", "-f", token, fails=True)


async def test_a_constrained_index(
    devpi_with_tokens: Path, server: ServerProcess, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    """Made and changed with the client; pip and uv get what it lets through, also by way of an index above it."""
    devpi = Devpi(devpi_with_tokens, tmp_path / "anna")
    await logged_in(devpi, server, "anna")
    made = await devpi("index", "-c", "approved", "type=constrained", "bases=root/pypi", "constraints=six<1")
    assert "constraints=six<1" in made
    await devpi("index", "approved", "constraints+=*")
    await devpi("index", "dev", "bases=anna/approved")
    demo = tmp_path / "demo-1.0-py3-none-any.whl"
    demo.write_bytes(build_wheel("demo", "1.0").data)
    await devpi("upload", demo)
    assert "409" in await devpi("index", "-c", "approved", fails=True)
    assert "400" in await devpi("index", "approved", "constraints+=??", fails=True)
    assert "405" in await devpi("upload", "--index", "anna/approved", demo, fails=True)

    url = f"{server.url}/anna/dev/+simple/"
    for client in installers.names:
        ran, _ = await installers.install(client, url, "six")
        assert ran.status != 0
        ran, _ = await installers.install(client, url, "idna")
        assert ran.status != 0
        ran, found = await installers.install(client, url, "demo")
        assert found == ["demo-1.0"], ran.output
    assert not [each for each in upstream.asked if "idna" in each.path]

    await devpi("index", "approved", "constraints-=six<1")
    await devpi("index", "approved", "constraints+=six>=1.17,<2")
    for client in installers.names:
        ran, found = await installers.install(client, url, "six")
        assert found == ["six-1.17.0"], ran.output


async def test_a_user_of_a_directory(
    devpi_with_tokens: Path, directory: Directory, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """anna logs in with the directory's password, makes an index, and shares it with a group of the directory."""
    config = tmp_path / "pkgindex.toml"
    config.write_text(f"[plugins]\nldap = {toml(directory.settings())}\n")
    server = ServerProcess(tmp_path / "data", upstream.url, PKGINDEX_CONFIG=str(config))
    await server.start()
    try:
        anna, ben = (Devpi(devpi_with_tokens, tmp_path / name) for name in ("anna", "ben"))
        for devpi in (anna, ben):
            await devpi("use", server.url)
        assert "401" in await anna("login", "anna", "--password=wrong", fails=True)
        await anna("login", "anna", "--password=anna's word")
        await anna("index", "-c", "dev", "bases=", "acl_read=:developers", "acl_upload=:developers")
        await ben("login", "ben", "--password=ben's word")
        await ben("use", "anna/dev")
        demo = tmp_path / "demo-1.0-py3-none-any.whl"
        demo.write_bytes(build_wheel("demo", "1.0").data)
        await ben("upload", demo)
        await anna("use", "anna/dev")
        assert "demo" in await anna("list")
        await anna("index", "anna/dev", "acl_upload=anna")
        assert "403" in await ben("upload", demo, fails=True)
        await anna("index", "anna/dev", "acl_read=:release managers")
        assert "404" in await ben("list", fails=True)
    finally:
        await server.kill()


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)
