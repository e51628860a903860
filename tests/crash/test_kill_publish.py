"""kill -9 while a static tree is written: nothing half visible, every link leads somewhere, and the next run ends what this one began."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from pkgindex_core.changes import DropFile
from pkgindex_core.digests import sha256_of
from pkgindex_core.failpoints import POINTS
from pkgindex_core.names import ProjectName
from tests.crash.processes import PATIENCE_SECONDS, clean_environment
from tests.mirror.trees import DEV, apply, contents, opened, publish, put, wheel

STEPS = sorted(point for point in POINTS if point.startswith("publish.") and point != "publish.put")

REPEATED = ("publish.written", "publish.moved", "publish.placed")
"""What is passed for each object."""


async def run(data: Path, tree: Path, failpoints: str = "") -> int:
    env = clean_environment() | ({"PKGINDEX_FAILPOINTS": failpoints} if failpoints else {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pkgindex_mirror.cli", "publish", DEV, "--data", data, "--to", tree,
        env=env | {"PYTHONPATH": ":".join(filter(None, sys.path))}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


def examine(tree: Path) -> None:
    """What a reader finds in any state of the tree."""
    for page in (tree / "simple").glob("*/index.json"):
        for file in json.loads(page.read_bytes())["files"]:
            place = page.parent / file["url"]
            assert sha256_of(place.read_bytes()) == file["hashes"]["sha256"]
            sidecar = place.with_name(f"{place.name}.metadata")
            assert sha256_of(sidecar.read_bytes()) == file["core-metadata"]["sha256"]


@pytest.mark.parametrize(("point", "turn"), [*((point, 1) for point in STEPS), *((point, 3) for point in REPEATED)])
async def test_a_killed_run_leaves_a_tree_that_works(tmp_path: Path, point: str, turn: int) -> None:
    data, tree = tmp_path / "data", tmp_path / "tree"
    async with opened(data) as engine:
        await put(engine, wheel("demo", "1.0"), "demo", "1.0")
        await put(engine, wheel("gone", "1.0"), "gone", "1.0")
        await publish(engine, tree)
        before = contents(tree)
        await put(engine, wheel("demo", "1.1"), "demo", "1.1")
        await put(engine, wheel("new", "1.0"), "new", "1.0")
        await apply(engine, DropFile(DEV, ProjectName("gone"), "gone-1.0-py3-none-any.whl"))
        await publish(engine, tmp_path / "fresh")
    after = contents(tmp_path / "fresh")
    assert await run(data, tree, f"{point}=kill@{turn}") == -9
    examine(tree)
    for path, data_there in contents(tree).items():
        assert data_there in {before.get(path), after.get(path)} or path == ".pkgindex/state.json", path
    async with opened(data) as engine:  # what the killed run has written goes away again before the next one
        await apply(engine, DropFile(DEV, ProjectName("new"), "new-1.0-py3-none-any.whl"))
        await publish(engine, tmp_path / "later")
    assert await run(data, tree) == 0
    examine(tree)
    assert contents(tree) == contents(tmp_path / "later")
    assert not list((tree / ".pkgindex/new").iterdir())
