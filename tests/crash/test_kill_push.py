"""A server dies at every step of a push: the target has the whole release afterwards, or nothing of it.

Real processes, real disk, SIGKILL from inside. Whoever pushes again afterwards gets what the first push would have given.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutAttachment, PutFile, PutIndex, PutRelease
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import Attachment, File, IndexConfig, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Credentials
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.crash.oracle import HOSTED, ROOT, prepare_data, wait_until_ready
from tests.crash.processes import ServerProcess, Starter, running
from tests.http.conftest import PASSWORD

PROD = IndexName("root/prod")
TWINS = ProjectName("twins")
STEPS = sorted(point for point in POINTS if point.startswith(("push.", "commit.")))
DONE = {"commit.committed", "push.committed"}
WISH = {"name": "twins", "version": "1.0", "targetindex": PROD}


async def prepare_release(data: Path) -> None:
    """Two files, documentation and metadata at the source; a target that overwrites nothing."""
    await prepare_data(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        # The hash of the password is renewed now, if ever, and not by a commit of the server that is to die.
        await engine.identity.identify(Credentials(username="root", secret=PASSWORD))
        files = []
        for built in (build_wheel("twins", "1.0"), build_sdist("twins", "1.0")):
            blob = await engine.blobs.put(built.data)
            files.append(File(filename=built.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size))
        sidecar = await engine.blobs.put(build_wheel("twins", "1.0").metadata)
        files[0] = replace(files[0], metadata_sha256=sidecar.sha256)
        docs = await engine.blobs.put(b"docs")
        attachment = Attachment(
            kind="doczip",
            filename="twins-1.0.doc.zip",
            version="1.0",
            sha256=docs.sha256,
            size=docs.size,
            added=engine.clock.now(),
        )
        await engine.store.apply(
            [
                PutIndex(IndexConfig(name=PROD, volatile=False, acl_upload=("root",))),
                *(PutFile(HOSTED, TWINS, file, "twins") for file in files),
                PutRelease(HOSTED, TWINS, Release(version="1.0", metadata=b'{"name":"twins"}')),
                PutAttachment(HOSTED, TWINS, attachment),
            ],
            who="[test]",
        )


async def pushed(server: ServerProcess) -> int | None:
    """Push; the status, None when the connection ended without an answer."""
    async with aiohttp.ClientSession() as client:
        try:
            async with client.request("PUSH", f"{server.url}/{HOSTED}", json=WISH, headers=ROOT) as answer:
                return answer.status
        except aiohttp.ClientError:
            return None


async def holdings(data: Path) -> tuple[int, int, int]:
    """How much the target has: files, attachments, releases."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        page = await engine.store.page(PROD, TWINS)
        return (
            len(page.rows) if page else 0,
            len(await engine.store.attachments(PROD, TWINS)),
            len(await engine.store.releases(PROD, TWINS)),
        )


@pytest.mark.parametrize("point", STEPS)
async def test_killed_at_a_step_of_a_push(
    point: str, starter: Starter, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    data = tmp_path / "data"
    await prepare_release(data)
    server = ServerProcess(starter, data)
    async with running(server, f"{point}=kill"):
        await wait_until_ready(server)
        assert await pushed(server) is None
        assert await server.ended() == -signal.SIGKILL
    there = await holdings(data)
    assert there == ((2, 1, 1) if point in DONE else (0, 0, 0))
    async with running(server):
        await wait_until_ready(server)
        assert await pushed(server) == (409 if point in DONE else 200)
    assert await holdings(data) == (2, 1, 1)
    tally("kills during a push", 1)
