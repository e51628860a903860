"""A tree is carried over an air gap by two bundles, applied by the one-file applier, and served by `python -m http.server`: pip and uv install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pkgindex_core.testing.wheels import build_wheel
from tests.clients.conftest import Installers
from tests.clients.running import run, served_files
from tests.mirror.snapshots.mirrors import contents
from tests.mirror.trees import opened, publish, put

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]


async def test_pip_and_uv_install_behind_the_gap(installers: Installers, tmp_path: Path) -> None:
    near, far, gap, key = tmp_path / "near", tmp_path / "far", tmp_path / "gap", tmp_path / "key"
    gap.mkdir()

    async def mirror(*words: str | Path) -> str:
        ran = await run(sys.executable, "-m", "pkgindex_mirror", *words)
        assert ran.status == 0, ran.output
        return ran.output

    async def carry() -> int:
        """The bytes that went over the gap."""
        await mirror("snapshot", "create", "--root", near)
        await mirror("bundle", "create", "--root", near, "--out", gap, "--key", key, "--part-size", "20KiB")
        size = sum(part.stat().st_size for part in gap.iterdir())
        applied = await run(
            sys.executable, "-I", "-S", tmp_path / "apply.py", "apply", "--root", far, "--key", f"{key}.pub", gap
        )
        assert applied.status == 0, applied.output
        for part in gap.iterdir():
            part.unlink()
        assert contents(far) == contents(near)
        return size

    await mirror("bundle", "keygen", key)
    await mirror("bundle", "applier", "-o", tmp_path / "apply.py")
    async with opened(tmp_path / "data") as engine:
        for number in range(60):
            await put(engine, build_wheel(f"other{number}", "1.0"), f"other{number}", "1.0")
        await put(engine, build_wheel("demo", "1.0", requires_dist=["other7"]), "demo", "1.0")
        await publish(engine, near)
        first = await carry()
        async with served_files(far) as url:
            for client in installers.names:
                ran, found = await installers.install(client, f"{url}/simple/", "demo")
                assert (ran.status, found) == (0, ["demo-1.0", "other7-1.0"]), ran.output
        await mirror("snapshot", "create", "--root", far)
        await mirror("snapshot", "promote", "--root", far, "1", "prod")
        await put(engine, build_wheel("demo", "2.0"), "demo", "2.0")
        await publish(engine, near)
        assert await carry() < first / 5
    for tree, version in ((far, "2.0"), (far / ".pkgindex/published/prod", "1.0")):
        async with served_files(tree) as url:
            ran, found = await installers.install("uv", f"{url}/simple/", "demo")
            assert ran.status == 0, ran.output
            assert f"demo-{version}" in found
