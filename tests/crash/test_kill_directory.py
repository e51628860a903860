"""A server dies at every step of an upload into a directory, and of a deletion from one: nothing half visible, nothing acknowledged lost."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.uploads import upload_form
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.oracle import prepare_data, wait_until_ready
from tests.crash.processes import ServerProcess, Starter, running
from tests.http.conftest import basic

STEPS = sorted(point for point in POINTS if point.startswith("directory."))
OF_DELETIONS = {"directory.hidden", "directory.committed"}
OF_UPLOADS = sorted(
    point for point in POINTS if point.startswith(("upload.", "directory.")) and point != "directory.hidden"
)
WITHOUT_A_FILE = {
    *(point for point in OF_UPLOADS if point.startswith("upload.")),
    "directory.written",
} - {"upload.committed", "upload.answered"}
"""The steps before the file has its name."""
BEFORE, BUILT = build_wheel("demo", "1.0"), build_wheel("demo", "2.0")
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
async def server(tmp_path: Path, starter: Starter) -> ServerProcess:
    """One with an index over a directory that has a file."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / BEFORE.filename).write_bytes(BEFORE.data)
    await prepare_data(tmp_path / "data")
    async with Engine.open(Settings(data=tmp_path / "data"), mirrors=False) as engine:
        options = {"type": "directory", "roots": str(packages)}
        await engine.indexes.create("root/wheels", options, principal=Principal(name="root"))
    return ServerProcess(starter, tmp_path / "data")


async def asked(server: ServerProcess, method: str, path: str, built: BuiltFile | None = None) -> int | None:
    """The status; None when the connection ended without an answer."""
    content_type, body = upload_form(built) if built is not None else ("", b"")
    headers = {**basic("root"), **({"Content-Type": content_type} if built is not None else {})}
    async with aiohttp.ClientSession() as client:
        try:
            async with client.request(method, f"{server.url}{path}", headers=headers, data=body or None) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None


async def shown(server: ServerProcess) -> dict[str, str]:
    """What the page lists, each file with the path under which it was fetched whole."""
    await wait_until_ready(server)
    found = {}
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/root/wheels/+simple/demo/", headers=JSON) as answer:
            assert answer.status in {200, 404}
            files = json.loads(await answer.read())["files"] if answer.status == 200 else []
        for file in files:
            path = f"/{file['url'].removeprefix('../../../../')}"
            async with client.get(f"{server.url}{path}") as answer:
                assert answer.status == 200
                assert await answer.read() == {BEFORE.filename: BEFORE, BUILT.filename: BUILT}[file["filename"]].data
            found[file["filename"]] = path
    return found


def lying(server: ServerProcess) -> set[str]:
    return {path.name for path in (server.data.parent / "packages").iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("step", OF_UPLOADS)
async def test_killed_at_a_step_of_an_upload(step: str, server: ServerProcess) -> None:
    async with running(server, f"{step}=kill"):
        assert set(await shown(server)) == {BEFORE.filename}
        assert await asked(server, "POST", "/root/wheels/", BUILT) is None
        assert await server.ended() == -signal.SIGKILL
    async with running(server):
        present = await shown(server)
        assert (BUILT.filename in present) == (step not in WITHOUT_A_FILE)
        assert set(present) == lying(server)
        assert await asked(server, "POST", "/root/wheels/", BUILT) == 200
        assert set(await shown(server)) == lying(server) == {BEFORE.filename, BUILT.filename}


@pytest.mark.parametrize("step", sorted(OF_DELETIONS))
async def test_killed_at_a_step_of_a_deletion(step: str, server: ServerProcess) -> None:
    async with running(server, f"{step}=kill"):
        path = (await shown(server))[BEFORE.filename]
        assert await asked(server, "DELETE", path) is None
        assert await server.ended() == -signal.SIGKILL
    async with running(server):
        assert await shown(server) == {}
        assert lying(server) == set()
        assert await asked(server, "POST", "/root/wheels/", BUILT) == 200
        assert set(await shown(server)) == lying(server) == {BUILT.filename}
