"""What the local store promises beyond the contract: its tree, who may be on its paths, how many calls it makes."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.local.blobs import LocalBlobs, path_of
from pkgindex_core.errors import Corrupt, Missing, Refused, Unavailable
from pkgindex_core.failpoints import arm, disarm, hits
from pkgindex_core.protocols import Span
from pkgindex_core.testing.faults import FaultyFileOperations, everything_under
from tests.crash.crash_states import RecordingFileOperations

MIB = 1 << 20


class CountingWorkers(ThreadPoolExecutor):
    def __init__(self) -> None:
        super().__init__(2)
        self.hops = 0

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.hops += 1
        return super().submit(fn, *arguments, **options)


@pytest.fixture
def workers() -> Iterator[CountingWorkers]:
    with CountingWorkers() as workers:
        yield workers


@pytest.fixture
async def store(tmp_path: Path, workers: CountingWorkers) -> LocalBlobs:
    return await opened(tmp_path / "root", workers)


async def opened(root: Path, workers: ThreadPoolExecutor) -> LocalBlobs:
    store = LocalBlobs(root, clock=SystemClock(), workers=workers)
    await store.open()
    return store


def place_of(root: Path, data: bytes) -> Path:
    key = sha256_of(data)
    return root / "sha256" / key[:2] / key


async def test_the_tree_is_the_one_that_is_drawn_and_private(store: LocalBlobs, tmp_path: Path) -> None:
    await store.put(b"a blob")
    found = {path: path.stat() for path in (tmp_path / "root").rglob("*")} | {
        tmp_path / "root": (tmp_path / "root").stat()
    }
    place = place_of(tmp_path / "root", b"a blob")
    assert found.keys() == {place, place.parent, place.parent.parent, tmp_path / "root/staging", tmp_path / "root"}
    assert all(stat.S_IMODE(status.st_mode) & 0o077 == 0 for status in found.values())


async def test_a_root_that_everybody_may_write_to_is_refused(tmp_path: Path, workers: CountingWorkers) -> None:
    for name in ("", "sha256", "staging"):
        root = tmp_path / f"open-{name}"
        await opened(root, workers)
        (root / name).chmod(0o777)
        with pytest.raises(Refused) as refusal:
            await opened(root, workers)
        assert "chmod" in refusal.value.hint


@pytest.mark.parametrize("name", ["sha256", "staging"])
async def test_a_directory_that_is_a_symlink_is_refused(name: str, tmp_path: Path, workers: CountingWorkers) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir(mode=0o700)
    (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused):
        await opened(tmp_path / "root", workers)


async def test_the_way_to_the_root_may_be_a_symlink(tmp_path: Path, workers: CountingWorkers) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    store = await opened(tmp_path / "data/blobs", workers)
    blob = await store.put(b"over there")
    assert place_of(tmp_path / "disk/blobs", b"over there").read_bytes() == b"over there"
    assert await store.locate(blob.sha256, filename="x") == place_of((tmp_path / "disk/blobs").resolve(), b"over there")


async def test_a_symlink_in_the_place_of_a_blob_is_replaced_and_not_followed(store: LocalBlobs, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"a blob")  # even with the right bytes
    place = place_of(tmp_path / "root", b"a blob")
    place.parent.mkdir(mode=0o700)
    place.symlink_to(victim)
    key = sha256_of(b"a blob")
    assert await store.stat(key) is None
    assert await store.locate(key, filename="x") is None
    with pytest.raises(Missing):
        await anext(store.read(key))
    assert [blob async for blob in store.walk()] == []
    await store.put(b"a blob")
    assert not place.is_symlink()
    place.unlink()
    place.symlink_to(victim)
    assert await store.drop(key) is False
    assert not place.is_symlink()
    assert victim.read_bytes() == b"a blob"


async def test_a_shard_that_is_a_symlink_is_not_followed(store: LocalBlobs, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place_of(tmp_path / "root", b"a blob").parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable):
        await store.put(b"a blob")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert list((tmp_path / "root/staging").iterdir()) == []


async def test_a_symlink_under_the_name_of_a_spool_is_swept_and_not_followed(store: LocalBlobs, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "root/staging" / f"{'0' * 32}.part").symlink_to(victim)
    (tmp_path / "root/staging/not-ours").write_bytes(b"")
    assert await store.sweep(older_than=0) == 1
    assert victim.read_bytes() == b"precious"
    assert [path.name for path in (tmp_path / "root/staging").iterdir()] == ["not-ours"]


async def test_a_spool_does_not_write_through_a_symlink(
    store: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if somebody could guess the random name."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    (tmp_path / "root/staging" / f"{'0' * 32}.part").symlink_to(tmp_path / "victim")
    with pytest.raises(Unavailable):
        await store.put(b"a blob")
    assert not (tmp_path / "victim").exists()


@pytest.mark.timeout(20)
async def test_a_fifo_in_the_place_of_a_blob_holds_nobody(store: LocalBlobs, tmp_path: Path) -> None:
    place = place_of(tmp_path / "root", b"a blob")
    place.parent.mkdir(mode=0o700)
    os.mkfifo(place)
    with pytest.raises(Missing):
        await anext(store.read(sha256_of(b"a blob")))
    await store.put(b"a blob")
    assert place.read_bytes() == b"a blob"


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_sending_bytes_again_repairs_rot_of_equal_size(size: int, store: LocalBlobs, tmp_path: Path) -> None:
    data = bytes(size)
    await store.put(data)
    place = place_of(tmp_path / "root", data)
    place.write_bytes(b"\x01" + data[1:])
    await store.put(data)
    assert place.read_bytes() == data


async def test_names_that_are_no_keys_are_no_blobs(store: LocalBlobs, tmp_path: Path) -> None:
    await store.put(b"a blob")
    shard = place_of(tmp_path / "root", b"a blob").parent
    wrong = sha256_of(b"in a shard of another name")
    for name in ("README", "a" * 63, "G" * 64, wrong, f"{shard.name}{'0' * 62}".upper().replace("0", "A")):
        (shard / name).write_bytes(b"")
    (shard / f"{shard.name}{'1' * 62}").mkdir()
    (tmp_path / "root/sha256/lost+found").mkdir()
    (tmp_path / "root/sha256/file").write_bytes(b"")
    assert [blob.sha256 async for blob in store.walk()] == [sha256_of(b"a blob")]


async def test_few_bytes_are_opened_without_a_file(store: LocalBlobs, tmp_path: Path) -> None:
    async with store.spool() as spool:
        await spool.write(b"few")
        with spool.opened() as opened:
            assert opened.read() == b"few"
        assert not list((tmp_path / "root/staging").iterdir())
        await spool.keep()
    assert place_of(tmp_path / "root", b"few").read_bytes() == b"few"


async def test_a_sweep_by_another_process_leaves_a_live_spool_alone(store: LocalBlobs, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as others:
        another = await opened(tmp_path / "root", others)
        async with store.spool() as spool:
            await spool.write(bytes(2 * MIB))
            assert await another.sweep(older_than=0) == 0
            assert await store.sweep(older_than=0) == 0
            await spool.keep()
    assert place_of(tmp_path / "root", bytes(2 * MIB)).stat().st_size == 2 * MIB


async def test_a_store_recovers_when_its_shard_is_removed(store: LocalBlobs, tmp_path: Path) -> None:
    """By an operator who cleans up, say."""
    await store.put(b"a blob")
    place = place_of(tmp_path / "root", b"a blob")
    place.unlink()
    place.parent.rmdir()
    with pytest.raises(Unavailable):
        await store.put(b"a blob")
    await store.put(b"a blob")
    assert place.read_bytes() == b"a blob"


async def test_a_small_put_is_one_hop_and_two_syncs(tmp_path: Path, workers: CountingWorkers) -> None:
    operations = RecordingFileOperations(tmp_path / "root")
    store = LocalBlobs(tmp_path / "root", clock=SystemClock(), workers=workers, operations=operations)
    await store.open()
    await store.put(b"twin 21")  # makes the shard
    workers.hops = 0
    begin = len(operations.journal)
    await store.put(b"twin 52")  # of the same shard
    assert workers.hops == 1
    assert [event.kind for event in operations.journal[begin:]] == ["create", "write", "sync", "rename", "syncdir"]


async def test_bytes_that_are_there_are_synced_before_they_are_vouched_for(
    tmp_path: Path, workers: CountingWorkers
) -> None:
    """Who put them there may not have done it: a restored backup, a process that died."""
    place = place_of(tmp_path / "root", b"a blob")
    place.parent.mkdir(parents=True, mode=0o700)
    place.write_bytes(b"a blob")
    operations = RecordingFileOperations(tmp_path / "root")
    store = LocalBlobs(tmp_path / "root", clock=SystemClock(), workers=workers, operations=operations)
    await store.open()
    begin = len(operations.journal)
    await store.put(b"a blob")
    assert [(event.kind, event.path) for event in operations.journal[begin:]] == [
        ("syncdir", "sha256"),
        ("sync", ""),
        ("syncdir", f"sha256/{place.parent.name}"),
    ]


async def test_a_rename_that_fails_removes_nothing_of_others(tmp_path: Path, workers: CountingWorkers) -> None:
    faulty = FaultyFileOperations(errno.EIO)
    store = LocalBlobs(tmp_path / "root", clock=SystemClock(), workers=workers, operations=faulty)
    await store.open()
    await store.put(b"a blob")
    place = place_of(tmp_path / "root", b"a blob")
    place.write_bytes(b"damaged")
    for at in range(1, 100):
        faulty.fail_at(at)
        try:
            await store.put(b"a blob")
        except Unavailable:
            if faulty.failed == ["rename"]:
                break
        place.write_bytes(b"damaged")
    assert faulty.failed == ["rename"]
    assert place.read_bytes() == b"damaged"


async def test_a_span_beyond_the_end_is_corrupt_before_anything_is_sent(store: LocalBlobs, tmp_path: Path) -> None:
    blob = await store.put(bytes(1000))
    place_of(tmp_path / "root", bytes(1000)).write_bytes(bytes(500))
    with pytest.raises(Corrupt):
        await anext(store.read(blob.sha256, Span(0, 1000)))


async def test_reading_a_small_blob_is_one_hop(store: LocalBlobs, workers: CountingWorkers) -> None:
    blob = await store.put(b"small")
    workers.hops = 0
    assert [chunk async for chunk in store.read(blob.sha256)] == [b"small"]
    assert workers.hops == 1


async def test_small_writes_do_not_hop(store: LocalBlobs, workers: CountingWorkers) -> None:
    workers.hops = 0
    async with store.spool() as spool:
        for _ in range(64):
            await spool.write(bytes(64 << 10))
        assert workers.hops <= 4


async def test_every_failpoint_is_passed(store: LocalBlobs) -> None:
    arm("")
    try:
        await store.put(b"a blob")
        assert {name for name in hits if name.startswith("blob.")} == {
            "blob.opened",
            "blob.written",
            "blob.file_synced",
            "blob.renamed",
            "blob.directory_synced",
        }
    finally:
        disarm()


async def test_an_interrupted_write_can_not_be_kept(tmp_path: Path, workers: CountingWorkers) -> None:
    """Whether the bytes arrived is not known, so nobody may vouch for what follows."""
    store = await opened(tmp_path / "root", workers)
    async with store.spool() as spool:
        writing = asyncio.ensure_future(spool.write(bytes(4 * MIB)))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        with pytest.raises(Unavailable):
            await spool.keep()
    assert everything_under(tmp_path / "root") == {}


async def test_an_error_of_the_disk_while_reading_is_not_an_end(tmp_path: Path, workers: CountingWorkers) -> None:
    faulty = FaultyFileOperations(errno.EIO)
    store = LocalBlobs(tmp_path / "root", clock=SystemClock(), workers=workers, operations=faulty)
    await store.open()
    blob = await store.put(bytes(MIB))
    faulty.fail_at(4)  # open, its status, the first read, and then
    reading = store.read(blob.sha256)
    assert len(await anext(reading)) == 256 << 10
    with pytest.raises(Unavailable) as failure:
        await anext(reading)
    assert str(tmp_path) not in str(failure.value)


async def test_after_the_workers_are_gone_bytes_are_unavailable(tmp_path: Path) -> None:
    workers = ThreadPoolExecutor(1)
    store = await opened(tmp_path / "root", workers)
    blob = await store.put(b"a blob")
    async with store.spool() as spool:
        await spool.write(bytes(2 * MIB))
        workers.shutdown()
        with pytest.raises(Unavailable):
            await spool.keep()
    assert list((tmp_path / "root/staging").iterdir()) == []
    with pytest.raises(Unavailable):
        await anext(store.read(blob.sha256))
    assert await store.stat(blob.sha256) == blob


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/blobs", "/srv/blobs"),
        ("file://localhost/srv/blobs", "/srv/blobs"),
        ("file:/srv/blobs", "/srv/blobs"),
        ("/srv/a b%20c", "/srv/a b%20c"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file:///srv/a b", "/srv/a b"),
        ("file:///srv/who?#me", "/srv/who?#me"),
        ("file:///localhost/x", "/localhost/x"),
    ],
)
def test_urls_of_directories(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["file://server/share", "file:relative", "s3://bucket/x", "relative", "", "file://"])
def test_urls_that_name_no_directory_are_refused(url: str) -> None:
    with pytest.raises(Refused) as refusal:
        path_of(url)
    assert "file:///" in refusal.value.hint
