"""The disk fails at every call there is: the bytes are refused, nothing half is visible, and it works again afterwards."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.local import spooling
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.errors import StorageFull, Unavailable
from pkgindex_core.failpoints import arm, disarm
from pkgindex_core.testing.faults import OPERATIONS, FaultyFileOperations, everything_under

Tally = Callable[[str, int], None]

THERE = b"stored before, and in the same shard"
ERRORS = {
    number: errno.errorcode[number] for number in (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EDQUOT, errno.EROFS)
}
NEVER_ON_THE_WAY_IN = {"read", "list_directory", "remove_directory", "unlink"}
"""Operations that storing new bytes does not make, unless something is there already or goes wrong."""


@pytest.fixture(autouse=True)
def _small_hops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spooling, "HOP", 4096)


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as workers:
        yield workers


@pytest.mark.parametrize("mode", ["once", "lasting", "late"])
@pytest.mark.parametrize("number", ERRORS, ids=ERRORS.get)
async def test_an_error_at_any_call_of_put_refuses_whole(
    number: int, mode: str, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    """`late`: the call did what it should and then said that it failed."""
    refused = 0
    hit: set[str] = set()
    for size in (11, 10_000):
        data = bytes(size)
        for at in range(1, 200):
            root = tmp_path / f"{size}-{at}"
            faulty = FaultyFileOperations(number, lasting=mode == "lasting", late=mode == "late")
            store = await open_store(root, faulty, workers)
            faulty.fail_at(at)
            refusal = await refusal_of(put_in_pieces(store, data))
            if refusal is not None:
                refused += 1
                assert refusal.hint
                assert isinstance(refusal, StorageFull) is (number in {errno.ENOSPC, errno.EDQUOT})
            if not faulty.failed:
                break
            hit.update(faulty.failed)
            await check(store, root, data, faulty, acknowledged=refusal is None, lasting=mode == "lasting")
    missed = set(OPERATIONS) - NEVER_ON_THE_WAY_IN - hit
    assert not missed
    tally(f"errors injected into put: {ERRORS[number]}", refused)


@pytest.mark.parametrize("number", ERRORS, ids=ERRORS.get)
async def test_an_error_at_any_call_of_a_second_put_leaves_the_first(
    number: int, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    refused = 0
    for at in range(1, 200):
        faulty = FaultyFileOperations(number)
        store = await open_store(tmp_path / str(at), faulty, workers)
        faulty.fail_at(at)
        try:
            await store.put(THERE)
        except Unavailable:
            refused += 1
        if not faulty.failed:
            break
        assert visible(tmp_path / str(at)) == {path_of(THERE): THERE}
        faulty.heal()
        await store.put(THERE)
        assert everything_under(tmp_path / str(at)) == {path_of(THERE): THERE}
    assert refused > 5
    tally(f"errors injected into put: {ERRORS[number]}", refused)


@pytest.mark.parametrize("number", ERRORS, ids=ERRORS.get)
async def test_an_error_at_any_call_of_drop_read_stat_walk_and_sweep_is_told(
    number: int, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    refused = 0
    key = sha256_of(THERE)
    for name in ("read", "stat", "locate", "walk", "sweep", "drop"):
        for at in range(1, 100):
            faulty = FaultyFileOperations(number)
            root = tmp_path / f"{name}-{at}"
            store = await open_store(root, faulty, workers)
            faulty.fail_at(at)
            try:
                match name:
                    case "read":
                        assert b"".join([chunk async for chunk in store.read(key)]) == THERE
                    case "stat":
                        assert await store.stat(key) is not None
                    case "locate":
                        assert await store.locate(key, filename="x") is not None
                    case "walk":
                        assert [blob.sha256 async for blob in store.walk()] == [key]
                    case "sweep":
                        assert await store.sweep(older_than=0) == 0
                    case _:
                        assert await store.drop(key) is True
            except Unavailable:
                refused += 1
            if not faulty.failed:
                break
            assert name == "drop" or visible(root) == {path_of(THERE): THERE}
            assert visible(root) in ({path_of(THERE): THERE}, {})
    assert refused > 5
    tally(f"errors injected into reading and removing: {ERRORS[number]}", refused)


@pytest.mark.parametrize("number", ERRORS, ids=ERRORS.get)
async def test_an_error_at_any_call_of_open_can_be_got_over(
    number: int, tmp_path: Path, workers: ThreadPoolExecutor, tally: Tally
) -> None:
    refused = 0
    for at in range(1, 200):
        faulty = FaultyFileOperations(number, at=at)
        store = LocalBlobs(tmp_path / f"{at}/a/b", clock=SystemClock(), workers=workers, operations=faulty)
        try:
            await store.open()
        except Unavailable:
            refused += 1
        if not faulty.failed:
            break
        await store.open()
        await store.put(THERE)
        assert everything_under(tmp_path / f"{at}/a/b") == {path_of(THERE): THERE}
    assert refused > 10
    tally(f"errors injected into open: {ERRORS[number]}", refused)


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EMFILE"])
@pytest.mark.parametrize(
    "point", ["blob.opened", "blob.written", "blob.file_synced", "blob.renamed", "blob.directory_synced"]
)
async def test_an_error_at_any_failpoint_refuses_whole(
    point: str, error: str, tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    store = await open_store(tmp_path / "root", FaultyFileOperations(errno.EIO), workers)
    arm(f"{point}=raise:{error}")
    try:
        with pytest.raises(Unavailable):
            await store.put(b"new")
    finally:
        disarm()
    assert everything_under(tmp_path / "root") == {path_of(THERE): THERE}
    await store.put(b"new")
    assert visible(tmp_path / "root").keys() == {path_of(THERE), path_of(b"new")}


async def open_store(root: Path, operations: FaultyFileOperations, workers: ThreadPoolExecutor) -> LocalBlobs:
    """A store with one blob in it, that has not failed yet."""
    store = LocalBlobs(root, clock=SystemClock(), workers=workers, operations=operations)
    await store.open()
    await store.put(THERE)
    operations.heal()
    return store


async def refusal_of(work: Awaitable[object]) -> Unavailable | None:
    try:
        await work
    except Unavailable as refusal:
        return refusal
    return None


async def put_in_pieces(store: LocalBlobs, data: bytes) -> None:
    async with store.spool() as spool:
        for start in range(0, len(data), 3000):
            await spool.write(data[start : start + 3000])
        await spool.keep()


async def check(
    store: LocalBlobs, root: Path, data: bytes, faulty: FaultyFileOperations, *, acknowledged: bool, lasting: bool
) -> None:
    """What must hold after an error in storing `data`, and after the disk is well again."""
    expected = {path_of(THERE): THERE} | ({path_of(data): data} if acknowledged else {})
    seen = visible(root)
    if lasting or len(faulty.failed) > 1:  # taking the name back failed too: then the bytes may stay, if whole
        assert seen.items() <= (expected | {path_of(data): data}).items()
    else:
        assert seen == expected, faulty.failed
    faulty.heal()
    await store.sweep(older_than=0)
    assert everything_under(root) == seen, "a sweep leaves the blobs and nothing else"
    await put_in_pieces(store, data)
    assert everything_under(root) == {path_of(THERE): THERE, path_of(data): data}


def visible(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in everything_under(root).items() if path.startswith("sha256/")}


def path_of(data: bytes) -> str:
    key = sha256_of(data)
    return f"sha256/{key[:2]}/{key}"
