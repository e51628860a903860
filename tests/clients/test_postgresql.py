"""Two servers over one PostgreSQL database and one place for files: real clients through both, and uploads of one name at the same time."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run
from tests.conftest import Tally
from tests.database_server import DatabaseServer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]

SAME_NAMES = int(os.environ.get("PKGINDEX_TEST_SAME_NAMES", "40"))
"""How many filenames are uploaded to both servers at once (see tests/README.md)."""


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[str]:
    database_server.sql("CREATE DATABASE clients")
    yield database_server.url("clients")
    database_server.sql("DROP DATABASE clients WITH (FORCE)")


@pytest.fixture
async def servers(database: str, upstream: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[list[ServerProcess]]:
    """Two servers; only the first one has made the store, and knows the password of root."""
    every = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        words = ("--store", database, "--blobs", f"file://{tmp_path}/blobs")
        every.append(ServerProcess(tmp_path / name / "data", upstream.url, *words))
        await every[-1].start()
    yield every
    for server in every:
        await server.kill()


async def test_what_goes_in_at_one_server_comes_out_at_the_other(
    servers: list[ServerProcess], installers: Installers, tmp_path: Path
) -> None:
    one, two = servers
    built = build_wheel("demo", "1.0")
    (tmp_path / built.filename).write_bytes(built.data)
    ran = await run(
        executable("twine"), "upload", "--non-interactive", "--disable-progress-bar", "--repository-url",
        f"{two.url}/legacy/", "-u", "root", "-p", one.password, tmp_path / built.filename,
    )  # fmt: skip
    assert ran.status == 0, ran.output + two.log
    for client, server in (("uv", one), ("pip", two)):
        ran, found = await installers.install(client, f"{server.url}/simple/", "demo", "six")
        assert found == ["demo-1.0", "six-1.17.0"], ran.output + server.log
    await one.kill()
    await one.start()
    ran, found = await installers.install("uv", f"{one.url}/simple/", "demo")
    assert found == ["demo-1.0"], ran.output + one.log
    for server in servers:
        assert one.password not in server.log


@pytest.mark.timeout(200 + SAME_NAMES)
async def test_one_of_two_uploads_of_a_name_wins(servers: list[ServerProcess], tally: Tally) -> None:
    """Other bytes under one name, to both servers at once: one is stored, the other is told so, and both servers give the winner's bytes."""
    credentials = base64.b64encode(f"root:{servers[0].password}".encode()).decode()
    async with aiohttp.ClientSession(headers={"Authorization": f"Basic {credentials}"}) as client:
        for turn in range(SAME_NAMES):
            both = [build_wheel("demo", f"{turn}.0", files={"demo/who.py": who.encode()}) for who in ("one", "two")]
            answers = await asyncio.gather(
                *(
                    _upload(client, server, f"{turn}.0", built.filename, built.data)
                    for server, built in zip(servers, both, strict=True)
                )
            )
            assert sorted(answers) in ([200, 400], [200, 409]), answers
            winner = both[answers.index(200)]
            path = f"/root/dev/+f/{winner.sha256[:3]}/{winner.sha256[3:16]}/{winner.filename}"
            for server in servers:
                async with client.get(server.url + path) as answer:
                    assert await answer.read() == winner.data
                async with client.get(f"{server.url}/root/dev/+simple/demo/") as answer:
                    text = await answer.text()
                    assert text.count("#sha256=") == turn + 1, "a page shows at once what the other server has taken"
                    assert winner.sha256 in text
    tally("filenames uploaded to two server processes at once, one winner each", SAME_NAMES)


async def _upload(
    client: aiohttp.ClientSession, server: ServerProcess, version: str, filename: str, data: bytes
) -> int:
    form = aiohttp.FormData()
    fields = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": "demo",
        "version": version,
    }
    for name, value in {**fields, "filetype": "bdist_wheel", "pyversion": "py3"}.items():
        form.add_field(name, value)
    form.add_field("content", data, filename=filename, content_type="application/octet-stream")
    async with client.post(f"{server.url}/legacy/", data=form) as answer:
        await answer.read()
        return answer.status
