"""A mirror's tree has bandersnatch's layout, and its pages say all that the upstream says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from msgspec.structs import replace

from pkgindex_core import failpoints
from pkgindex_core.errors import BadUpstream, Conflict, Refused, StorageFull, Unavailable
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_mirror.documents.pages import PageListing, read_page
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees import small_files, syncing_disk
from pkgindex_mirror.trees.layout import file_path
from pkgindex_mirror.trees.options import TreeOptions
from tests.mirror.mirror_trees.mirrors import NOON, bring, contents, examine, imagined, opened, sync

ALPHA = ProjectName("alpha-one")


async def test_a_project_is_published_with_its_files(tmp_path: Path) -> None:
    alpha = imagined("Alpha.One", "1.0", "1.1", yanked="too old", status="archived", document=True)
    fetched = await sync(tmp_path, [alpha], TreeOptions(json=True))
    assert len(fetched) == 6
    assert examine(tmp_path) == 4
    web = tmp_path / "web"
    page = json.loads((web / "simple/alpha-one/index.v1_json").read_bytes())
    assert page["meta"] == {"api-version": "1.4", "_last-serial": 7}
    assert page["project-status"] == {"status": "archived"}
    assert page["versions"] == ["1.0", "1.1"]
    (wheel,) = (file for file in page["files"] if file["filename"] == "alpha_one-1.0-py3-none-any.whl")
    assert wheel["yanked"] == "too old"
    assert wheel["upload-time"] == "2023-11-14T22:13:20.250000Z"
    assert wheel["provenance"].startswith("https://")
    assert wheel["url"].startswith("../../packages/")
    html = (web / "simple/alpha-one/index.html").read_bytes()
    assert html == (web / "simple/alpha-one/index.v1_html").read_bytes()
    assert b"<!--SERIAL 7-->" in html
    assert json.loads((web / "json/alpha-one").read_bytes())["last_serial"] == 7
    assert (web / "pypi/alpha-one/json").read_bytes() == (web / "json/alpha-one").read_bytes()
    root = json.loads((web / "simple/index.v1_json").read_bytes())
    assert root["projects"] == [{"name": "Alpha.One", "_last-serial": 7}]
    assert root["meta"]["_last-serial"] == 9
    assert b'<a href="alpha-one/">Alpha.One</a>' in (web / "simple/index.html").read_bytes()
    assert (tmp_path / "status").read_text() == "9"
    assert (tmp_path / "generation").read_text() == "5"
    assert (web / "last-modified").read_text().endswith("\n")


async def test_files_have_the_time_of_their_upload_and_are_readable(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0")
    before = os.umask(0o077)
    try:
        await sync(tmp_path, [alpha])
    finally:
        os.umask(before)
    for path in (tmp_path / "web").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert {path.stat().st_mtime_ns // 1000 for path in (tmp_path / "web/packages").rglob("*.whl")} == {NOON + 250_000}


async def test_nothing_is_fetched_again(tmp_path: Path) -> None:
    projects = [imagined("alpha-one", "1.0"), imagined("beta", "2.0")]
    await sync(tmp_path, projects)
    before = contents(tmp_path)
    assert await sync(tmp_path, projects) == []
    assert contents(tmp_path) == before


async def test_a_file_that_was_changed_on_disk_is_missing(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", has_sidecars=False)
    await sync(tmp_path, [alpha])
    wheel, sdist = alpha.project.files
    place = tmp_path / file_path(wheel)
    place.write_bytes(b"x" * place.stat().st_size)
    (tmp_path / file_path(sdist)).unlink()
    assert await sync(tmp_path, [alpha]) == [wheel.filename, sdist.filename]
    assert examine(tmp_path) == 2


async def test_files_that_are_not_chosen_any_more_are_removed(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", "1.1")
    await sync(tmp_path, [alpha])
    kept = [file.filename for file in alpha.project.files if file.version == "1.1"]
    async with opened(tmp_path) as tree, tree.turn():
        await bring(tree, alpha, chosen=kept)
        await tree.settle()
        assert examine(tmp_path) == 2
        assert len([path for path in (tmp_path / "web/packages").rglob("*") if path.is_file()]) == 3
        held = await tree.held(ALPHA)
        assert held == alpha.project  # with what was left out
        await bring(tree, alpha)
        await tree.settle()
    assert examine(tmp_path) == 4


async def test_a_file_of_two_projects_stays_until_both_are_gone(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0")
    other = replace(alpha, project=replace(alpha.project, name=ProjectName("other"), raw="other"))
    await sync(tmp_path, [alpha, other])
    await sync(tmp_path, [], gone=["alpha-one"])
    assert examine(tmp_path) == 2
    assert not (tmp_path / "web/simple/alpha-one").exists()
    await sync(tmp_path, [], gone=["other"])
    assert list((tmp_path / "web/packages").iterdir()) == []
    assert json.loads((tmp_path / "web/simple/index.v1_json").read_bytes())["projects"] == []


async def test_a_removed_project_leaves_nothing(tmp_path: Path) -> None:
    options = TreeOptions(json=True)
    await sync(tmp_path, [imagined("beta", "2.0", document=True)], options)
    before = contents(tmp_path)
    await sync(tmp_path, [imagined("alpha-one", "1.0", document=True)], options)
    await sync(tmp_path, [], options, gone=["alpha-one"])
    assert contents(tmp_path) == before
    async with opened(tmp_path) as tree:
        await tree.open()
        assert await tree.state(ALPHA) is None
        assert await tree.held(ALPHA) is None
        assert [state.name async for batch in tree.states() for state in batch] == ["beta"]


async def test_wrong_bytes_are_not_kept(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0")
    file = alpha.project.files[0]
    async with opened(tmp_path) as tree, tree.turn():
        for wrong in (b"short", b"x" * (file.size or 0)):
            async with tree.sink(file) as sink:
                await sink.write(wrong)
                with pytest.raises(BadUpstream, match=file.filename):
                    await sink.keep()
        with pytest.raises(Unavailable, match="not in the tree"):
            await tree.publish(alpha.project, alpha.project.files, ProjectState(name=ALPHA))
        await tree.finish({})
    assert not [path for path in (tmp_path / "web/packages").rglob("*") if path.is_file()]
    assert not (tmp_path / "web/simple/alpha-one").exists()
    assert list((tmp_path / ".pkgindex/new").iterdir()) == []


async def test_a_large_file_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", size=5_000_000)
    file = alpha.project.files[0]
    data = alpha.bytes[file.filename].data
    async with opened(tmp_path) as tree, tree.turn(), tree.sink(file) as sink:
        await sink.write(data[:3_000_000])
        await sink.write(data[3_000_000:3_000_100])
    async with opened(tmp_path) as tree, tree.turn():
        async with tree.sink(file) as sink:
            assert sink.offset == 3_000_100
            await sink.write(data[sink.offset :])
        async with tree.sink(file) as sink:  # all bytes came before it was killed
            assert sink.offset == len(data) - 1
            await sink.write(data[-1:])
            await sink.keep()
        assert [each.filename for each in await tree.missing([file])] == [f"{file.filename}.metadata"]
    assert (tmp_path / file_path(file)).read_bytes() == data
    assert list((tmp_path / ".pkgindex/arriving").iterdir()) == []


async def test_an_upstream_that_cannot_resume_starts_again(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", size=3_000_000)
    file = alpha.project.files[0]
    data = alpha.bytes[file.filename].data
    async with opened(tmp_path) as tree, tree.turn():
        async with tree.sink(file) as sink:
            await sink.write(b"x" * 2_000_000)
        async with tree.sink(file) as sink:
            await sink.restart()
            assert sink.offset == 0
            await sink.write(data)
            await sink.keep()
    assert (tmp_path / file_path(file)).read_bytes() == data


async def test_one_run_at_a_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other, one.turn():
        with pytest.raises(Conflict, match="another run"):
            async with other.turn():
                pass


async def test_rows_are_seen_before_their_group_is_written(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0")
    async with opened(tmp_path) as tree, tree.turn():
        await bring(tree, alpha)
        state = await tree.state(ALPHA)
        assert state is not None
        assert state.serial == 7
        assert await tree.held(ALPHA) == alpha.project
        await tree.remove(ALPHA)
        assert await tree.state(ALPHA) is None
        await tree.settle()
    assert not (tmp_path / "web/simple/alpha-one").exists()


@pytest.mark.parametrize(
    "filename", ["../evil.whl", "..", "a/b.whl", "a\0b.whl", ".hidden", "x" * 300, "line\nbreak.whl"]
)
async def test_hostile_filenames_have_no_place(tmp_path: Path, filename: str) -> None:
    file = File(filename=filename, digests={"sha256": "a" * 64}, url="https://files.example/packages/x")
    async with opened(tmp_path) as tree, tree.turn():
        assert await tree.missing([file]) == [file]
        with pytest.raises(Refused):
            tree.sink(file)


@pytest.mark.parametrize(
    ("url", "directory"),
    [
        (f"https://a.example/prefix/packages/aa/bb/{'c' * 60}/x-1.tar.gz", f"aa/bb/{'c' * 60}"),
        (f"https://a.example/packages/AA/bb/{'c' * 60}/x-1.tar.gz", f"11/11/{'1' * 60}"),
        (f"https://a.example/packages/../bb/{'c' * 60}/x-1.tar.gz", f"11/11/{'1' * 60}"),
        ("https://a.example/+f/abc/x-1.tar.gz", f"11/11/{'1' * 60}"),
    ],
)
def test_a_file_keeps_the_path_of_its_upstream(url: str, directory: str) -> None:
    file = File(filename="x-1.tar.gz", digests={"sha256": "1" * 64}, url=url)
    assert file_path(file) == f"web/packages/{directory}/x-1.tar.gz"


async def test_projects_that_failed_are_left_to_bandersnatch(tmp_path: Path) -> None:
    async with opened(tmp_path) as tree, tree.turn():
        await bring(tree, imagined("alpha-one", "1.0"))
        await tree.put_states([ProjectState(name=ProjectName("bad"), raw="Bad", serial=4, error="503")])
        await tree.finish({"serial": "12"})
        assert (tmp_path / "todo").read_text() == "12\nBad 4"
        await tree.put_states([ProjectState(name=ProjectName("bad"), raw="Bad", serial=5)])
        await tree.finish({"serial": "13"})
    assert not (tmp_path / "todo").exists()
    assert (tmp_path / "status").read_text() == "13"


@pytest.mark.parametrize(
    "point",
    ["tree.files_settled", "tree.pages_written", "tree.page_moved", "tree.pages_moved", "tree.rows_written"],
)
async def test_a_full_disk_ends_a_run_and_not_the_mirror(tmp_path: Path, point: str) -> None:
    alpha = imagined("alpha-one", "1.0")
    await sync(tmp_path, [alpha])
    before = contents(tmp_path)
    newer = imagined("alpha-one", "1.0", "1.1", serial=8)
    async with opened(tmp_path) as tree, tree.turn():
        failpoints.arm(f"{point}=raise:ENOSPC")
        try:
            await bring(tree, newer)
            with pytest.raises(StorageFull):
                await tree.settle()
            with pytest.raises(StorageFull):
                await bring(tree, imagined("beta", "1.0"))
        finally:
            failpoints.disarm()
    assert examine(tmp_path) >= 2
    assert before.keys() <= contents(tmp_path).keys()
    await sync(tmp_path, [newer])
    assert examine(tmp_path) == 4


async def test_rows_for_which_there_is_no_room_end_a_run_as_a_full_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as tree, tree.turn():
        database = tree.rows._database
        await database.do(lambda: database.one("PRAGMA max_page_count = 1"))
        with pytest.raises(StorageFull):
            await tree.put_facts({f"fact {number}": "x" * 1000 for number in range(1000)})
        await database.do(lambda: database.one("PRAGMA max_page_count = 100000"))
        await tree.put_facts({"fact": "1"})
        assert (await tree.facts())["fact"] == "1"


async def test_a_file_for_which_there_is_no_room_leaves_nothing(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0", size=2_000_000, has_sidecars=False)
    file = alpha.project.files[0]
    async with opened(tmp_path) as tree, tree.turn():
        failpoints.arm("tree.file_part_written=raise:ENOSPC;tree.file_checked=raise:ENOSPC@2")
        try:
            async with tree.sink(file) as sink:
                with pytest.raises(StorageFull):
                    await sink.write(alpha.bytes[file.filename].data)
        finally:
            failpoints.disarm()
        await bring(tree, alpha)
        await tree.finish({})
    assert examine(tmp_path) == 2


async def test_a_tree_says_all_that_its_upstream_says(tmp_path: Path) -> None:
    """So it can be mirrored in its turn."""
    alpha = imagined("Alpha.One", "1.0", "1.1rc1", serial=11, yanked="why not", status="deprecated")
    await sync(tmp_path, [alpha, imagined("beta", "2", serial=None)])
    for page in ("index.v1_json", "index.html"):
        listing = read_page(
            (tmp_path / "web/simple/alpha-one" / page).read_bytes(),
            JSON_V1 if page.endswith("json") else "text/html",
            "https://mirror.example/simple/alpha-one/",
            ALPHA,
        )
        assert isinstance(listing, PageListing)
        assert listing.status == "deprecated"
        found = {file.filename: file for file in listing.files}
        for file in alpha.project.files:
            url = f"https://mirror.example{file_path(file).removeprefix('web')}"
            expected = replace(file, url=url)
            if page == "index.html":  # has no sizes and times
                expected = replace(expected, size=None, upload_time=None)
            assert found[file.filename] == expected
    root = json.loads((tmp_path / "web/simple/index.v1_json").read_bytes())
    # A project without a serial at the upstream gets one of ours.
    assert [(each["name"], each["_last-serial"]) for each in root["projects"]] == [("Alpha.One", 11), ("beta", 12)]
    page = json.loads((tmp_path / "web/simple/beta/index.v1_json").read_bytes())
    assert page["meta"]["_last-serial"] == 12


async def test_serials_of_our_own_grow_with_changes_only(tmp_path: Path) -> None:
    async def serial_of(*versions: str) -> int:
        await sync(tmp_path, [imagined("beta", *versions, serial=None)])
        page = json.loads((tmp_path / "web/simple/beta/index.v1_json").read_bytes())
        return int(page["meta"]["_last-serial"])

    assert [await serial_of("1"), await serial_of("1"), await serial_of("1", "2")] == [1, 1, 2]


async def test_without_release_files_links_lead_to_the_upstream(tmp_path: Path) -> None:
    alpha = imagined("alpha-one", "1.0")
    assert await sync(tmp_path / "one", [alpha], TreeOptions(release_files=False)) == []
    page = json.loads((tmp_path / "one/web/simple/alpha-one/index.v1_json").read_bytes())
    assert {file["url"] for file in page["files"]} == {file.url for file in alpha.project.files}
    options = TreeOptions(release_files=False, root_uri="https://cdn.example/")
    await sync(tmp_path / "other", [alpha], options)
    page = json.loads((tmp_path / "other/web/simple/alpha-one/index.v1_json").read_bytes())
    assert all(file["url"].startswith("https://cdn.example/packages/") for file in page["files"])
    assert [file["filename"] for file in page["files"] if "core-metadata" in file] == ["alpha_one-1.0-py3-none-any.whl"]


async def test_directories_may_be_on_other_file_systems(tmp_path: Path, other_file_system: Path) -> None:
    (tmp_path / "web").mkdir()
    for directory in ("packages", "simple"):
        (other_file_system / directory).mkdir()
        (tmp_path / "web" / directory).symlink_to(other_file_system / directory)
    alpha = imagined("alpha-one", "1.0", size=1_500_000)
    await sync(tmp_path, [alpha])
    assert len(await sync(tmp_path, [imagined("alpha-one", "1.0", "2.0", size=1_500_000)])) == 3
    assert examine(tmp_path) == 4
    assert list((tmp_path / ".pkgindex/new").iterdir()) == []


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system")
    with TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)


async def test_a_file_system_without_nameless_files_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "_NAMELESS", 0)
    await sync(tmp_path, [imagined("alpha-one", "1.0")])
    assert examine(tmp_path) == 2
    assert list((tmp_path / ".pkgindex/new").iterdir()) == []


@pytest.mark.parametrize("has_syncfs", [True, False])
async def test_many_projects_are_durable_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_syncfs: bool
) -> None:
    """Every page and file is synchronised, alone or with its file system, before anything speaks of it."""
    if not has_syncfs:
        monkeypatch.setattr(syncing_disk, "_syncfs", None)
    synced: set[str] = set()
    plain = os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await sync(tmp_path, [imagined(f"p{number}", "1.0") for number in range(20)])
    assert examine(tmp_path) == 40
    files = {str(path) for path in (tmp_path / "web/packages").rglob("*") if path.is_file()}
    if not has_syncfs:
        assert files <= synced
        assert {str(Path(path).parent) for path in files} <= synced
