"""The same mirror over the engines that a server has: SQLite and a local disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import User
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough.files.cold_files import WINDOW
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import INDEX, LONG, QUICK, Mirror
from .test_cold_files import NAME, blob_of, read_all

WHEEL = build_wheel("demo", "1.0")


@pytest.fixture
async def mirror(
    upstream: ScriptedUpstream, clock: ManualClock, workers: ThreadPoolExecutor, tmp_path: Path
) -> AsyncIterator[Mirror]:
    disk = LocalBlobs(tmp_path / "blobs", clock=clock, workers=workers)
    await disk.open()
    store = IndexBehind(await SqliteIndex.open(tmp_path / "index.sqlite", clock), linger=LONG)
    blobs = BlobsBehind(disk, clock=clock, linger=LONG)
    index = mirror_config(INDEX, upstream.url)
    await store.apply([PutUser(User(name="root")), PutIndex(index)], who="test")
    readthrough = ReadThrough(
        store=store, blob_store=blobs, clock=clock, workers=workers, data=tmp_path, settings=MirrorSettings(**QUICK)
    )
    yield Mirror(index, store, blobs, readthrough, clock)
    await readthrough.close()
    await blobs.close()
    await store.close()


async def blobs_of(mirror: Mirror) -> list[str]:
    return [blob.sha256 async for blob in mirror.blobs.walk()]


@pytest.mark.parametrize("size", [0, 1, 65_537, WINDOW + 1, 5_000_000])
async def test_many_clients_of_one_cold_file(upstream: ScriptedUpstream, mirror: Mirror, size: int, tally) -> None:
    upstream.add("demo", blob_of(size))
    await mirror.refresh()
    bodies = await asyncio.gather(*(mirror.download(NAME) for _ in range(20)))
    assert set(bodies) == {blob_of(size).data}
    await (await mirror.fetch(NAME)).finished()  # clients are served before the file is durable
    assert upstream.count("file") == 1
    assert await blobs_of(mirror) == [blob_of(size).sha256]
    tally("clients of one cold file", 20)


async def test_readers_that_are_slow_or_late_outlive_the_move(upstream: ScriptedUpstream, mirror: Mirror) -> None:
    """When a file is kept its spool's path is renamed under the readers' feet."""
    data = blob_of(4 * WINDOW).data
    upstream.add("demo", blob_of(4 * WINDOW))
    await mirror.refresh()
    arriving = await mirror.fetch(NAME)
    readers = [arriving.read() for _ in range(3)]
    collected = [[await anext(reader)] for reader in readers]
    await arriving.finished()
    collected[0] += [piece async for piece in readers[0]]
    assert b"".join(collected[0]) == data
    # Another one stops half way and begins again, a third hangs up.
    async for piece in readers[1]:
        collected[1].append(piece)
        await asyncio.sleep(0)
    assert b"".join(collected[1]) == data
    await readers[2].aclose()
    assert await read_all(arriving) == data


@pytest.mark.parametrize("announced", [True, False])
async def test_pages_files_and_sidecars(upstream: ScriptedUpstream, mirror: Mirror, announced: bool) -> None:
    upstream.announces_sidecars = upstream.has_sidecars = announced
    upstream.algorithms = ("md5",)
    upstream.add("demo", WHEEL)
    assert (await mirror.refresh()).state == "fresh"
    blob = await mirror.readthrough.metadata(mirror.index, "demo", await mirror.file(WHEEL.filename))
    assert b"".join([data async for data in mirror.behind.read(blob.sha256)]) == WHEEL.metadata
    assert await mirror.download(WHEEL.filename) == WHEEL.data
    await (await mirror.fetch(WHEEL.filename)).finished()
    file = await mirror.file(WHEEL.filename)
    assert (file.sha256, file.metadata_sha256) == (WHEEL.sha256, blob.sha256)
    assert (await mirror.readthrough.names(mirror.index)).freshness.state == "fresh"


@pytest.mark.parametrize(
    "failing", ["blob.written=raise:ENOSPC", "blob.file_synced=raise:EIO", "blob.renamed=raise:EIO"]
)
async def test_a_disk_that_fails_keeps_nothing_and_is_tried_again(
    upstream: ScriptedUpstream, mirror: Mirror, failing: str
) -> None:
    upstream.add("demo", blob_of(2 * WINDOW))
    await mirror.refresh()
    failpoints.arm(failing)
    try:
        with pytest.raises(Unavailable):
            await (await mirror.fetch(NAME)).finished()
    finally:
        failpoints.disarm()
    assert await mirror.download(NAME) == blob_of(2 * WINDOW).data
    await (await mirror.fetch(NAME)).finished()
    assert await blobs_of(mirror) == [blob_of(2 * WINDOW).sha256]


async def test_wrong_bytes_leave_no_trace(upstream: ScriptedUpstream, mirror: Mirror, tmp_path: Path) -> None:
    upstream.add("demo", blob_of(3 * WINDOW))
    await mirror.refresh()
    upstream.script("file", behaviours.with_body(lambda body: body[:-1] + b"?"))
    with pytest.raises(Unavailable):
        await mirror.download(NAME)
    assert await blobs_of(mirror) == []
    await mirror.readthrough._tasks.close(grace=5)
    sizes = [path.stat().st_size for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert max(sizes, default=0) < WINDOW


async def test_a_client_that_has_a_whole_wheel_gets_its_metadata_from_it(
    upstream: ScriptedUpstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last bytes are released before the wheel is durable; what is asked for next does not wait for that either."""
    syncing, synced = threading.Event(), threading.Event()
    original = FileOperations.sync

    def sync(operations: FileOperations, descriptor: int) -> None:
        syncing.set()
        assert synced.wait(30)
        original(operations, descriptor)

    monkeypatch.setattr(FileOperations, "sync", sync)
    upstream.add("demo", WHEEL)
    await mirror.refresh()
    try:
        assert await mirror.download(WHEEL.filename) == WHEEL.data
        await asyncio.to_thread(syncing.wait, 30)
        blob = await mirror.readthrough.metadata(mirror.index, "demo", await mirror.file(WHEEL.filename))
        assert b"".join([data async for data in mirror.behind.read(blob.sha256)]) == WHEEL.metadata
        # A second client of the wheel waits for nothing, too.
        assert await mirror.download(WHEEL.filename) == WHEEL.data
    finally:
        synced.set()
    assert (upstream.count("sidecar"), upstream.count("file")) == (0, 1)
    await (await mirror.fetch(WHEEL.filename)).finished()
    assert WHEEL.sha256 in await blobs_of(mirror)


async def test_a_slow_client_does_not_wait_until_a_file_has_its_name(
    upstream: ScriptedUpstream, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the directory is synchronised the file lies under no name that readers know."""
    syncing, synced = threading.Event(), threading.Event()
    original = FileOperations.sync_directory

    def sync_directory(operations: FileOperations, descriptor: int) -> None:
        syncing.set()
        assert synced.wait(30)
        original(operations, descriptor)

    upstream.add("demo", blob_of(4 * WINDOW))
    await mirror.refresh()
    monkeypatch.setattr(FileOperations, "sync_directory", sync_directory)
    arriving = await mirror.fetch(NAME)
    try:
        await asyncio.to_thread(syncing.wait, 30)
        assert await read_all(arriving) == blob_of(4 * WINDOW).data
    finally:
        synced.set()
    await arriving.finished()
