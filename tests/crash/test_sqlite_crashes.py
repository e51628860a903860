"""A process that dies while it commits, or whose disk fails to synchronise, loses nothing that it acknowledged.

The child commits users one after the other and prints what it was told; it never closes its store. Afterwards the store
opens without help, holds every acknowledged user, nothing of a refused one, and its log has no gap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import MIRROR, ManualClock, mirror, user

_CHILD = """
import asyncio, os, sys
from pathlib import Path
from pkgindex_core import failpoints
from pkgindex_core.changes import MirrorPage, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import PageHead, User
from pkgindex_core.testing.index_cases.values import MIRROR, mirrored

def page(name):
    "Of a project for each lane, which has one more file with each turn, brought whole and as a difference in turn."
    turn, project = name[1:].split("-")
    files = [mirrored(f"{project}-{number}.zip") for number in range(int(turn) + 1)]
    if int(turn) % 2:
        return MirrorPage(MIRROR, project, PageHead(), put=(files[-1],))
    return MirrorPage(MIRROR, project, PageHead(), kept=keep(project, files).kept)

async def commit(store, name):
    try:
        commit = await store.apply([PutUser(User(name=name, description="x" * 3000)), *PAGES(name)], who="child")
    except PkgIndexError as error:
        print(f"refused {name} {type(error).__name__}\\n", end="", flush=True)
    else:
        print(f"acknowledged {name} {commit.serial}\\n", end="", flush=True)

async def main(path, points, count, width):
    try:
        store = await SqliteIndex.open(Path(path), SystemClock())
    except PkgIndexError:
        os._exit(8)
    failpoints.arm(points)
    for number in range(int(count)):
        await asyncio.gather(*(commit(store, f"u{number}-{lane}") for lane in range(int(width))))
    os._exit(9)

asyncio.run(main(*sys.argv[1:]))
"""


def command(path: Path, points: str = "", *, count: int = 6, width: int = 1, pages: bool = False) -> list[str]:
    """`pages`: each commit also changes a page of a mirror."""
    child = _CHILD.replace("PAGES(name)", "[page(name)]" if pages else "()")
    return [sys.executable, "-c", child, str(path), points, str(count), str(width)]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def run(arguments: Sequence[str]) -> list[list[str]]:
    child = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode != 0
    assert not child.stderr, child.stderr
    return [line.split() for line in child.stdout.splitlines()]


async def assert_intact(path: Path, said: Sequence[Sequence[str]]) -> set[str]:
    """Open again, compare with what the child was told, and return whom the store holds."""
    acknowledged = {line[1]: int(line[2]) for line in said if line[0] == "acknowledged"}
    refused = {line[1] for line in said if line[0] == "refused"}
    store = await SqliteIndex.open(path, ManualClock())
    try:
        held = {user.name for user in await store.users()}
        commits = await store.commits(Serial(0), limit=100_000)
        assert acknowledged.keys() <= held
        assert not refused & held
        assert [commit.serial for commit in commits] == list(range(1, len(commits) + 1))
        by_serial = {commit.serial: commit.changes[0] for commit in commits if commit.who == "child"}
        assert all(by_serial[Serial(serial)].user.name == name for name, serial in acknowledged.items())  # type: ignore[union-attr]  # the child puts users
        assert await store.check() == []
    finally:
        await store.close()
    return held


@pytest.mark.parametrize("turn", [1, 4])
@pytest.mark.parametrize("width", [1, 8])
@pytest.mark.parametrize("point", ["commit.begun", "commit.written", "commit.committed"])
async def test_killed_at_every_step_of_a_commit(tmp_path: Path, point: str, turn: int, width: int) -> None:
    path = tmp_path / "index.db"
    said = run(command(path, f"{point}=kill@{turn}", width=width))
    held = await assert_intact(path, said)
    acknowledged = {line[1] for line in said if line[0] == "acknowledged"}
    assert bool(held - acknowledged) == (point == "commit.committed")


@pytest.mark.parametrize("history", [0, 10**6])
@pytest.mark.parametrize("point", ["commit.begun", "commit.written", "commit.committed"])
async def test_killed_while_a_page_of_a_mirror_changes(tmp_path: Path, point: str, history: int) -> None:
    """Its page is that of a commit, and as of each commit before that it was, if the mirror keeps a past."""
    path = tmp_path / "index.db"
    store = await SqliteIndex.open(path, ManualClock())
    await store.apply(
        [PutUser(user("root")), PutIndex(mirror(MIRROR, mirror_history=history))],
        who="test",
    )
    await store.close()
    held = await assert_intact(path, run(command(path, f"{point}=kill@4", width=2, pages=True)))
    store = await SqliteIndex.open(path, ManualClock())
    try:
        last = {project: max((each for each in turns(held) if each[1] == project), default=None) for project in "01"}
        for commit in (await store.commits(Serial(1), limit=100)) if history else ():
            assert isinstance(commit.changes[0], PutUser)
            ((turn, project),) = turns([commit.changes[0].user.name])
            page = await store.page(MIRROR, ProjectName(project), at=commit.serial)
            assert page is not None
            assert len(page.rows) == turn + 1
        for project, turn_of in last.items():
            page = await store.page(MIRROR, ProjectName(project))
            assert (turn_of[0] + 1 if turn_of else None) == (len(page.rows) if page else None)
    finally:
        await store.close()


def turns(names: Iterable[str]) -> list[tuple[int, str]]:
    """The turn and the project of each of the child's users."""
    return [(int(name[1:].split("-")[0]), name.split("-")[1]) for name in names if "-" in name]


@pytest.mark.parametrize("answers", [40, 80, 160])
async def test_killed_at_any_moment(tmp_path: Path, answers: int) -> None:
    path = tmp_path / "index.db"
    await assert_intact(path, run_until(answers, command(path, count=100_000, width=3)))


def run_until(answers: int, arguments: Sequence[str]) -> list[list[str]]:
    """Kill a child behind so many answers, whatever it is doing then."""
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(answers)]
        child.kill()
        lines += [line for line in child.stdout if line.endswith("\n")]
    return [line.split() for line in lines]


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to fail a system call")
@pytest.mark.parametrize("nth", range(1, 11))
async def test_a_sync_that_fails_is_not_acknowledged_and_not_brought_back(tmp_path: Path, nth: int) -> None:
    """The frames of a failed commit lie whole in the log; the crash that follows must not bring them to life.

    The child dies right after its last answer, so the sync of its last commit is the one that tells (see `writer`).
    """
    path = tmp_path / "index.db"
    store = await SqliteIndex.open(path, ManualClock())
    await store.close()
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync,fsync"]
    said = run([*strace, "-e", f"inject=fdatasync,fsync:error=EIO:when={nth}", *command(path)])
    assert len(said) in {0, 6}  # it did not open, or it got all its answers
    await assert_intact(path, said)
