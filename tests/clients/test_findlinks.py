"""pip and uv install from the flat page alone: no index, checked hashes, dependencies from an inherited layer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from tests.clients.conftest import executable, run
from tests.http.conftest import HOSTED, Serve, serve

__all__ = ["serve"]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_clients_install_from_the_flat_page(serve: Serve, tmp_path: Path) -> None:
    async with serve() as served:
        top = await served.index("root/top", bases=(HOSTED,))
        await served.put(build_wheel("acme-lib", "2.0"), project="acme-lib")
        await served.put(
            build_wheel("acme-tool", "1.0", requires_dist=("acme-lib>=1",)), index=top, project="acme-tool"
        )
        url = f"{served.url}/{top}/+findlinks"
        commands = {
            "pip": (sys.executable, "-m", "pip", "install", "--no-cache-dir"),
            "uv": (executable("uv"), "pip", "install", "--no-cache", "--python", sys.executable),
        }
        for client, words in commands.items():
            target = tmp_path / client
            ran = await run(*words, "--no-index", "--find-links", url, "--target", target, "acme-tool")
            assert ran.status == 0, ran.output
            found = sorted(path.name for path in target.glob("*.dist-info"))
            assert found == ["acme_lib-2.0.dist-info", "acme_tool-1.0.dist-info"], ran.output
        # pip passes over what was yanked; uv takes it from a flat page, and warns.
        await served.put(build_wheel("acme-tool", "1.5"), index=top, project="acme-tool", yanked="broken")
        target = tmp_path / "again"
        ran = await run(*commands["pip"], "--no-index", "--find-links", url, "--target", target, "acme-tool")
        assert (target / "acme_tool-1.0.dist-info").is_dir(), ran.output
