"""Names point at snapshots, and are switched in one step: a web server never sees half of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mirror.snapshots.mirrors import FakeMirror, change, contents, ran, run, run_armed, sample, take


@pytest.fixture
def mirror(tmp_path: Path) -> FakeMirror:
    return sample(tmp_path / "m")


def published(mirror: FakeMirror, name: str) -> Path:
    return mirror.root / ".pkgindex/published" / name


def trees(mirror: FakeMirror) -> set[str]:
    return {place.name for place in (mirror.root / ".pkgindex/trees").iterdir()}


def test_names_are_promoted_one_after_the_other_and_go_back(mirror: FakeMirror) -> None:
    states = []
    for seed in (2, 3):
        take(mirror.root)
        states.append(contents(mirror.root))
        change(mirror, seed=seed)
    assert ran("snapshot", "promote", "--root", mirror.root, 1, "dev") == f"{published(mirror, 'dev')}\n"
    ran("snapshot", "promote", "--root", mirror.root, "dev", "prod")
    ran("snapshot", "promote", "--root", mirror.root, 2, "dev")
    assert contents(published(mirror, "dev")) == states[1]
    assert contents(published(mirror, "prod")) == states[0]
    ran("snapshot", "promote", "--root", mirror.root, "dev", "prod")
    assert trees(mirror) == {"2"}
    assert ran("snapshot", "rollback", "--root", mirror.root, "prod") == "1\n"
    assert contents(published(mirror, "prod")) == states[0]
    assert contents(published(mirror, "dev")) == states[1]
    again = run("snapshot", "rollback", "--root", mirror.root, "prod")
    assert (again.exit_code, again.stderr.splitlines()[0]) == (1, "error: prod has no snapshot to go back to")
    ran("snapshot", "withdraw", "--root", mirror.root, "prod")
    assert not published(mirror, "prod").exists()
    assert trees(mirror) == {"2"}


def test_a_tree_costs_no_room_and_can_be_moved(mirror: FakeMirror, tmp_path: Path) -> None:
    place = mirror.put("demo", "demo-9.tar.gz", bytes(100_000))
    take(mirror.root)
    ran("snapshot", "promote", "--root", mirror.root, 1, "dev")
    assert (published(mirror, "dev") / place.relative_to(mirror.root)).stat().st_ino == place.stat().st_ino
    state = contents(mirror.root)
    mirror.root.rename(tmp_path / "moved")
    assert contents(tmp_path / "moved/.pkgindex/published/dev") == state


def test_what_was_never_there_is_refused(mirror: FakeMirror) -> None:
    take(mirror.root)
    assert run("snapshot", "promote", "--root", mirror.root, 5, "dev").exit_code == 1
    assert run("snapshot", "rollback", "--root", mirror.root, "dev").exit_code == 1
    assert run("snapshot", "withdraw", "--root", mirror.root, "dev").exit_code == 1
    assert not (mirror.root / ".pkgindex/trees").exists()


def test_a_damaged_note_is_told(mirror: FakeMirror) -> None:
    take(mirror.root)
    ran("snapshot", "promote", "--root", mirror.root, 1, "dev")
    (mirror.root / ".pkgindex/snapshots/names.json").write_text("{")
    failed = run("snapshot", "list", "--root", mirror.root)
    assert failed.exit_code == 1
    assert "names.json is damaged" in failed.stderr
    assert published(mirror, "dev").exists()


def test_a_lost_tree_is_made_again(mirror: FakeMirror) -> None:
    take(mirror.root)
    ran("snapshot", "promote", "--root", mirror.root, 1, "dev")
    shutil.rmtree(mirror.root / ".pkgindex/trees")
    ran("snapshot", "list", "--root", mirror.root)
    assert contents(published(mirror, "dev")) == contents(mirror.root)


STEPS = {"snapshot.tree_made": 1, "snapshot.name_noted": 2, "snapshot.name_switched": 2}
"""The snapshot that a name stands for after a switch died at each step."""


@pytest.mark.parametrize(("point", "after"), STEPS.items())
def test_a_switch_that_dies_is_whole(mirror: FakeMirror, point: str, after: int) -> None:
    states = {}
    for number in (1, 2):
        take(mirror.root)
        states[number] = contents(mirror.root)
        change(mirror, seed=number + 1)
    ran("snapshot", "promote", "--root", mirror.root, 1, "prod")
    died = run_armed(f"{point}=kill", "snapshot", "promote", "--root", mirror.root, 2, "prod")
    assert died.returncode == -9
    assert contents(published(mirror, "prod")) in states.values()
    ran("snapshot", "list", "--root", mirror.root)
    assert contents(published(mirror, "prod")) == states[after]
    assert trees(mirror) == {f"{after}"}
