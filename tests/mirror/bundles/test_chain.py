"""Bundles are applied in the order of their chain. One that is missing, replayed, of another chain or mirror is refused by name."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from pkgindex_mirror.bundles.apply_bundle import BundleRefused, read_key, status, status_lines
from tests.mirror.bundles.far_sides import NearSide
from tests.mirror.snapshots.mirrors import change, contents, ran, run, run_armed, told


@pytest.fixture
def near(tmp_path: Path) -> NearSide:
    return NearSide(tmp_path)


def chain(near: NearSide, length: int) -> list[list[Path]]:
    """Bundles, each with the changes of one sync."""
    parts = []
    for number in range(length):
        if number:
            change(near.mirror, seed=number + 1)
        parts.append(near.create("--part-size", "50KiB"))
    return parts


def test_a_chain_arrives_byte_for_byte(near: NearSide) -> None:
    far = near.far()
    for number, parts in enumerate(chain(near, 4), 1):
        report = far.apply(*parts)
        assert (len(report.applied), report.refused, report.old) == (1, [], [])
        assert far.contents == near.states[number]
        assert (far.state["bundle"], far.state["begun"]) == (number, 0)
    assert far.state["serial"] == near.mirror.serial


def test_all_that_lies_there_is_applied_in_order(near: NearSide) -> None:
    chain(near, 4)
    far = near.far()
    report = far.apply(near.out)
    assert [line.partition(":")[0] for line in report.applied] == [f"bundle {n} of mirror pypi" for n in (1, 2, 3, 4)]
    assert far.contents == near.states[4]


def test_a_missing_bundle_is_named(near: NearSide) -> None:
    parts = chain(near, 5)
    far = near.far()
    far.apply(*parts[0])
    before = far.contents
    assert far.apply(*parts[2]).refused == ["bundle 2 of mirror pypi is missing; this is 3"]
    assert far.apply(*parts[4]).refused == ["bundles 2-4 of mirror pypi are missing; this is 5"]
    assert far.apply(*parts[2], *parts[4]).refused == [
        "bundle 2 of mirror pypi is missing; this is 3",
        "bundles 2, 4 of mirror pypi are missing; this is 5",
    ]
    assert far.contents == before
    assert len(far.apply(*parts[1], *parts[4], *parts[2]).applied) == 2


def test_numbers_may_be_dates(near: NearSide) -> None:
    chain(near, 1)
    far = near.far()
    far.apply(near.out)
    lost = near.create("--full", "--number", 20261130120000)
    change(near.mirror, seed=3)
    after = near.create()
    assert far.apply(*after).refused == ["bundles 2-20261130120000 of mirror pypi are missing; this is 20261130120001"]
    assert len(far.apply(*lost, *after).applied) == 2
    assert far.contents == near.states[20261130120001]
    refused = run(
        "bundle", "create", "--root", near.root, "--out", near.out, "--key", near.key, "--full", "--number", 10**20
    )
    assert refused.exit_code == 2


def test_a_tree_begins_with_a_full_bundle(near: NearSide) -> None:
    parts = chain(near, 2)
    far = near.far()
    assert far.apply(*parts[1]).refused == ["bundle 1 of mirror pypi is missing; this is 2"]
    assert far.contents == {}


def test_a_replay_is_refused(near: NearSide) -> None:
    parts = chain(near, 3)
    far = near.far()
    far.apply(near.out)
    told_of_two = "bundle 2 of mirror pypi is a replay: the bundles up to 3 were applied before"
    assert far.apply(*parts[1]).refused == [told_of_two]
    report = far.apply(near.out)
    assert (report.applied, report.refused) == ([], [])
    assert told_of_two in report.old
    assert far.contents == near.states[3]


def test_a_bundle_of_another_mirror_is_refused(near: NearSide, tmp_path: Path) -> None:
    chain(near, 1)
    far = near.far()
    far.apply(near.out)
    (tmp_path / "two").mkdir()
    other = NearSide(tmp_path / "two", seed=9)
    other.key.write_bytes(near.key.read_bytes())
    parts = other.create("--mirror", "conda")
    assert far.apply(*parts).refused == ["bundle 1 of mirror conda is not for this tree, which has mirror pypi"]
    with pytest.raises(BundleRefused, match=r"several mirrors \(conda, pypi\)"):
        near.far("fresh").apply(near.out, other.out)


def test_a_bundle_of_another_chain_is_refused(near: NearSide, tmp_path: Path) -> None:
    """Two trees with one key and one name: the second bundle of one does not fit the first of the other."""
    chain(near, 1)
    far = near.far()
    far.apply(near.out)
    before = far.contents
    (tmp_path / "two").mkdir()
    other = NearSide(tmp_path / "two", seed=9)
    other.key.write_bytes(near.key.read_bytes())
    other.create()
    change(other.mirror)
    report = far.apply(*other.create())
    assert report.refused == ["bundle 2 of mirror pypi goes on from another bundle 1 than the one that was applied"]
    assert far.contents == before


def test_a_bundle_that_was_lost_is_left_out_by_the_next(near: NearSide) -> None:
    """The far side is at bundle 2, and 3 is lost: 4 goes on from 2."""
    parts = chain(near, 3)
    far = near.far()
    far.apply(*parts[0], *parts[1])
    change(near.mirror, seed=7)
    parts.append(near.create("--since", 2))
    late = near.far("late")
    late.apply(*parts[0], *parts[1], *parts[2])
    assert len(far.apply(*parts[3]).applied) == 1
    assert far.contents == near.states[4]
    assert late.apply(*parts[3]).refused == ["bundle 4 of mirror pypi goes on from bundle 2, but bundle 3 was applied"]


def test_a_full_bundle_heals_a_chain_and_a_tree(near: NearSide) -> None:
    parts = chain(near, 3)
    far = near.far()
    far.apply(*parts[0])
    (far.root / "web/simple/stray").mkdir()
    (far.root / "web/simple/stray/index.html").write_text("x")
    (far.root / "web/simple/demo/index.html").write_text("damaged")
    (far.root / "elsewhere").write_text("not of the mirror")
    change(near.mirror, seed=8)
    full = near.create("--full")
    kept = far.root / near.mirror.path_of("other-1.0.tar.gz", near.mirror.projects["other"]["other-1.0.tar.gz"])
    before = kept.stat().st_ino
    assert len(far.apply(*full, *parts[2]).applied) == 1
    assert far.contents == near.states[4] | {"elsewhere": b"not of the mirror"}
    assert kept.stat().st_ino == before, "what is right is not written again"
    change(near.mirror, seed=9)
    assert len(far.apply(*near.create()).applied) == 1
    assert far.contents == near.states[5] | {"elsewhere": b"not of the mirror"}


def test_files_that_no_bundle_brought_are_not_replaced_unasked(near: NearSide) -> None:
    chain(near, 1)
    far = near.far()
    (far.root / "web").mkdir(parents=True)
    (far.root / "web/precious").write_text("x")
    assert "has files that no bundle brought, such as web" in far.apply(near.out).refused[0]
    assert far.contents == {"web/precious": b"x"}
    assert far.apply(near.out, adopt=True).refused == []
    assert far.contents == near.states[1]


def test_the_near_side_knows_where_the_chain_goes_on(near: NearSide) -> None:
    create = ("bundle", "create", "--root", near.root, "--out", near.out, "--key", near.key)
    near.snapshot()
    assert "the first one is full" in run(*create, "--since", 1).stderr
    near.create(snapshot=False)
    assert "there is nothing newer than snapshot 1" in run(*create).stderr
    near.snapshot()
    near.snapshot()
    near.create(snapshot=False)
    assert "no bundle brought the far side to snapshot 2" in run(*create, "--since", 2).stderr
    assert "was created already" in run(*create, "--full", "--number", 2).stderr
    assert "are those of mirror pypi" in run(*create, "--mirror", "conda").stderr
    for words in (("--full", "--since", 1), ("--number", 9), ("--again", 1, "--full"), ("--part-size", "5 apples")):
        assert run(*create, *words).exit_code == 1
    assert "at least 4096" in run(*create, "--full", "--part-size", "1000").stderr
    assert (
        run("bundle", "create", "--root", near.root, "--out", near.out / "no", "--key", near.key, "--full").exit_code
        == 1
    )
    listed = ran("bundle", "list", "--root", near.root).splitlines()
    assert [line.split()[:3] for line in listed] == [["1", "snapshot", "1"], ["2", "snapshot", "3"]]
    assert [each["complete"] for each in told("bundle", "list", "--root", near.root)["bundles"]] == [True, True]


def test_the_snapshot_of_the_last_bundle_is_kept(near: NearSide) -> None:
    chain(near, 2)
    for _ in range(3):
        near.snapshot()
    ran("snapshot", "drop", "--root", near.root, "--keep", 1)
    assert [head["number"] for head in told("snapshot", "list", "--root", near.root)] == [2, 5]
    assert "the next bundle goes on from it" in run("snapshot", "drop", "--root", near.root, 2).stderr
    far = near.far()
    change(near.mirror, seed=6)
    near.create()
    far.apply(near.out)
    assert far.contents == near.states[3]


def test_the_snapshots_of_a_bundle_that_was_begun_are_kept(near: NearSide) -> None:
    chain(near, 1)
    change(near.mirror, seed=2)
    near.snapshot()
    words = ("bundle", "create", "--root", near.root, "--out", near.out, "--key", near.key)
    run_armed("bundle.recorded=kill", *words)
    near.snapshot()
    ran("snapshot", "drop", "--root", near.root, "--keep", 1)
    ran(*words, "--again", 2)
    far = near.far()
    assert far.apply(near.out).refused == []
    assert far.contents == contents(near.root)


def test_parts_of_other_mirrors_in_the_same_directory_stay(near: NearSide, tmp_path: Path) -> None:
    under_way = near.out / ".pypi-test-000001-0001-of-0001.bundle.new"
    under_way.touch()
    died = near.out / ".pypi-000009-0001-of-0001.bundle.new"
    died.touch()
    (first,) = near.create()
    assert under_way.exists()
    assert not died.exists()
    before = first.read_bytes()
    (tmp_path / "b").mkdir()
    other = NearSide(tmp_path / "b", seed=7)
    other.snapshot()
    words = ("bundle", "create", "--root", other.root, "--key", near.key)
    refused = run(*words, "--out", near.out)
    assert "is a part of another bundle 1 of mirror pypi" in refused.stderr
    assert first.read_bytes() == before
    assert told("bundle", "list", "--root", other.root)["bundles"] == []
    first.write_bytes(before[:-1])
    ran("bundle", "create", "--root", near.root, "--key", near.key, "--out", near.out, "--again", 1)
    assert first.read_bytes() == before


def test_the_far_side_can_be_taken_back_to_an_older_snapshot(near: NearSide) -> None:
    chain(near, 2)
    first = near.states[1]
    near.create("--to", 1, snapshot=False)
    far = near.far()
    far.apply(near.out)
    assert far.contents == first


def test_a_list_of_bundles_that_was_lost_begins_again(near: NearSide) -> None:
    chain(near, 2)
    far = near.far()
    far.apply(near.out)
    (near.root / ".pkgindex/bundles/sent.json").unlink()
    change(near.mirror, seed=5)
    parts = near.create("--full", "--number", 3)
    assert len(far.apply(*parts).applied) == 1
    assert far.contents == near.states[3]


def test_equal_snapshots_give_equal_bundles(near: NearSide) -> None:
    parts = chain(near, 3)
    before = {part.name: part.read_bytes() for bundle in parts for part in bundle}
    for number in (3, 1, 2):
        for part in parts[number - 1]:
            part.unlink()
        near.create("--again", number, snapshot=False)
    assert {part.name: part.read_bytes() for part in near.out.iterdir()} == before
    whole = near.create("--again", 2, "--part-size", "1GiB", snapshot=False)
    assert len(whole) == 1
    far = near.far()
    for bundle in (parts[0], whole, parts[2]):
        assert len(far.apply(*bundle).applied) == 1
    assert far.contents == near.states[3]


def test_the_changed_files_are_listed_as_bandersnatch_does(near: NearSide, tmp_path: Path) -> None:
    chain(near, 1)
    before = contents(near.root)
    change(near.mirror)
    near.create("--diff-file", tmp_path / "diff")
    after = contents(near.root)
    wanted = [str(near.root / path) for path in after if before.get(path) != after[path]]
    assert sorted((tmp_path / "diff").read_text().splitlines()) == sorted(wanted)
    near.create("--full", "--diff-file", tmp_path)
    assert len((tmp_path / "mirrored-files").read_text().splitlines()) == len(after)


def test_files_and_directories_change_places(near: NearSide) -> None:
    place = near.root / "web/odd"
    place.write_text("a file")
    near.create()
    place.unlink()
    place.mkdir()
    (place / "deep").mkdir()
    (place / "deep/x").write_text("below")
    near.create()
    far = near.far()
    far.apply(near.out)
    assert far.contents == near.states[2]
    (place / "deep/x").unlink()
    (place / "deep").rmdir()
    place.rmdir()
    place.write_text("a file again")
    near.create()
    far.apply(near.out)
    assert far.contents == near.states[3]
    assert [each.name for each in (far.root / ".pkgindex/bundles/new").iterdir()] == []


def test_directories_that_are_empty_are_gone(near: NearSide) -> None:
    chain(near, 2)
    far = near.far()
    far.apply(near.out)
    assert not (far.root / "web/simple/gone").exists()
    assert not (far.root / "web/pypi/gone").exists()


def test_the_status_tells_what_is_missing(near: NearSide) -> None:
    parts = chain(near, 4)
    far = near.far()
    keys = [read_key(near.public)]
    far.apply(*parts[0])
    parts[1][1].unlink()
    parts[2][0].rename(near.out / "elsewhere.txt")
    report = status(far.root, [near.out], keys)
    assert (report.waiting, report.problems) == ([], [])
    assert report.missing == [
        "bundle 2 of mirror pypi lacks part 2 of 2",
        "bundle 3 of mirror pypi lacks part 1 of 2",
        "bundle 4 of mirror pypi waits for bundle 3",
    ]
    assert status_lines(report)[0].startswith("mirror pypi is at bundle 1, of 20")
    document = told("bundle", "status", "--root", far.root, "--key", near.public, near.out)
    assert document["state"]["bundle"] == 1
    assert document["missing"] == report.missing
    assert json.loads(json.dumps(document)) == document
    near.create("--again", 2, snapshot=False)
    near.create("--again", 3, snapshot=False)
    assert len(status(far.root, [near.out], keys).waiting) == 3


def test_a_new_key_is_taken_beside_the_old_one(near: NearSide, tmp_path: Path) -> None:
    chain(near, 1)
    old = near.public.rename(tmp_path / "old.pub")
    near.key.unlink()
    ran("bundle", "keygen", near.key)
    change(near.mirror)
    near.create()
    far = near.far()
    both = ("bundle", "apply", "--root", far.root, near.out, "--key", old, "--key", near.public)
    assert run(*both[:-2]).exit_code == 1
    assert run(*both).exit_code == 0
    assert far.contents == near.states[2]


def test_two_runs_do_not_meet(near: NearSide) -> None:
    chain(near, 1)
    far = near.far()
    (far.root / ".pkgindex/bundles").mkdir(parents=True)
    with (far.root / ".pkgindex/bundles/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BundleRefused, match="another process applies bundles"):
            far.apply(near.out)


def test_a_damaged_state_is_told(near: NearSide) -> None:
    chain(near, 1)
    far = near.far()
    far.apply(near.out)
    state = far.root / ".pkgindex/bundles/state.json"
    for text in (
        "{",
        "[]",
        json.dumps(far.state | {"bundle": "1"}),
        json.dumps(far.state | {"more": 1}),
        "[" * 100_000,
    ):
        state.write_text(text)
        with pytest.raises(BundleRefused, match=r"state\.json"):
            far.apply(near.out)
    state.unlink()
    assert far.apply(near.out, adopt=True).refused == []
    assert far.contents == near.states[1]


def test_a_far_side_hands_on(near: NearSide, tmp_path: Path) -> None:
    """From the internet to a zone between, and from there inwards: with a key of its own."""
    chain(near, 1)
    zone = near.far("zone")
    zone.apply(near.out)
    ran("bundle", "keygen", tmp_path / "inner")
    (tmp_path / "inner-out").mkdir()
    create = ("--root", zone.root, "--out", tmp_path / "inner-out", "--key", tmp_path / "inner", "--mirror", "inner")
    ran("snapshot", "create", "--root", zone.root)
    ran("bundle", "create", *create)
    change(near.mirror)
    near.create()
    zone.apply(near.out)
    ran("snapshot", "create", "--root", zone.root)
    ran("bundle", "create", *create)
    ran("bundle", "apply", "--root", tmp_path / "inside", "--key", tmp_path / "inner.pub", tmp_path / "inner-out")
    assert contents(tmp_path / "inside") == near.states[2]
