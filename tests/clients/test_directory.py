"""The smallest use: wheels that lie in a directory, installed with pip and uv while files come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_sdist, build_wheel
from tests.clients.conftest import Installers, ServerProcess
from tests.clients.running import executable, run

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]


async def test_files_that_come_and_go_are_installed(
    server: ServerProcess, installers: Installers, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    made = await run(
        executable("pkgindex-serve"), "index", "create", "root/wheels", "type=directory", f"roots={packages}",
        "--data", server.data,
    )  # fmt: skip
    assert made.status == 0, made.output
    url = f"{server.url}/root/wheels/+simple/"
    first, second = build_wheel("acme-demo", "1.0"), build_wheel("acme-demo", "2.0", requires_dist=["acme-part"])
    for client in installers.names:
        for left in packages.iterdir():
            left.unlink()
        ran, _ = await installers.install(client, url, "acme-demo")
        assert ran.status != 0
        (packages / first.filename).write_bytes(first.data)
        ran, found = await installers.install(client, url, "acme-demo")
        assert (ran.status, found) == (0, ["acme_demo-1.0"]), ran.output
        (packages / second.filename).write_bytes(second.data[: len(second.data) // 2])  # scp in progress
        ran, found = await installers.install(client, url, "acme-demo")
        assert (ran.status, found) == (0, ["acme_demo-1.0"]), ran.output
        (packages / second.filename).write_bytes(second.data)
        part = build_wheel("acme-part", "1.0")
        (packages / part.filename).write_bytes(part.data)
        ran, found = await installers.install(client, url, "acme-demo")
        assert (ran.status, found) == (0, ["acme_demo-2.0", "acme_part-1.0"]), ran.output
        (packages / second.filename).unlink()
        replaced = build_wheel("acme-demo", "1.0", files={"more.py": b"x = 1\n"})
        (packages / first.filename).write_bytes(replaced.data)
        (packages / "acme_demo-3.0.tar.gz").write_bytes(build_sdist("acme-demo", "3.0").data[:100])
        pinned = tmp_path / f"{client}.txt"
        pinned.write_text(f"acme-demo==1.0 --hash=sha256:{replaced.sha256}\n")
        ran, found = await installers.install(client, url, "--require-hashes", "-r", pinned)
        assert (ran.status, found) == (0, ["acme_demo-1.0"]), ran.output
