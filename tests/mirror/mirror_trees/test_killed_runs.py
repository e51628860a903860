"""kill -9 while a tree is brought up to date: every link leads to a whole file, and the next run makes the tree of an undisturbed one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from pkgindex_core.failpoints import POINTS
from pkgindex_mirror.trees.options import TreeOptions
from tests.crash.processes import PATIENCE_SECONDS, clean_environment
from tests.mirror.mirror_trees.killed_run import OPTIONS, after, before
from tests.mirror.mirror_trees.mirrors import contents, examine, sync

STEPS = sorted(point for point in POINTS if point.startswith("tree."))
REPEATED = ("tree.file_placed", "tree.page_moved", "tree.removed")
"""What is passed for each file or page."""


async def killed(place: Path, failpoints: str, options: TreeOptions = OPTIONS) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.mirror.mirror_trees.killed_run", place, msgspec.json.encode(options).decode(),
        env=clean_environment() | {"PKGINDEX_FAILPOINTS": failpoints, "PYTHONPATH": ":".join(filter(None, sys.path))},
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.wait() == -9


@pytest.mark.parametrize(
    ("point", "turn"), [*((point, 1) for point in STEPS), *((point, turn) for point in REPEATED for turn in (2, 5))]
)
async def test_a_killed_run_is_ended_by_the_next(tmp_path: Path, point: str, turn: int) -> None:
    tree, fresh = tmp_path / "tree", tmp_path / "fresh"
    await sync(tree, before(), OPTIONS)
    await killed(tree, f"{point}=kill@{turn}")
    assert examine(tree) > 0
    await sync(tree, after(), OPTIONS, gone=["gone"])
    await sync(fresh, after(), OPTIONS)
    assert examine(tree) == 6
    assert contents(tree) == contents(fresh)
    assert list((tree / ".pkgindex/new").iterdir()) == []


@pytest.mark.parametrize("point", ["tree.page_moved", "tree.pages_moved", "tree.doomed_removed"])
async def test_older_pages_survive_a_killed_run(tmp_path: Path, point: str) -> None:
    options = TreeOptions(keep_index_versions=2)
    tree = tmp_path / "tree"
    await sync(tree, before(), options)
    await killed(tree, f"{point}=kill@1", options)
    assert examine(tree) > 0
    await sync(tree, after(), options, gone=["gone"])
    assert examine(tree) == 6
    for page in (tree / "web/simple").glob("*/index.*"):
        assert page.is_symlink()
        assert not page.readlink().is_absolute()
    assert not (tree / "web/simple/gone").exists()
    assert len(list((tree / "web/simple/alpha-one/versions").iterdir())) == 6


@pytest.mark.parametrize("point", ["tree.page_moved", "tree.pages_moved"])
async def test_a_project_that_nobody_wants_after_the_kill_leaves_no_pages(tmp_path: Path, point: str) -> None:
    tree, fresh = tmp_path / "tree", tmp_path / "fresh"
    await sync(tree, before(), OPTIONS)
    await killed(tree, f"{point}=kill@1" if point.endswith("pages_moved") else f"{point}=kill@9")
    assert (tree / "web/simple/new/index.html").exists()
    await sync(tree, before(), OPTIONS)
    assert not (tree / "web/simple/new").exists()
    await sync(fresh, before(), OPTIONS)
    pages = [path for path in contents(tree) if not path.startswith("web/packages/")]
    assert pages == [path for path in contents(fresh) if not path.startswith("web/packages/")]
