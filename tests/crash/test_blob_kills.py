"""A real process is killed at each step of storing a blob, real calls fail, a real disk is full; then the store is opened again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pkgindex_core
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.errors import StorageFull
from pkgindex_core.testing.faults import everything_under

Tally = Callable[[str, int], None]

POINTS = ["blob.opened", "blob.written", "blob.file_synced", "blob.renamed", "blob.directory_synced"]

CHILD = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import arm

async def main(root, sizes):
    with ThreadPoolExecutor(1) as workers:
        store = LocalBlobs(Path(root), clock=SystemClock(), workers=workers)
        await store.open()
        arm(os.environ.get("PKGINDEX_FAILPOINTS", ""))
        for number, size in enumerate(sizes):
            try:
                async with store.spool() as spool:
                    await spool.write(bytes([number]) * size)
                    blob = await spool.keep()
                print(f"stored {blob.sha256}\\n", end="", flush=True)
            except Unavailable as refusal:
                print(f"refused {type(refusal).__name__}\\n", end="", flush=True)

asyncio.run(main(sys.argv[1], [int(size) for size in sys.argv[2:]]))
"""

SIZES = [100, 3 << 20, 0, 5000]


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_step(point: str, turn: int, tmp_path: Path, tally: Tally) -> None:
    died, answers = child(tmp_path / "root", environment={"PKGINDEX_FAILPOINTS": f"{point}=kill@{turn}"})
    assert died == -signal.SIGKILL
    assert len(answers) == turn - 1
    await check(tmp_path / "root", answers)
    tally("kills of a process that stores a blob", 1)


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
async def test_an_fsync_that_fails_is_refused_and_not_repeated(tmp_path: Path, tally: Tally) -> None:
    """The kernel really says so, at each of the six calls for two blobs: bytes, name, and the name of a new shard."""
    root, opening = tmp_path / "root", 3
    child(root, sizes=[100])
    for at in range(1, 7):
        trace = tmp_path / f"trace-{at}"
        inject = f"inject=fsync:error=EIO:when={opening + at}"
        traced = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=fsync", "-e", inject]
        died, answers = child(root, sizes=[200 + at, 2 << 20], before=traced)
        assert died == 0
        calls = trace.read_text().splitlines()
        (failed,) = [line.partition("<")[2].partition(">")[0] for line in calls if "INJECTED" in line]
        assert failed.startswith(f"{root}/")
        assert "/staging/" not in failed or sum(failed in line for line in calls) == 1
        assert [word for word, _ in answers].count("refused") == 1
        await check(root, answers)
        shutil.rmtree(root)
        child(root, sizes=[100])
        tally("real fsync errors", 1)


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", ["write", "renameat", "fsync", "mkdir"])
async def test_killed_at_each_system_call(call: str, tmp_path: Path, tally: Tally) -> None:
    for at in range(1, 60):
        root = tmp_path / str(at)
        traced = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=SIGKILL:when={at}"]
        died, answers = child(root, sizes=[100, 2 << 20], before=traced)
        if died == 0:
            break
        await check(root, answers)
        tally("kills of a process that stores a blob", 1)
    assert at > 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 8 MiB and 64 inodes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=8m,nr_inodes=64,mode=700", "tmpfs", str(place)]
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run([mount, *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.faults
async def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    with ThreadPoolExecutor(2) as workers:
        store = LocalBlobs(small_disk / "root", clock=SystemClock(), workers=workers)
        await store.open()
        first = await store.put(b"first")
        (small_disk / "ballast").write_bytes(bytes(5 << 20))
        with pytest.raises(StorageFull) as refusal:
            await store.put(bytes(6 << 20))
        assert "free space" in refusal.value.hint
        assert list(everything_under(small_disk / "root")) == [f"sha256/{first.sha256[:2]}/{first.sha256}"]
        assert b"".join([chunk async for chunk in store.read(first.sha256)]) == b"first"
        (small_disk / "ballast").unlink()
        assert (await store.put(bytes(6 << 20))).size == 6 << 20


@pytest.mark.faults
async def test_a_disk_without_inodes_refuses_and_recovers(small_disk: Path) -> None:
    with ThreadPoolExecutor(2) as workers:
        store = LocalBlobs(small_disk / "root", clock=SystemClock(), workers=workers)
        await store.open()
        stored: set[Sha256] = set()

        async def fill() -> None:
            for number in range(100):
                stored.add((await store.put(b"%d" % number)).sha256)

        with pytest.raises(StorageFull):
            await fill()
        assert len(stored) > 10
        assert {blob.sha256 async for blob in store.walk()} == stored
        assert not list((small_disk / "root/staging").iterdir())
        for _ in range(2):
            await store.drop(stored.pop())
        assert (await store.put(b"there is room again")).size == 19


async def check(root: Path, answers: list[tuple[str, str]]) -> None:
    """What was acknowledged is whole, all else is whole or absent, nothing is left after a sweep."""
    with ThreadPoolExecutor(1) as workers:
        store = LocalBlobs(root, clock=SystemClock(), workers=workers)
        await store.open()
        found = {blob.sha256 async for blob in store.walk()}
        for key in found:
            assert sha256_of(b"".join([chunk async for chunk in store.read(key)])) == key
        assert {what for word, what in answers if word == "stored"} <= found
        await store.sweep(older_than=0)
        assert everything_under(root).keys() == {f"sha256/{key[:2]}/{key}" for key in found}


def child(
    root: Path, *, sizes: list[int] = SIZES, before: list[str] | None = None, environment: dict[str, str] | None = None
) -> tuple[int, list[tuple[str, str]]]:
    """Run a process that stores blobs; how it ended and what it was answered."""
    home = str(Path(pkgindex_core.__file__).parent.parent)
    command = [*(before or []), sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {home!r})\n{CHILD}"]
    done = subprocess.run(
        [*command, str(root), *map(str, sizes)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    answers = [(word, what) for word, _, what in (line.partition(" ") for line in done.stdout.splitlines())]
    return done.returncode, answers
