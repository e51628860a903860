"""The older pages of projects in `versions/`: how many stay, and when none do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_mirror.trees.options import TreeOptions
from tests.mirror.mirror_trees.mirrors import contents, imagined, opened, sync

FOREIGN = "index_5_2023-11-13T163127.794474Z.html"
"""As bandersnatch 8.2 names an older page."""


def versions(root: Path, directory: str = "web/simple/beta") -> list[str]:
    place = root / directory / "versions"
    return sorted(each.name for each in place.iterdir()) if place.exists() else []


@pytest.mark.parametrize("hash_index", [False, True], ids=["same place", "other place"])
async def test_pages_that_were_kept_go_when_none_are_to_be_kept(tmp_path: Path, hash_index: bool) -> None:
    beta, tree, fresh = imagined("beta", "1.0"), tmp_path / "tree", tmp_path / "fresh"
    await sync(tree, [beta], TreeOptions(keep_index_versions=2))
    (tree / "web/simple/beta/versions" / FOREIGN).write_bytes(b"older")
    strange = tree / "web/simple/beta/versions/README"
    strange.write_bytes(b"somebody's")
    assert len(versions(tree)) == 5
    now = TreeOptions(hash_index=hash_index)
    await sync(tree, [beta], now)
    assert versions(tree) == ["README"]
    strange.unlink()
    await sync(fresh, [beta], now)
    assert contents(tree) == contents(fresh)


async def test_the_directory_of_kept_pages_goes_with_them(tmp_path: Path) -> None:
    beta = imagined("beta", "1.0")
    await sync(tmp_path, [beta], TreeOptions(keep_index_versions=1))
    await sync(tmp_path, [beta])
    assert not (tmp_path / "web/simple/beta/versions").exists()
    assert not (tmp_path / "web/simple/beta/index.html").is_symlink()


async def test_kept_pages_go_in_a_bucket_too() -> None:
    place, beta = "memory://kept-versions", imagined("beta", "1.0")
    await sync(place, [beta], TreeOptions(keep_index_versions=1))
    await sync(place, [beta])
    async with opened(place) as tree:
        assert await tree.storage.names("web/simple/beta/versions") == []


async def test_pages_that_bandersnatch_kept_are_counted(tmp_path: Path) -> None:
    options = TreeOptions(keep_index_versions=2, simple_format="HTML")
    await sync(tmp_path, [imagined("beta", "1.0")], options)
    place = tmp_path / "web/simple/beta/versions"
    (place / FOREIGN).write_bytes(b"older")
    (place / FOREIGN.replace("index_5", "index_4").replace("-13T", "-12T")).write_bytes(b"oldest")
    await sync(tmp_path, [imagined("beta", "1.0", "1.1", serial=8)], options)
    assert [name.partition("_")[2][0] for name in versions(tmp_path)] == ["7", "7", "8", "8"]
