"""A snapshot is the tree as it was, whatever happens to the tree: syncs, removals, files written in place, commands that die."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
from pathlib import Path

import pytest

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused
from pkgindex_core.failpoints import POINTS
from pkgindex_mirror.bundles.apply_bundle import order_of
from pkgindex_mirror.snapshots import hashing
from pkgindex_mirror.snapshots.taking import Snapshots
from pkgindex_mirror.snapshots.walking import walk
from tests.mirror import trees
from tests.mirror.snapshots.mirrors import change, contents, kept, opened, ran, run, run_armed, sample, take, told


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files that are read for their digests."""
    found: list[str] = []
    original = hashing.digest_of

    def noting(root: Path, file: hashing.WalkedFile) -> str:
        found.append(file.path)
        return original(root, file)

    monkeypatch.setattr(hashing, "digest_of", noting)
    return found


def objects(root: Path) -> set[str]:
    return {place.name for place in (root / ".pkgindex/objects").rglob("*") if place.is_file()}


def test_a_snapshot_outlives_what_happens_to_the_tree(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    states = {}
    for seed in (2, 3, 4):
        states[take(mirror.root)] = contents(mirror.root)
        change(mirror, seed=seed)
    snapshots, _ = opened(mirror.root)
    assert [*states] == [1, 2, 3]
    for number, state in states.items():
        assert kept(snapshots, number) == state


def test_a_file_that_is_overwritten_in_place_stays_as_it_was(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    number = take(mirror.root)
    before = (mirror.root / "status").read_bytes()
    (mirror.root / "status").write_text("999")
    assert kept(opened(mirror.root)[0], number)["status"] == before


def test_a_large_file_that_is_overwritten_in_place_is_noticed_and_healed(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    place = mirror.put("demo", "demo-8.0.tar.gz", bytes(50_000))
    number = take(mirror.root)
    place.write_bytes(bytes(49_999) + b"x")
    snapshots, _ = opened(mirror.root)
    with pytest.raises(Corrupt, match=r"demo-8\.0"):
        kept(snapshots, number)
    mirror.write(place.relative_to(mirror.root).as_posix(), bytes(50_000))
    assert kept(snapshots, take(mirror.root)) == contents(mirror.root)


def test_what_belongs_to_programs_is_left_out(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    before = contents(mirror.root)
    for name in ("todo", "mirrored-files", "web/simple/.index.html.x7", "web/.well", ".lock"):
        (mirror.root / name).write_text("x")
    assert kept(opened(mirror.root)[0], take(mirror.root)) == before


def test_any_tree_of_files_will_do(tmp_path: Path) -> None:
    for path in ("simple/a/index.html", "files/a/a-1.whl", "index.html", "a b/c"):
        (tmp_path / "t" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / path).write_text(path)
    snapshots, _ = opened(tmp_path / "t")
    assert kept(snapshots, take(tmp_path / "t")) == contents(tmp_path / "t")
    assert [file.path for file in snapshots.files(1)] == [
        "a b/c",
        "files/a/a-1.whl",
        "index.html",
        "simple/a/index.html",
    ]


def test_equal_trees_have_equal_listings(tmp_path: Path) -> None:
    for name in ("one", "two"):
        take(sample(tmp_path / name).root)
    listings = [(tmp_path / name / ".pkgindex/snapshots/1/files.gz").read_bytes() for name in ("one", "two")]
    assert listings[0] == listings[1]


def test_packages_are_not_read_when_their_pages_tell_their_digests(tmp_path: Path, read: list[str]) -> None:
    mirror = sample(tmp_path / "m")
    number = take(mirror.root)
    assert [path for path in read if path.startswith("web/packages")] == []
    assert kept(opened(mirror.root)[0], number) == contents(mirror.root)


@pytest.mark.parametrize("url", ["https://files.example.org/packages/{}", "/packages/{}"])
def test_digests_come_from_absolute_links_too(tmp_path: Path, read: list[str], url: str) -> None:
    mirror = sample(tmp_path / "m")
    for place in (mirror.root / "web/simple").glob("*/index*"):
        place.write_text(place.read_text().replace("../../packages/", url.format("")))
    take(mirror.root)
    assert [path for path in read if path.startswith("web/packages")] == []


def test_a_package_whose_size_is_not_that_of_its_page_is_read(tmp_path: Path, read: list[str]) -> None:
    mirror = sample(tmp_path / "m")
    for place in (mirror.root / "web/simple").glob("*/index*html"):
        place.unlink()
    damaged = mirror.path_of("other-1.0.tar.gz", mirror.projects["other"]["other-1.0.tar.gz"])
    mirror.write(damaged, b"cut off")
    number = take(mirror.root)
    assert damaged in read
    assert kept(opened(mirror.root)[0], number)[damaged] == b"cut off"


def test_what_has_not_changed_is_not_read_again(tmp_path: Path, read: list[str]) -> None:
    mirror = sample(tmp_path / "m")
    mirror.settle()
    take(mirror.root)
    read.clear()
    take(mirror.root)
    assert read == []
    mirror.put("other", "other-2.0.tar.gz", b"new")
    take(mirror.root)
    assert sorted(read) == [
        "status",
        "web/json/other",
        "web/pypi/other/json",
        "web/simple/index.html",
        "web/simple/index.v1_json",
        "web/simple/other/index.html",
        "web/simple/other/index.v1_html",
        "web/simple/other/index.v1_json",
    ]


def test_a_file_that_is_written_twice_in_a_moment_is_read_again(tmp_path: Path) -> None:
    """Size, time and inode may be equal: a stamp made at once after a write does not count."""
    mirror = sample(tmp_path / "m")
    place = mirror.root / "web/last-modified"
    place.write_text("one")
    status = place.stat()
    take(mirror.root)
    with place.open("r+") as file:
        file.write("two")
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert kept(opened(mirror.root)[0], take(mirror.root))["web/last-modified"] == b"two"


def test_damaged_stamps_cost_time_only(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    mirror.settle()
    take(mirror.root)
    (mirror.root / ".pkgindex/snapshots/stamps.gz").write_bytes(b"x")
    assert kept(opened(mirror.root)[0], take(mirror.root)) == contents(mirror.root)


def test_a_symlink_to_a_file_in_the_tree_counts_as_the_file(tmp_path: Path) -> None:
    """As bandersnatch makes them with keep_index_versions."""
    mirror = sample(tmp_path / "m")
    page = mirror.root / "web/simple/demo/index.html"
    version = mirror.root / "web/simple/demo/versions/index_7.html"
    version.parent.mkdir()
    page.rename(version)
    page.symlink_to(version)
    assert kept(opened(mirror.root)[0], take(mirror.root)) == contents(mirror.root)


@pytest.mark.parametrize("target", ["..", "/etc/hostname", "nowhere", "../../../../outside"])
def test_other_symlinks_are_refused(tmp_path: Path, target: str) -> None:
    mirror = sample(tmp_path / "m")
    (tmp_path / "outside").write_text("x")
    (mirror.root / "web/simple/demo/link").symlink_to(target)
    with pytest.raises(Refused, match="web/simple/demo/link is a symlink"):
        take(mirror.root)
    assert opened(mirror.root)[0].heads() == []


@pytest.mark.parametrize("name", ["a\nb", "a\\b", "a\x7f", b"\xff".decode(errors="surrogateescape")])
def test_names_that_no_bundle_could_carry_are_refused(tmp_path: Path, name: str) -> None:
    mirror = sample(tmp_path / "m")
    (mirror.root / "web" / name).write_text("x")
    with pytest.raises(Refused, match="the name"):
        take(mirror.root)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    os.mkfifo(mirror.root / "web/pipe")
    with pytest.raises(Refused, match="web/pipe is no regular file"):
        take(mirror.root)


@pytest.mark.parametrize("lock", [".lock", ".pkgindex/lock", ".pkgindex/snapshots/lock"])
def test_a_tree_that_is_written_to_is_not_taken(tmp_path: Path, lock: str) -> None:
    mirror = sample(tmp_path / "m")
    take(mirror.root)
    with (mirror.root / lock).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            take(mirror.root)
        assert run("snapshot", "create", "--root", mirror.root).exit_code == 1
        assert len(told("snapshot", "list", "--root", mirror.root)) == 1, "reading goes on"
    assert take(mirror.root) == 2


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = sample(tmp_path / "m")
    original = Snapshots._keep_objects

    def late(self: Snapshots, *rest: object) -> None:
        mirror.put("demo", "demo-0.0-py3-none-any.whl", b"x")
        original(self, *rest)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Snapshots, "_keep_objects", late)
    with pytest.raises(Conflict, match="changed while"):
        take(mirror.root)
    monkeypatch.undo()
    assert opened(mirror.root)[0].heads() == []
    number = take(mirror.root)
    assert number == 2
    assert kept(opened(mirror.root)[0], number) == contents(mirror.root)


def test_dropping_removes_the_bytes_that_no_other_snapshot_has(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    states = {}
    for seed in (2, 3, 4):
        states[take(mirror.root)] = contents(mirror.root)
        change(mirror, seed=seed)
    snapshots, _ = opened(mirror.root)
    for number in (2, 1, 3):
        ran("snapshot", "drop", "--root", mirror.root, number)
        del states[number]
        assert objects(mirror.root) == {file.sha256 for other in states for file in snapshots.files(other)}
        for other, state in states.items():
            assert kept(snapshots, other) == state
    assert take(mirror.root) == 4, "a number is given once"


def test_the_newest_are_kept_and_what_is_needed(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    ran("snapshot", "create", "--root", mirror.root)
    ran("snapshot", "promote", "--root", mirror.root, "latest", "prod")
    for _ in range(3):
        ran("snapshot", "create", "--root", mirror.root, "--keep", 2)
    assert [head["number"] for head in told("snapshot", "list", "--root", mirror.root)] == [1, 3, 4]
    refused = run("snapshot", "drop", "--root", mirror.root, 1)
    assert refused.exit_code == 1
    assert "snapshot 1 is needed: a name points at it" in refused.stderr


def test_a_tree_as_it_was_gives_no_new_snapshot_if_asked(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    create = ("snapshot", "create", "--root", mirror.root, "--if-changed")
    assert [ran(*create), ran(*create)] == ["1\n", "1\n"]
    change(mirror)
    assert ran(*create) == "3\n"


def test_snapshots_are_found_and_shown(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    ran("snapshot", "create", "--root", mirror.root, "--name", "first")
    (mirror.root / "status").write_text("nonsense")
    ran("snapshot", "create", "--root", mirror.root, "--serial", 77)
    shown = [told("snapshot", "show", "--root", mirror.root, word) for word in ("1", "first", "latest")]
    assert [(each["number"], each["name"], each["serial"]) for each in shown] == [
        (1, "first", 7),
        (1, "first", 7),
        (2, "", 77),
    ]
    assert shown[0]["files"] == len(contents(mirror.root))
    lines = ran("snapshot", "show", "--root", mirror.root, "1", "--files").splitlines()
    assert len(lines) == shown[0]["files"]
    assert lines[0] == f"{sha256_of(b'5')} 1 generation"
    missing = run("snapshot", "show", "--root", mirror.root, "9")
    assert (missing.exit_code, missing.stderr.splitlines()[0]) == (1, "error: no snapshot '9'")


def test_a_difference_is_listed(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    before = contents(mirror.root)
    take(mirror.root)
    change(mirror)
    after = contents(mirror.root)
    take(mirror.root)
    lines = ran("snapshot", "diff", "--root", mirror.root, 1).splitlines()
    wanted = [f"+ {path}" for path in after.keys() - before.keys()]
    wanted += [f"- {path}" for path in before.keys() - after.keys()]
    wanted += [f"~ {path}" for path in before.keys() & after.keys() if before[path] != after[path]]
    assert sorted(lines) == sorted(wanted)
    document = told("snapshot", "diff", "--root", mirror.root, 2, 1)
    assert (document["added"], document["removed"]) == (
        len(before.keys() - after.keys()),
        len(after.keys() - before.keys()),
    )


@pytest.mark.parametrize("name", ["..", "a/b", "7", "latest", "x" * 65, "a b"])
def test_bad_names_are_refused(tmp_path: Path, name: str) -> None:
    mirror = sample(tmp_path / "m")
    take(mirror.root)
    assert run("snapshot", "create", "--root", mirror.root, "--name", name).exit_code == 1
    assert run("snapshot", "promote", "--root", mirror.root, "1", name).exit_code == 1
    assert run("snapshot", "promote", "--root", mirror.root, "1", "").exit_code == 1


def test_a_directory_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="has no files"):
        take(tmp_path / "empty")
    with pytest.raises(Missing):
        take(tmp_path / "nowhere")


def test_a_damaged_listing_is_noticed_and_can_be_dropped(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    take(mirror.root)
    place = mirror.root / ".pkgindex/snapshots/1/files.gz"
    place.write_bytes(place.read_bytes()[:100])
    snapshots, _ = opened(mirror.root)
    with pytest.raises(Corrupt, match="damaged"):
        kept(snapshots, 1)
    ran("snapshot", "drop", "--root", mirror.root, 1)
    assert kept(snapshots, take(mirror.root)) == contents(mirror.root)


STEPS = sorted(
    point for point in POINTS if point.startswith("snapshot.") and "name" not in point and "tree" not in point
)


@pytest.mark.parametrize("point", STEPS)
@pytest.mark.parametrize("turn", [1, 3])
def test_a_command_that_dies_is_finished_or_undone(tmp_path: Path, point: str, turn: int) -> None:
    mirror = sample(tmp_path / "m")
    take(mirror.root)
    states = {1: contents(mirror.root)}
    change(mirror)
    words = (
        ("create",)
        if point in {"snapshot.listed", "snapshot.object_kept", "snapshot.linked", "snapshot.kept"}
        else ("drop", 2)
    )
    if words[0] == "drop":
        take(mirror.root)
        change(mirror, seed=5)
        take(mirror.root)
        states[3] = contents(mirror.root)
    died = run_armed(f"{point}=kill@{turn}", "snapshot", words[0], "--root", mirror.root, *words[1:])
    assert died.returncode in ({-9} if turn == 1 else {-9, 0})
    listed = [head["number"] for head in told("snapshot", "list", "--root", mirror.root)]
    snapshots, _ = opened(mirror.root)
    if point == "snapshot.kept" or died.returncode == 0:
        states |= {2: contents(mirror.root)} if words[0] == "create" else {}
    assert listed == [*states]
    for number, state in states.items():
        assert kept(snapshots, number) == state
    assert objects(mirror.root) == {file.sha256 for number in states for file in snapshots.files(number)}
    assert [*(mirror.root / ".pkgindex/snapshots/new").iterdir()] == []
    assert kept(snapshots, take(mirror.root)) == contents(mirror.root)


@pytest.mark.parametrize("point", ["snapshot.listed", "snapshot.object_kept", "snapshot.linked"])
def test_a_full_disk_changes_nothing(tmp_path: Path, point: str) -> None:
    mirror = sample(tmp_path / "m")
    take(mirror.root)
    before = objects(mirror.root)
    change(mirror)
    failed = run_armed(f"{point}=raise:ENOSPC", "snapshot", "create", "--root", mirror.root)
    assert failed.returncode == 5
    assert "no room" in failed.stderr
    assert [head["number"] for head in told("snapshot", "list", "--root", mirror.root)] == [1]
    assert objects(mirror.root) == before


def test_a_walk_meets_files_in_the_order_in_which_listings_are_compared(tmp_path: Path) -> None:
    """A directory stands between files whose names begin like its own."""
    for path in ("a/b", "a-b", "a.b/c", "a+/x", "a b", "ab", "a/+", "A", "ä/x", "a/b-/c", "z/a!"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    paths = [file.path for file in walk(tmp_path)]
    assert len(paths) == 11
    assert paths == sorted(paths, key=order_of)


async def test_a_published_tree_is_taken_without_reading_its_packages(tmp_path: Path, read: list[str]) -> None:
    async with trees.opened(tmp_path / "data") as engine:
        await trees.put(engine, trees.wheel("demo", "1.0"), "demo", "1.0")
        await trees.publish(engine, tmp_path / "tree")
    number = take(tmp_path / "tree")
    assert [path for path in read if path.endswith((".whl", ".tar.gz"))] == []
    assert kept(opened(tmp_path / "tree")[0], number) == contents(tmp_path / "tree")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP])
def test_a_tree_that_cannot_be_linked_is_not_copied(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = sample(tmp_path / "m")

    def fail(*_: object) -> None:
        raise OSError(number, "no")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", fail)
        with pytest.raises(Refused, match=r"another user's|another file system|no hard links"):
            take(mirror.root)
    assert told("snapshot", "list", "--root", mirror.root) == []
    assert objects(mirror.root) == set()
    assert take(mirror.root) == 2


def test_a_file_that_has_too_many_names_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = sample(tmp_path / "m")
    link = os.link

    def fail_at_pages(source: Path, target: Path) -> None:
        if "index" in Path(source).name or len(Path(target).parts) > len(mirror.root.parts) + 4:
            raise OSError(errno.EMLINK, "no")
        link(source, target)

    monkeypatch.setattr(os, "link", fail_at_pages)
    snapshots, names = opened(mirror.root)
    number = take(mirror.root)
    assert kept(snapshots, number) == contents(mirror.root)
    with snapshots.places.locked():
        assert contents(names.promote(number, "dev")) == contents(mirror.root)


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("index.html", f'<a href="http://[x#sha256={"a" * 64}">x</a>'),
        ("index.v1_json", f'{{"files": [{{"url": "x", "size": {2**70}, "hashes": {{"sha256": "{"a" * 64}"}}}}]}}'),
        ("index.v1_json", '{"files": [], "x": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    ],
)
def test_a_page_that_an_upstream_spoilt_is_a_file_like_others(tmp_path: Path, name: str, page: str) -> None:
    mirror = sample(tmp_path / "m")
    mirror.write(f"web/simple/odd/{name}", page.encode())
    number = take(mirror.root)
    assert kept(opened(mirror.root)[0], number) == contents(mirror.root)


def test_a_symlink_to_itself_is_refused(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    (mirror.root / "web/loop").symlink_to("loop")
    with pytest.raises(Refused, match="web/loop is a symlink"):
        take(mirror.root)


@pytest.mark.parametrize("file", ["head.json", "files.gz"])
@pytest.mark.parametrize("data", [b"garbage", gzip.compress(b"no line\n", mtime=0), None])
def test_damage_to_one_snapshot_does_not_hold_the_others_back(tmp_path: Path, file: str, data: bytes | None) -> None:
    mirror = sample(tmp_path / "m")
    for seed in (2, 3, 4):
        take(mirror.root)
        change(mirror, seed=seed)
    place = mirror.root / ".pkgindex/snapshots/2" / file
    place.unlink()
    if data is not None:
        place.write_bytes(data)
    ran("snapshot", "drop", "--root", mirror.root, 1)
    ran("snapshot", "drop", "--root", mirror.root, 2)
    snapshots, _ = opened(mirror.root)
    newest = take(mirror.root)
    assert snapshots.places.numbers() == [3, newest]
    assert kept(snapshots, newest) == contents(mirror.root)
    assert len(kept(snapshots, 3)) == snapshots.head(3).files


def test_a_status_that_is_no_serial_is_none(tmp_path: Path) -> None:
    mirror = sample(tmp_path / "m")
    (mirror.root / "status").write_text("9" * 5000)
    assert opened(mirror.root)[0].head(take(mirror.root)).serial is None


@pytest.mark.parametrize("word", ["9" * 5000, "latest", "nowhere"])
def test_a_tree_without_snapshots_tells_how_to_take_one(tmp_path: Path, word: str) -> None:
    done = run("snapshot", "show", "--root", sample(tmp_path / "m").root, word)
    assert done.exit_code == 1
    assert "`snapshot create` takes one" in done.stderr
