"""A process that dies while it commits, or whose disk fails to synchronise, loses nothing that it acknowledged.

The child commits users one after the other and prints what it was told; it never closes its store. Afterwards the store
opens without help, holds every acknowledged user, nothing of a refused one, and its log has no gap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import Serial
from pkgindex_core.testing.index_cases.values import ManualClock

_CHILD = """
import asyncio, os, sys
from pathlib import Path
from pkgindex_core import failpoints
from pkgindex_core.changes import PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.models import User

async def commit(store, name):
    try:
        commit = await store.apply([PutUser(User(name=name, description="x" * 3000))], who="child")
    except PkgIndexError as error:
        print("refused", name, type(error).__name__, flush=True)
    else:
        print("acknowledged", name, commit.serial, flush=True)

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


def command(path: Path, points: str = "", *, count: int = 6, width: int = 1) -> list[str]:
    return [sys.executable, "-c", _CHILD, str(path), points, str(count), str(width)]


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
        by_serial = {commit.serial: commit.changes[0] for commit in commits}
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
