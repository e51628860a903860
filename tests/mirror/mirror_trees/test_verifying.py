"""A verification finds what is wrong with a tree and mends it, and removes nothing that it does not know to be nobody's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pkgindex_core.errors import Refused
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.deleting import delete_projects
from pkgindex_mirror.trees.layout import file_path, sidecar_path
from pkgindex_mirror.trees.options import Compare, TreeOptions
from pkgindex_mirror.trees.project_files import named_files
from pkgindex_mirror.trees.verifying import FetchFiles, TreeReport, TreeVerifying, VerifyOrder, WrongFile
from tests.mirror.mirror_trees.mirrors import Imagined, contents, examine, imagined, opened, sync
from tests.mirror.mirror_trees.test_adopting import bandersnatch_tree

ALPHA, BETA = ProjectName("alpha-one"), ProjectName("beta")
JSON = TreeOptions(json=True)


def projects() -> list[Imagined]:
    return [imagined("alpha-one", "1.0", "1.1", serial=3, document=True), imagined("beta", "1.0", document=True)]


async def verify(
    place: Path, order: VerifyOrder, options: TreeOptions = JSON, *, upstream: Sequence[Imagined] = ()
) -> TreeReport:
    async with opened(place, options) as tree, tree.turn():

        async def fetch(name: ProjectName, files: Sequence[File]) -> None:
            (one,) = (each for each in upstream if each.project.name == name)
            for file in files:
                found = one.bytes[file.filename.removesuffix(".metadata")]
                async with tree.sink(file) as sink:
                    await sink.restart()
                    await sink.write(found.metadata if file.filename.endswith(".metadata") else found.data)
                    await sink.keep()

        fetching: FetchFiles | None = fetch if upstream else None
        return await TreeVerifying(tree, order, fetching).run()


@pytest.mark.parametrize("compare", ["hash", "stat"])
async def test_a_clean_tree_is_left_alone(tmp_path: Path, compare: Compare) -> None:
    await sync(tmp_path, projects(), JSON)
    before = contents(tmp_path)
    report = await verify(tmp_path, VerifyOrder(compare=compare, delete=True))
    assert (report.projects, report.files, report.wrong, report.pages, report.unowned) == (2, 9, [], [], [])
    assert report.is_clean
    assert not report.lists
    assert contents(tmp_path) == before


def damage(root: Path, one: Imagined) -> tuple[File, File, File]:
    """Lose a file, shorten one, and change one without changing its time."""
    wheel, sdist, other = one.project.files[:3]
    (root / file_path(wheel)).unlink()
    (root / file_path(sdist)).write_bytes(b"short")
    place = root / file_path(other)
    before = place.stat()
    place.write_bytes(b"x" * before.st_size)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    return wheel, sdist, other


async def test_damage_is_found(tmp_path: Path) -> None:
    there = projects()
    await sync(tmp_path, there, JSON)
    wheel, sdist, other = damage(tmp_path, there[0])
    before = contents(tmp_path)
    report = await verify(tmp_path, VerifyOrder(dry_run=True, delete=True))
    assert sorted(report.wrong) == sorted(
        [
            WrongFile(ALPHA, wheel.filename, "missing"),
            WrongFile(ALPHA, sdist.filename, "wrong size"),
            WrongFile(ALPHA, other.filename, "wrong bytes"),
        ]
    )
    assert report.pages == [ALPHA]
    assert not report.is_clean
    assert contents(tmp_path) == before
    by_stat = await verify(tmp_path, VerifyOrder(dry_run=True, compare="stat"))
    assert {each.problem for each in by_stat.wrong} == {"missing", "wrong size"}


async def test_wrong_files_are_fetched(tmp_path: Path) -> None:
    there = projects()
    await sync(tmp_path, there, JSON)
    before = contents(tmp_path)
    damage(tmp_path, there[0])
    (tmp_path / sidecar_path(there[1].project.files[0])).write_bytes(b"no metadata")
    report = await verify(tmp_path, VerifyOrder(), upstream=there)
    assert (len(report.wrong), report.fetched, report.pages) == (4, 4, [])
    assert report.is_clean
    assert contents(tmp_path) == before


async def test_without_an_upstream_pages_name_only_what_is_right(tmp_path: Path) -> None:
    there = projects()
    await sync(tmp_path, there, JSON)
    wheel, sdist, other = damage(tmp_path, there[0])
    report = await verify(tmp_path, VerifyOrder(delete=True))
    assert (report.pages, report.is_clean, report.unowned) == ([ALPHA], False, [])
    assert examine(tmp_path) == 3
    async with opened(tmp_path, JSON) as tree:
        await tree.open()
        state = await tree.state(ALPHA)
        assert state is not None
        assert (state.serial, state.chosen_by) == (None, "")  # so the next sync brings them
    fetched = await sync(tmp_path, there, JSON)
    assert sorted(name for name in fetched if not name.endswith(".metadata")) == sorted(
        [wheel.filename, sdist.filename, other.filename]
    )
    assert examine(tmp_path) == 6


@pytest.mark.parametrize(
    "place",
    [
        "web/simple/alpha-one/index.html",
        "web/simple/alpha-one/index.v1_json",
        "web/json/alpha-one",
        "web/pypi/alpha-one/json",
    ],
)
async def test_wrong_pages_are_written_anew(tmp_path: Path, place: str) -> None:
    await sync(tmp_path, projects(), JSON)
    before = contents(tmp_path)
    (tmp_path / place).unlink()
    (tmp_path / place).write_bytes(before[place][:30])
    assert (await verify(tmp_path, VerifyOrder(delete=True))).pages == [ALPHA]
    assert contents(tmp_path) == before
    (tmp_path / place).unlink()
    assert (await verify(tmp_path, VerifyOrder())).pages == [ALPHA]
    assert contents(tmp_path) == before


async def test_wrong_lists_are_written_anew(tmp_path: Path) -> None:
    await sync(tmp_path, projects(), JSON)
    before = contents(tmp_path)
    (tmp_path / "web/simple/index.v1_json").write_bytes(b"{")
    assert (await verify(tmp_path, VerifyOrder())).lists
    assert contents(tmp_path) == before


async def test_files_of_nobody_are_removed_when_that_is_wanted(tmp_path: Path) -> None:
    await sync(tmp_path, projects(), JSON)
    before = contents(tmp_path)
    paths = [f"web/packages/aa/bb/{'c' * 60}/old-1.0.tar.gz", "web/packages/.leftover"]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"?")
    assert (await verify(tmp_path, VerifyOrder())).unowned == []
    report = await verify(tmp_path, VerifyOrder(delete=True, dry_run=True))
    assert (sorted(report.unowned), report.removed) == (sorted(paths), 0)
    assert (await verify(tmp_path, VerifyOrder(delete=True))).removed == 2
    assert contents(tmp_path) == before
    assert not (tmp_path / "web/packages/aa/bb").exists()


async def test_very_many_files_are_not_removed_at_once(tmp_path: Path) -> None:
    await sync(tmp_path, [imagined("alpha-one", "1.0", has_sidecars=False)])
    for number in range(3):
        (tmp_path / f"web/packages/old-{number}.tar.gz").write_bytes(b"?")
    report = await verify(tmp_path, VerifyOrder(delete=True), TreeOptions())
    assert (len(report.unowned), report.removed) == (3, 0)
    assert "too many" in report.kept_because
    assert (await verify(tmp_path, VerifyOrder(delete=True, most_removed=1.0), TreeOptions())).removed == 3


async def test_a_document_that_cannot_be_read_removes_nothing(tmp_path: Path) -> None:
    alpha, beta = imagined("alpha-one", "1.0", has_sidecars=False), imagined("beta", "1.0", has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha, beta)
    for broken in ("web/json/alpha-one", "web/simple/alpha-one/index.v1_json", "web/simple/alpha-one/index.html"):
        (tmp_path / broken).write_bytes(b'{"releases": {')
    (tmp_path / "web/packages/old.tar.gz").write_bytes(b"?")
    report = await verify(tmp_path, VerifyOrder(delete=True))
    assert (report.unowned, report.removed) == ([], 0)
    assert "alpha-one" in report.kept_because
    async with opened(tmp_path, JSON) as tree, tree.turn():
        await tree.remove(ALPHA)
        await tree.settle()
    assert (await verify(tmp_path, VerifyOrder(delete=True, most_removed=1.0))).removed == 2


async def test_an_adopted_tree_gets_its_own_pages(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", has_sidecars=False)
    bandersnatch_tree(tmp_path, alpha)
    report = await verify(tmp_path, VerifyOrder(delete=True))
    assert (report.files, report.wrong, report.pages, report.unowned) == (1, [], [ALPHA], [])
    assert b'"api-version":"1.4"' in (tmp_path / "web/simple/alpha-one/index.v1_json").read_bytes()
    assert (await verify(tmp_path, VerifyOrder(compare="stat"))).pages == []


async def test_hidden_projects_keep_their_files(tmp_path: Path) -> None:
    await sync(tmp_path, projects(), JSON)
    async with opened(tmp_path, JSON) as tree, tree.turn():
        await tree.hide(ProjectState(name=BETA, published=True, hidden=True))
        await tree.finish({})
        held = await tree.held(BETA)
        assert held is not None
    assert not (tmp_path / "web/simple/beta").exists()
    assert b"beta" not in (tmp_path / "web/simple/index.html").read_bytes()
    report = await verify(tmp_path, VerifyOrder(delete=True))
    assert (report.files, report.pages, report.unowned) == (9, [], [])
    before = contents(tmp_path)
    assert await sync(tmp_path, projects(), JSON) == []
    assert (tmp_path / "web/simple/beta/index.html").exists()
    assert before.keys() < contents(tmp_path).keys()


async def test_projects_are_deleted_by_hand(tmp_path: Path) -> None:
    there = projects()
    await sync(tmp_path / "fresh", there[1:], JSON)
    await sync(tmp_path / "tree", there, JSON)
    before = contents(tmp_path / "tree")
    async with opened(tmp_path / "tree", JSON) as tree, tree.turn():
        report = await delete_projects(tree, ["Alpha_One", "nothing"], dry_run=True)
        assert (report.deleted, report.absent, report.files) == ([ALPHA], ["nothing"], 6)
    assert contents(tmp_path / "tree") == before
    async with opened(tmp_path / "tree", JSON) as tree, tree.turn():
        with pytest.raises(Refused):
            await delete_projects(tree, ["alpha-one", "no/name"])
        assert (await delete_projects(tree, ["Alpha_One"])).files == 6
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("options", [JSON, TreeOptions(json=True, hash_index=True, keep_index_versions=1)])
async def test_pages_of_nobody_are_removed_with_their_files(tmp_path: Path, options: TreeOptions) -> None:
    await sync(tmp_path / "tree", projects(), options)
    await sync(tmp_path / "fresh", projects()[1:], options)
    async with opened(tmp_path / "tree", options) as tree, tree.turn():
        page = await tree.page(ALPHA)
        assert page is not None
        await tree.rows.pages.drop(ALPHA, [path for path, _ in named_files(page)], [])
    report = await verify(tmp_path / "tree", VerifyOrder(delete=True, most_removed=1.0), options)
    assert report.removed == len(report.unowned) > 6
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")
