"""kill -9 while a store is written down or made again: whatever is there then is whole, and the same command goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import Serial
from tests.crash.oracle import prepare_data
from tests.crash.processes import PATIENCE_SECONDS, Starter, clean_environment

Command = Callable[..., "asyncio.Future[int]"]


@pytest.fixture
def command(starter: Starter, tmp_path: Path) -> Callable[..., object]:
    """Run `pkgindex-serve …` to its end; return its status, negative for a signal."""

    async def run(*words: str | Path, failpoints: str = "") -> int:
        env = clean_environment() | ({"PKGINDEX_FAILPOINTS": failpoints} if failpoints else {})
        with (tmp_path / "output").open("ab") as output:
            pid = starter.fork([*map(str, words)], env, output.fileno(), output.fileno())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (status := starter.status(pid)) is None:
                await asyncio.sleep(0.005)
        return status

    return run


async def commits_of(data: Path) -> object:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        return await engine.store.commits(Serial(0)), {blob.sha256 async for blob in engine.blobs.walk()}


@pytest.mark.parametrize(
    "point", [*sorted(point for point in POINTS if point.startswith("export.")), "blob.renamed", "blob.written"]
)
async def test_a_killed_export_goes_on(command: Command, tmp_path: Path, point: str) -> None:
    data, dump, again = tmp_path / "data", tmp_path / "dump", tmp_path / "again"
    await prepare_data(data)
    assert await command("export", dump, "--data", data, failpoints=f"{point}=kill") == -9
    assert await command("export", dump, "--data", data) == 0
    assert await command("import", dump, "--data", again) == 0
    assert await commits_of(again) == await commits_of(data)
    assert not [*(dump / "commits").glob(".*")]


@pytest.mark.parametrize(
    "point",
    [*sorted(point for point in POINTS if point.startswith("restore.")), "blob.renamed", "commit.written"],
)
async def test_a_killed_restore_goes_on(command: Command, tmp_path: Path, point: str) -> None:
    data, dump, again = tmp_path / "data", tmp_path / "dump", tmp_path / "again"
    await prepare_data(data)
    assert await command("export", dump, "--data", data) == 0
    assert await command("import", dump, "--data", again, failpoints=f"{point}=kill") == -9
    assert await command("import", dump, "--data", again) == 0
    assert await commits_of(again) == await commits_of(data)
