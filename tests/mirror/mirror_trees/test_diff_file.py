"""The diff file lists every path that was written, also by a run that did not end."""

from __future__ import annotations

from pathlib import Path

from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.trees.diff_file import write_diff_file
from pkgindex_mirror.trees.options import TreeOptions
from tests.mirror.mirror_trees.mirrors import Imagined, bring, imagined, opened

OPTIONS = TreeOptions(json=True, remember_changes=True)


async def listed(place: Path, *projects: Imagined, to: Path, append_epoch: bool = False) -> Path | None:
    async with opened(place, OPTIONS) as tree, tree.turn():
        for each in projects:
            await bring(tree, each)
        await tree.finish({})
        return await write_diff_file(tree, to, str(place), append_epoch=append_epoch, clock=ManualClock())


async def test_all_written_paths_are_listed_once(tmp_path: Path) -> None:
    tree, diff = tmp_path / "tree", tmp_path / "lists/diff"
    alpha = imagined("alpha-one", "1.0", document=True)
    assert await listed(tree, alpha, alpha, to=diff) == diff
    lines = diff.read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert {Path(line) for line in lines} == {
        path for path in (tree / "web").rglob("*") if path.is_file() and path.name != "last-modified"
    }
    assert await listed(tree, to=diff) is None
    assert diff.read_text() == ""


async def test_the_list_of_a_run_that_did_not_end_comes_with_the_next(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    async with opened(tree, OPTIONS) as target, target.turn():
        await bring(target, imagined("alpha-one", "1.0"))
        await target.settle()
    await listed(tree, imagined("beta", "1.0"), to=tmp_path / "diff")
    lines = (tmp_path / "diff").read_text()
    assert "/simple/alpha-one/index.html\n" in lines
    assert "/alpha_one-1.0.tar.gz" in lines
    assert "/simple/beta/index.html\n" in lines


async def test_names_of_diff_files(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    tree = tmp_path / "tree"
    assert await listed(tree, imagined("a", "1"), to=tmp_path / "lists") == tmp_path / "lists/mirrored-files"
    epoch = ManualClock().now() // 1_000_000
    found = await listed(tree, imagined("b", "1"), to=tmp_path / "diff", append_epoch=True)
    assert found == tmp_path / f"diff-{epoch}"
