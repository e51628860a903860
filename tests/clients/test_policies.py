"""Lock files that were made before a policy: uv and pip do not get around it, and go on where an exemption lets them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pkgindex_core.changes import PutIndex
from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.configs import changed_config
from pkgindex_core.testing.wheels import build_wheel
from tests.clients.running import Ran, executable, run
from tests.http.conftest import Mirrored, mirrored, serve
from tests.http.conftest import MirroredStart as Start

pytestmark = pytest.mark.clients
__all__ = ["mirrored", "serve"]  # fixtures
MIRROR = IndexName("root/pypi")
NEW = build_wheel("demo", "2.0")


async def set_policies(world: Mirrored, *lines: str) -> None:
    config = (await world.served.engine.store.tree()).indexes[MIRROR]
    await world.served.engine.store.apply([PutIndex(changed_config(config, policies=list(lines)))], who="[test]")


async def sync(project: Path) -> Ran:
    """Install exactly what uv.lock says, with its URLs."""
    return await run(executable("uv"), "sync", "--frozen", "--no-cache", "--python", sys.executable, cwd=project)


async def install(project: Path, target: Path) -> Ran:
    """Install from a URL with its hash, as `pip freeze` and exported locks have it."""
    words = ["--no-deps", "--no-cache-dir", "--target", target, "-r", project / "requirements.txt"]
    return await run(sys.executable, "-m", "pip", "install", *words)


async def test_a_lock_file_from_before_a_block_is_no_way_around_it(mirrored: Start, tmp_path: Path) -> None:
    async with mirrored() as world:
        now = world.served.engine.clock.now()
        world.upstream.add("demo", NEW, upload_time=to_rfc3339(Timestamp(now - 3_600_000_000)))
        project = tmp_path / "project"
        project.mkdir()
        simple = f"{world.served.url}/root/dev/+simple/"
        (project / "pyproject.toml").write_text(
            '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["demo==2.0"]\n'
        )
        words = ["--no-cache", "--python", sys.executable, "--default-index", simple]
        locked = await run(executable("uv"), "lock", *words, cwd=project)
        assert locked.status == 0, locked.output
        lock = (project / "uv.lock").read_text()
        path = f"/root/pypi/+f/{NEW.sha256[:3]}/{NEW.sha256[3:16]}/{NEW.filename}"
        assert path in lock, "uv locks the URL of the file"
        (project / "requirements.txt").write_text(f"demo @ {world.served.url}{path}#sha256={NEW.sha256}\n")
        for at, lines in enumerate(
            [["cooldown 7d"], ["quarantine stolen for demo==2.0"], [f"revoked sha256:{NEW.sha256}"]]
        ):
            await set_policies(world, *lines)
            for ran in (await sync(project), await install(project, tmp_path / f"held{at}")):
                assert ran.status != 0, ran.output
                assert "404" in ran.output, ran.output
            asked = await run(
                executable("uv"), "pip", "install", "--no-cache", "--target", tmp_path / "asked", "--default-index", simple, "demo==2.0"
            )  # fmt: skip
            assert asked.status != 0
            assert "there is no version of demo==2.0" in asked.output, asked.output
        await world.served.engine.exempting.exempt(
            MIRROR, "pkg:pypi/demo@2.0", reason="looked at", principal=Principal(name="root")
        )
        for ran in (await sync(project), await install(project, tmp_path / "exempt")):
            assert ran.status == 0, ran.output
        assert list((tmp_path / "exempt").glob("demo-2.0.dist-info"))


async def test_a_lock_of_poetry_from_before_a_block_is_no_way_around_it(
    mirrored: Start, tmp_path: Path, tools: Path
) -> None:
    """Its lock has names of files and digests. It takes them from the page of today."""
    async with mirrored() as world:
        project = tmp_path / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text(
            '[project]\nname = "app"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["demo==1.0"]\n'
            "[tool.poetry]\npackage-mode = false\n"
            f'[[tool.poetry.source]]\nname = "index"\nurl = "{world.served.url}/root/dev/+simple/"\npriority = "primary"\n'
        )

        async def poetry(*words: str) -> Ran:
            settings = {
                "POETRY_CACHE_DIR": str(tmp_path / "cache"),
                "POETRY_VIRTUALENVS_IN_PROJECT": "true",
                "POETRY_VIRTUALENVS_OPTIONS_NO_PIP": "true",
                "POETRY_KEYRING_ENABLED": "false",
            }
            return await run(tools / "poetry", *words, "--no-interaction", cwd=project, env=settings)

        locked = await poetry("lock")
        assert locked.status == 0, locked.output
        await set_policies(world, "quarantine stolen for demo==1.0")
        held = await poetry("sync")
        assert held.status != 0
        assert "demo" in held.output, held.output
        await world.served.engine.exempting.exempt(
            MIRROR, "pkg:pypi/demo@1.0", reason="looked at", principal=Principal(name="root")
        )
        installed = await poetry("sync")
        assert installed.status == 0, installed.output
        assert list((project / ".venv").rglob("demo-1.0.dist-info"))
