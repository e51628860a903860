"""Both sides die at every step, and go on: the far side ends up byte for byte as the near side was."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgindex_core.failpoints import POINTS
from pkgindex_mirror.bundles import apply_bundle
from tests.mirror.bundles.far_sides import FarSide, NearSide
from tests.mirror.snapshots.mirrors import change, contents, ran, run, run_armed, told

CREATING = ("bundle.planned", "bundle.part_written", "bundle.recorded", "bundle.part_placed")
APPLYING = sorted(point for point in POINTS if point.startswith("bundle.") and point not in CREATING)


@pytest.fixture
def near(tmp_path: Path) -> NearSide:
    near = NearSide(tmp_path)
    near.create("--part-size", "40KiB")
    return near


def page_links_are_whole(root: Path) -> bool:
    """Whether every file that a page names is there."""
    packages = {place.name for place in root.glob("web/packages/*/*/*/*")}
    pages = [place.read_text() for place in root.glob("web/simple/*/index.html")]
    named = {line.partition(">")[2].removesuffix("</a>") for page in pages for line in page.splitlines()}
    return named <= packages


@pytest.mark.parametrize("point", [point for point in APPLYING if point != "bundle.stray_removed"])
@pytest.mark.parametrize("turn", [1, 5])
def test_an_applier_that_dies_goes_on(near: NearSide, point: str, turn: int) -> None:
    far = near.far()
    far.apply(near.out)
    change(near.mirror)
    near.create("--part-size", "40KiB")
    words = ("bundle", "apply", "--root", far.root, "--key", near.public, near.out)
    died = run_armed(f"{point}=kill@{turn}", *words)
    assert died.returncode == -9 or (turn > 1 and died.returncode == 0), died.stderr
    if point != "bundle.applied" and died.returncode:
        shown = told("bundle", "status", "--root", far.root, "--key", near.public)
        assert shown["state"]["bundle"] == 1
    assert page_links_are_whole(far.root)
    ran(*words)
    assert far.contents == near.states[2]
    left = {place.name for place in (far.root / ".pkgindex/bundles").iterdir()}
    assert left - {"manifest-2"} == {"state.json", "lock", "new"}


@pytest.mark.parametrize("point", ["bundle.begun", "bundle.placed", "bundle.stray_removed"])
def test_a_full_bundle_that_dies_goes_on(near: NearSide, point: str) -> None:
    far = near.far()
    far.apply(near.out)
    for number in range(3):
        (far.root / f"web/stray-{number}").write_text("x")
    change(near.mirror)
    parts = near.create("--full")
    words = ("bundle", "apply", "--root", far.root, "--key", near.public, *parts)
    assert run_armed(f"{point}=kill@2", *words).returncode in {-9, 0}
    ran(*words[:-1], near.out)
    assert far.contents == near.states[2]


def test_what_is_durable_is_not_written_again(near: NearSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply_bundle, "_BATCH_FILES", 4)
    far = near.far()
    far.apply(near.out)
    change(near.mirror)
    near.create()
    staged = 0

    def die_at(turn: int) -> Callable[[str], None]:
        def step(name: str) -> None:
            nonlocal staged
            staged += name == "bundle.staged"
            if name == "bundle.staged" and staged == turn:
                raise OSError(errno.EIO, "as if")

        return step

    keys = [apply_bundle.read_key(near.public)]
    with pytest.raises(OSError, match="as if"):
        apply_bundle.Applier(far.root, keys, failpoint=die_at(13)).apply_all([near.out])
    assert 4 <= far.state["done"] < 13, "the batches before the last are durable, of the last nothing is known"
    puts = sum(near.states[1].get(path) != data for path, data in near.states[2].items())
    staged = 0
    apply_bundle.Applier(far.root, keys, failpoint=die_at(0)).apply_all([near.out])
    assert staged <= puts - 3
    assert far.contents == near.states[2]


def test_a_run_goes_on_with_the_whole_one_of_two_copies(near: NearSide) -> None:
    far = near.far()
    words = ("bundle", "apply", "--root", far.root, "--key", near.public, near.out)
    assert run_armed("bundle.placed=kill", *words).returncode == -9
    for part in [*near.out.iterdir()]:
        (near.out / f"second-{part.name}").write_bytes(part.read_bytes())
        data = bytearray(part.read_bytes())
        data[-1] ^= 1
        part.write_bytes(data)
    ran(*words)
    assert far.contents == near.states[1]


def test_another_bundle_does_not_come_between(near: NearSide) -> None:
    far = near.far()
    far.apply(near.out)
    parts = {}
    for number in (2, 3):
        change(near.mirror, seed=number)
        parts[number] = near.create()
    run_armed("bundle.placed=kill@3", "bundle", "apply", "--root", far.root, "--key", near.public, *parts[2])
    assert far.apply(*parts[3]).refused == ["bundle 2 of mirror pypi was begun and is not finished; this is 3"]
    status = told("bundle", "status", "--root", far.root, "--key", near.public, near.out)
    assert status["missing"][0] == "bundle 2 of mirror pypi was begun and is not finished: apply it again"
    assert far.apply(near.out).refused == []
    assert far.contents == near.states[3]


def test_a_full_bundle_ends_one_that_cannot_be_finished(near: NearSide) -> None:
    far = near.far()
    far.apply(near.out)
    change(near.mirror, seed=2)
    lost = near.create()
    run_armed("bundle.placed=kill@3", "bundle", "apply", "--root", far.root, "--key", near.public, *lost)
    lost[0].unlink()
    change(near.mirror, seed=3)
    near.create("--full")
    assert far.apply(near.out).refused == []
    assert far.contents == near.states[3]


@pytest.mark.parametrize("point", CREATING)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_creator_that_dies_goes_on_in_the_same_chain(near: NearSide, point: str, turn: int) -> None:
    far = near.far()
    change(near.mirror)
    near.snapshot()
    state = contents(near.root)
    words = ("--root", near.root, "--out", near.out, "--key", near.key, "--part-size", "40KiB")
    died = run_armed(f"{point}=kill@{turn}", "bundle", "create", *words)
    if died.returncode == 0:
        assert (turn, point) in {(2, "bundle.planned"), (2, "bundle.recorded")}
        return
    assert died.returncode == -9
    again = run("bundle", "create", *words)
    if point in {"bundle.recorded", "bundle.part_placed"}:
        assert again.exit_code == 1
        assert "bundle 2 was begun and is not complete" in again.stderr
        assert "--again 2" in again.stderr
        again = run("bundle", "create", *words, "--again", 2)
    assert again.exit_code == 0, again.stderr
    assert [place.name for place in near.out.iterdir() if place.name.startswith(".")] == []
    assert far.apply(near.out).refused == []
    assert far.contents == state
    assert [each["bundle"] for each in told("bundle", "list", "--root", near.root)["bundles"]] == [1, 2]


def test_a_bundle_that_was_begun_can_be_left_for_a_full_one(near: NearSide) -> None:
    change(near.mirror)
    near.snapshot()
    words = ("--root", near.root, "--out", near.out, "--key", near.key)
    run_armed("bundle.recorded=kill", "bundle", "create", *words)
    ran("bundle", "create", *words, "--full")
    far = near.far()
    far.apply(near.out)
    assert far.contents == contents(near.root)
    assert far.state["bundle"] == 3


class TestFullDisks:
    """A file that may not grow stands for a disk that is full: the kernel refuses the write itself."""

    @pytest.mark.parametrize("limit", [3_000, 30_000, 120_000])
    def test_an_applier_stops_and_goes_on(self, near: NearSide, limit: int) -> None:
        far = near.far()
        words = ("bundle", "apply", "--root", far.root, "--key", near.public, near.out)
        failed = run_armed("", *words, limit=limit)
        assert failed.returncode == 1
        assert os.strerror(errno.EFBIG) in failed.stderr
        assert page_links_are_whole(far.root)
        assert [*(far.root / ".pkgindex/bundles/new").iterdir()] == []
        ran(*words)
        assert far.contents == near.states[1]

    @pytest.mark.parametrize("limit", [3_000, 30_000])
    def test_a_creator_leaves_nothing_behind(self, near: NearSide, limit: int) -> None:
        change(near.mirror)
        near.snapshot()
        before = contents(near.out)
        words = ("bundle", "create", "--root", near.root, "--out", near.out, "--key", near.key)
        failed = run_armed("", *words, limit=limit)
        assert failed.returncode == 1
        assert os.strerror(errno.EFBIG) in failed.stderr
        assert {place.name for place in near.out.iterdir()} == before.keys()
        ran(*words)
        far = near.far()
        far.apply(near.out)
        assert far.contents == contents(near.root)

    @pytest.mark.parametrize("point", ["bundle.staged", "bundle.synced", "bundle.placed"])
    def test_the_exit_status_tells_a_full_disk(self, near: NearSide, point: str) -> None:
        far = near.far()
        words = ("bundle", "apply", "--root", far.root, "--key", near.public, near.out)
        assert (
            run_armed(
                f"{point}=raise:ENOSPC@3" if point != "bundle.synced" else f"{point}=raise:ENOSPC", *words
            ).returncode
            == 5
        )
        ran(*words)
        assert far.contents == near.states[1]

    def test_a_directory_without_room_gets_nothing(self, near: NearSide, monkeypatch: pytest.MonkeyPatch) -> None:
        from pkgindex_mirror.bundles import parts

        change(near.mirror)
        near.snapshot()
        monkeypatch.setattr(parts.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5_000}))
        failed = run("bundle", "create", "--root", near.root, "--out", near.out, "--key", near.key)
        assert failed.exit_code == 5
        assert "has room for 5000" in failed.stderr


class TestOrder:
    def test_files_come_before_pages_and_go_after_them(self, near: NearSide) -> None:
        """Killed at each file in turn, the far side never names what it does not have."""
        far = FarSide(near.place / "slow", near.public)
        far.apply(near.out)
        change(near.mirror)
        near.create()
        words = ("bundle", "apply", "--root", far.root, "--key", near.public, near.out)
        for turn in range(1, 40, 6):
            run_armed(f"bundle.placed=kill@{turn}", *words)
            assert page_links_are_whole(far.root)
            if far.state["bundle"] == 2:
                break
        ran(*words)
        assert far.contents == near.states[2]
