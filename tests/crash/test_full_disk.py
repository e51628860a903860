"""Real disks that are full, and a real kernel that fails to synchronise. Needs root (and strace); skipped visibly elsewhere.

The free space is brought down to every number of pages that matters, so that each write of an upload is once the one that
finds no room: the archive, its metadata, the log of the database. The same with inodes, and with each fsync.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pkgindex_core.composition.backup_places import opened_backups
from pkgindex_core.config import Settings
from pkgindex_core.errors import StorageFull
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from tests.crash.clients import ask
from tests.crash.oracle import BEFORE, examine, examine_files, file_path, prepare_data, spooled, upload
from tests.crash.processes import PATIENCE_SECONDS, ServerProcess, Starter, running
from tests.http.conftest import Serve, Served
from tests.mirror.test_file_cache import Disk, key_of

Tally = Callable[[str, int], None]

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None,
        reason="needs root, to mount small disks",
    ),
]

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small disk: `mount(size="8m", nr_inodes=100)`."""
    mounted: list[Path] = []

    def make(**options: str | int) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        told = ",".join(f"{name}={value}" for name, value in options.items())
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", told, "tmpfs", place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"cannot mount a disk here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


async def test_uploads_until_the_disk_is_full_and_on_when_there_is_room(
    serve: Serve, mount: Mount, tally: Tally
) -> None:
    disk = mount(size="8m")
    (disk / "ballast").write_bytes(bytes(2 << 20))
    acknowledged: list[BuiltFile] = []
    async with serve(data=disk / "data", store="", blobs="") as served:
        for number in range(20):
            built = wheel_of(700_000, f"{number}.0")
            answer = await upload(served.address, built)
            assert answer is not None
            if answer.status == 507:
                break
            assert answer.status == 200, answer.body
            acknowledged.append(built)
        assert 4 <= len(acknowledged) < 10
        assert b"free space" in answer.body
        assert (await ask(served.address, "/+live")).status == 200
        await assert_shows(served, acknowledged, absent=built)
        assert spooled(disk / "data") == []
        (disk / "ballast").unlink()
        for refused in (built, wheel_of(10, "99.0")):
            answer = await upload(served.address, refused)
            assert answer is not None
            assert answer.status == 200, answer.body
            acknowledged.append(refused)
        await assert_shows(served, acknowledged)
    await examine_files(disk / "data", files=len(acknowledged))
    tally("acknowledged uploads checked", len(acknowledged))


async def test_a_cache_lives_with_less_disk_than_its_bound(mount: Mount) -> None:
    """The least recently used files leave for those that arrive, so the disk is not full."""
    size = 700_000
    with ThreadPoolExecutor(4) as workers:
        disk = Disk(mount(size="10m"), ManualClock(), workers)
        server = await disk.server(size=1 << 30)
        for number in range(40):
            await server.fetch(f"{number}", size)
            server.cache.used(key_of("0", size))
            assert shutil.disk_usage(disk.root).free > 400_000
        kept = disk.stored()
        assert 10 <= len(kept) <= 14
        assert {key_of("0", size), key_of("39", size)} <= kept.keys()  # the one is in use all the time
        async with server.cache.arriving() as copy:
            copy.expect(30_000_000, "")  # for which no removal is enough
            await asyncio.sleep(0.1)
        assert disk.stored() == kept
        async with server.cache.arriving() as copy:
            copy.expect(6_000_000, "")
            async with asyncio.timeout(20):
                while shutil.disk_usage(disk.root).free < 6_000_000:
                    await asyncio.sleep(0)
        await server.close()


async def test_a_backup_onto_a_full_disk_stops_cleanly_and_goes_on(serve: Serve, mount: Mount, tmp_path: Path) -> None:
    disk = mount(size="2m")
    (disk / "ballast").write_bytes(bytes(1 << 20))
    async with serve(data=tmp_path / "data", store="", blobs="") as served:
        for number in range(3):
            await served.put(wheel_of(400_000, f"{number}.0"))

        settings = Settings(data=tmp_path / "data")
        async with opened_backups(str(disk / "backup"), settings) as place:
            identity = await served.engine.uuid()
            with pytest.raises(StorageFull):
                await served.engine.taking_backups.take(place, identity=identity, progress=lambda *_: None)
            assert await place.names() == []
            (disk / "ballast").unlink()
            done = await served.engine.taking_backups.take(place, identity=identity, progress=lambda *_: None)
            assert await place.names() == [done.name]
        assert done.serial == await served.engine.store.head()


async def test_readiness_sees_a_full_disk(serve: Serve, mount: Mount) -> None:
    disk = mount(size="4m")
    async with serve(data=disk / "data", store="", blobs="") as served:
        assert (await ask(served.address, "/+ready")).status == 200
        fill(disk, left=0)
        served.server.readiness.forget()  # what was seen is believed for a few seconds
        assert (await ask(served.address, "/+ready")).status == 503
        assert (await ask(served.address, "/+ready?for=write")).status == 503
        reading = await ask(served.address, "/+ready?for=read")
        assert reading.status == 200
        report = json.loads(reading.body)
        assert (report["ready"], report["read"], report["write"]) == (True, True, False)
        assert report["blob_store"] == {"read": True, "write": False}
        (disk / "ballast").unlink()
        # A disk in trouble is not written to for everybody who asks: what came of the last probe is believed as long.
        assert (await ask(served.address, "/+ready")).status == 503
        served.server.readiness.forget()
        assert (await ask(served.address, "/+ready")).status == 200


async def test_every_page_of_free_space(serve: Serve, mount: Mount, tally: Tally) -> None:
    disk = mount(size="16m")
    acknowledged: list[BuiltFile] = []
    refused = 0
    async with serve(data=disk / "data", store="", blobs="") as served:
        for left in range(48):
            built = wheel_of(5_000, f"{left}.0")
            fill(disk, left=left)
            answer = await upload(served.address, built)
            assert answer is not None
            assert answer.status in {200, 507}, answer.body
            refused += answer.status == 507
            if answer.status == 507:
                await assert_shows(served, acknowledged[-3:], absent=built)
            (disk / "ballast").unlink()
            assert spooled(disk / "data") == []
            answer = await upload(served.address, built)
            assert answer is not None
            assert answer.status == 200, answer.body
            acknowledged.append(built)
        await assert_shows(served, acknowledged)
    await examine_files(disk / "data", files=len(acknowledged))
    assert refused >= 5
    assert refused < 48, "with so much room an upload works"
    tally("uploads refused by a full disk", refused)
    tally("acknowledged uploads checked", len(acknowledged))


async def test_every_number_of_free_inodes(serve: Serve, mount: Mount, tally: Tally) -> None:
    disk = mount(size="16m", nr_inodes=1000)
    acknowledged: list[BuiltFile] = []
    refused = 0
    async with serve(data=disk / "data", store="", blobs="") as served:
        for left in range(8):
            built = wheel_of(5_000, f"{left}.0")
            ballast = disk / "ballast"
            ballast.mkdir()
            for number in range(os.statvfs(disk).f_ffree - left):
                (ballast / str(number)).touch()
            answer = await upload(served.address, built)
            assert answer is not None
            assert answer.status in {200, 507}, answer.body
            refused += answer.status == 507
            if answer.status == 507:
                await assert_shows(served, acknowledged, absent=built)
            shutil.rmtree(ballast)
            assert spooled(disk / "data") == []
            answer = await upload(served.address, built)
            assert answer is not None
            assert answer.status == 200, answer.body
            acknowledged.append(built)
        await assert_shows(served, acknowledged)
    await examine_files(disk / "data", files=len(acknowledged))
    assert 1 <= refused < 8
    tally("uploads refused without inodes", refused)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to fail a system call")
@pytest.mark.parametrize("of", ["blobs", "index"])
async def test_a_sync_that_fails_is_never_acknowledged(of: str, starter: Starter, tmp_path: Path, tally: Tally) -> None:
    """Each fsync of an upload fails once. Workers are one, so that the n-th of its thread is the n-th of the upload."""
    data = tmp_path / "data"
    await prepare_data(data)
    wal = data / "index.sqlite-wal"
    acknowledged: list[BuiltFile] = []
    refused = 0
    server = ServerProcess(starter, data, PKGINDEX_THREADS="1")
    async with running(server):
        for nth in range(1, 40):
            built = wheel_of(5_000, f"{nth}.0")
            inject = f"inject=fsync,fdatasync:error=EIO:when={nth}"
            async with traced(server, inject, only=wal if of == "index" else None):
                answer = await upload(server.address, built)
            assert answer is not None
            if answer.status == 200:
                acknowledged.append(built)
                break
            assert answer.status == 503, answer.body
            refused += 1
            shown = await ask(server.address, f"/simple/{built.filename.split('-')[0]}/")
            assert built.sha256.encode() not in shown.body
            assert (await ask(server.address, file_path(BEFORE))).body == BEFORE.data
            answer = await upload(server.address, built)
            assert answer is not None
            assert answer.status == 200, answer.body
            acknowledged.append(built)
        else:
            pytest.fail("an upload syncs without end")
        await server.kill()
    assert refused >= (4 if of == "blobs" else 1)
    async with running(server):
        await examine(server, acknowledged)
    tally("fsyncs that failed", refused)
    tally("acknowledged uploads checked", len(acknowledged))


@asynccontextmanager
async def traced(server: ServerProcess, inject: str, *, only: Path | None) -> AsyncIterator[None]:
    """A process whose system calls are tampered with."""
    words = ["strace", "-f", "-o", os.devnull, "-p", str(server.pid), "-e", "trace=fsync,fdatasync", "-e", inject]
    if only is not None:
        words += ["-P", str(only)]
    strace = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
    assert strace.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"attached" not in (line := await strace.stderr.readline()):
                if not line:
                    pytest.skip("strace may not attach to a process here")
            while not all_traced(server.pid, strace.pid):
                await asyncio.sleep(0.005)
        yield
    finally:
        if strace.returncode is None:
            strace.terminate()
        await strace.communicate()


def all_traced(pid: int, tracer: int) -> bool:
    """Whether every thread is under the tracer's eyes."""
    tasks = Path(f"/proc/{pid}/task").glob("*/status")
    return all(f"TracerPid:\t{tracer}\n" in task.read_text() for task in tasks)


def wheel_of(size: int, version: str) -> BuiltFile:
    """A wheel of about this size, that does not compress."""
    return build_wheel("demo", version, files={"demo.bin": random.Random(version).randbytes(size)})


def fill(disk: Path, *, left: int) -> None:
    """Leave so many free pages on a disk."""
    status = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes((status.f_bavail - left) * status.f_frsize))


async def assert_shows(served: Served, present: list[BuiltFile], *, absent: BuiltFile | None = None) -> None:
    """The page lists what was acknowledged and no more than that, and each file is served."""
    page = await ask(served.address, "/simple/demo/")
    assert page.status == (200 if present else 404)
    for built in present:
        assert built.sha256.encode() in page.body
        assert (await ask(served.address, file_path(built))).body == built.data
        assert (await ask(served.address, f"{file_path(built)}.metadata")).body == built.metadata
    if absent is not None:
        assert absent.sha256.encode() not in page.body
        assert (await ask(served.address, file_path(absent))).status == 404
        assert (await ask(served.address, f"{file_path(absent)}.metadata")).status == 404
