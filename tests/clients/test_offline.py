"""A laptop on a plane: installers choose among what was fetched before."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing.upstream import ScriptedUpstream
from tests.clients.conftest import Installers, ServerProcess

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

OFFLINE = {"PKGINDEX_PLUGINS__MIRROR__OFFLINE": "true"}


async def test_installers_choose_among_stored_files(
    server: ServerProcess, upstream: ScriptedUpstream, installers: Installers, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        upstream.add("demo", build_wheel("demo", version, requires_dist=("six",)))
    ran, found = await installers.install("uv", f"{server.url}/simple/", "demo<2")
    assert found == ["demo-1.0", "six-1.17.0"], ran.output
    await server.stop()
    await upstream.stop()
    offline = ServerProcess(server.data, upstream.url, **OFFLINE)
    await offline.start()
    try:
        simple = f"{offline.url}/simple/"
        for client in installers.names:
            ran, found = await installers.install(client, simple, "demo")
            assert found == ["demo-1.0", "six-1.17.0"], ran.output
        async with (
            aiohttp.ClientSession(headers={"Accept": "application/vnd.pypi.simple.v1+json"}) as session,
            session.get(simple) as answer,
        ):
            assert {each["name"] for each in (await answer.json(content_type=None))["projects"]} == {"demo", "six"}
        ran, _ = await installers.install("uv", simple, "packaging")
        assert "this server is offline" in ran.output
    finally:
        await offline.stop()
