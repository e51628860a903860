"""The files that mirrors keep stay within their bound: what is removed, what is not, and what the account says afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.behind import BlobsBehind
from pkgindex_core.engines.local.blobs import LocalBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.testing.faults import UnsyncedFileOperations
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tools.reading_locks import mark_as_read
from pkgindex_mirror.caching.account import HELD_SECONDS
from pkgindex_mirror.caching.file_cache import FileCache
from pkgindex_mirror.caching.ledger import leave
from pkgindex_mirror.caching.notes import FILE, ORDER, CacheNotes

KB = 1000


class Disk:
    """Own blobs and copies on a disk, with the notes of one store."""

    def __init__(self, root: Path, clock: ManualClock, workers: ThreadPoolExecutor) -> None:
        self.clock = clock
        self.workers = workers
        self.notes = MemoryIndex(clock)
        self.root = root

    async def blobs(self, place: str) -> LocalBlobs:
        made = LocalBlobs(
            self.root / place, clock=self.clock, workers=self.workers, operations=UnsyncedFileOperations()
        )
        await made.open()
        return made

    async def server(self, size: int = 10 * KB, age: float = 0.0) -> Server:
        blobs = BlobsBehind(await self.blobs("own"), clock=self.clock, open_copies=lambda: self.blobs("own/mirrored"))
        cache = FileCache(notes=self.notes, blobs=blobs, clock=self.clock, workers=self.workers, size=size, age=age)
        return Server(self, blobs, cache)

    def path(self, key: Sha256) -> Path:
        return self.root / "own" / "mirrored" / "sha256" / key[:2] / key

    def stored(self) -> dict[str, int]:
        found = {}
        for path in (self.root / "own/mirrored/sha256").glob("*/*"):
            with suppress(FileNotFoundError):  # it left just now
                found[path.name] = path.stat().st_size
        return found

    async def keys(self, kind: str) -> list[str]:
        return [note.key async for batch in self.notes.notes(kind) for note in batch]

    async def check(self) -> None:
        """The account is that of the disk: the bytes, the files, their places."""
        found = await CacheNotes(self.notes).ledger()
        assert found is not None
        assert (found[0].kept, found[0].arriving, found[0].leaving) == (sum(self.stored().values()), {}, {})
        assert sorted(await self.keys(FILE)) == sorted(self.stored())


class Server:
    def __init__(self, disk: Disk, blobs: BlobsBehind, cache: FileCache) -> None:
        self.disk = disk
        self.blobs = blobs
        self.cache = cache

    async def fetch(self, name: str, size: int = KB, *, announced: bool = True) -> Sha256:
        """Store a file as a fetch stores it."""
        data = content(name, size)
        key = sha256_of(data)
        self.disk.clock.advance(1)
        async with self.cache.arriving() as copy, copy.copies.spool() as spool:
            if announced:
                copy.expect(size, key)
            await spool.write(data)
            await copy.keep(spool)
        return key

    async def close(self) -> None:
        await self.cache.close()
        await self.blobs.close()


def content(name: str, size: int = KB) -> bytes:
    return name.encode().ljust(size, b".")


def key_of(name: str, size: int = KB) -> Sha256:
    return sha256_of(content(name, size))


@pytest.fixture
def disk(tmp_path: Path, clock: ManualClock, workers: ThreadPoolExecutor) -> Disk:
    return Disk(tmp_path, clock, workers)


MakeServer = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(disk: Disk) -> AsyncIterator[MakeServer]:
    made: list[Server] = []

    async def make(size: int = 10 * KB, age: float = 0.0) -> Server:
        made.append(await disk.server(size, age))
        return made[-1]

    yield make
    for server in made:
        await server.close()


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "of unknown size and digest"])
async def test_the_least_recently_used_files_leave_and_the_bound_holds(
    serve: MakeServer, disk: Disk, announced: bool
) -> None:
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}", announced=announced)
    disk.clock.advance(1)
    server.cache.used(key_of("0"))
    server.cache.used(key_of("2"))
    for number in range(10, 14):
        await server.fetch(f"{number}", announced=announced)
        assert sum(disk.stored().values()) <= 10 * KB
    assert sorted(disk.stored()) == sorted(key_of(f"{n}") for n in (0, 2, *range(7, 14), 6))
    await disk.check()


async def test_room_is_made_before_a_file_is_stored(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    async with server.cache.arriving() as copy:
        copy.expect(4 * KB, "")
        while len(disk.stored()) > 6:
            await asyncio.sleep(0)
    await server.cache.make_room()  # waits for the one that is under way
    await disk.check()  # what was reserved and never came is given up


async def test_a_file_that_a_client_is_given_while_victims_are_chosen_stays(
    serve: MakeServer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client opens it a moment later."""
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    evicting = server.cache._evicting
    judge, given = evicting._judge, []

    async def judged(ledger, entry, found):
        judgement = await judge(ledger, entry, found)
        if entry[1] == key_of("0"):
            given.append(server.cache.used(key_of("0")))
        return judgement

    monkeypatch.setattr(evicting, "_judge", judged)
    await server.fetch("10", 2 * KB)
    await server.cache.make_room()
    assert given[0]
    assert key_of("0") in disk.stored()
    assert key_of("1") not in disk.stored()
    await disk.check()


async def test_uses_and_order_outlive_a_restart(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    disk.clock.advance(100)
    server.cache.used(key_of("0"))
    await server.cache.close()
    server = await serve()
    await server.fetch("10")
    assert key_of("0") in disk.stored()
    assert key_of("1") not in disk.stored()
    await disk.check()


async def test_a_pinned_file_stays_also_when_it_was_pinned_before_it_came(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    await server.cache.pin([key_of("0"), key_of("5")])
    for number in range(10):
        await server.fetch(f"{number}")
    await server.cache.close()
    server = await serve()
    for number in range(10, 40):
        await server.fetch(f"{number}")
    assert {key_of("0"), key_of("5")} <= disk.stored().keys()
    assert sum(disk.stored().values()) <= 10 * KB
    await server.cache.unpin(key_of("0"))
    for number in range(40, 60):
        await server.fetch(f"{number}")
    assert key_of("0") not in disk.stored()
    assert key_of("5") in disk.stored()
    await disk.check()


async def test_pinned_files_beyond_the_bound_leave_no_room_for_others(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    await server.cache.pin([key_of(f"{number}") for number in range(12)])
    for number in range(12):
        await server.fetch(f"{number}")
    await server.fetch("other")
    await server.cache.tend()
    assert sorted(disk.stored()) == sorted(key_of(f"{number}") for number in range(12))
    await disk.check()


async def test_a_file_that_is_sent_stays_and_goes_when_it_was_sent(serve: MakeServer, disk: Disk) -> None:
    """By any process: the mark is on the descriptor."""
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    with disk.path(key_of("0")).open("rb") as sent:
        mark_as_read(sent.fileno())
        for number in range(10, 30):
            await server.fetch(f"{number}")
        assert key_of("0") in disk.stored()
        assert sum(disk.stored().values()) <= 10 * KB
    await server.fetch("30")
    assert key_of("0") not in disk.stored()
    await disk.check()


async def test_a_file_that_is_read_stays(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    reader = server.blobs.read(key_of("0"))
    assert await anext(reader) == content("0")
    await server.fetch("10")
    assert key_of("0") in disk.stored()
    await reader.aclose()  # type: ignore[attr-defined]  # the iterator is a generator
    await server.fetch("11")
    assert key_of("0") not in disk.stored()


async def test_a_file_that_finds_no_room_leaves_at_once(serve: MakeServer, disk: Disk) -> None:
    """All others are being read. Its own readers have it from the fetch."""
    server = await serve(3 * KB)
    readers = []
    for number in range(3):
        readers.append(server.blobs.read(await server.fetch(f"{number}")))
        await anext(readers[-1])
    other = await server.fetch("other")
    while other in disk.stored():
        await asyncio.sleep(0.01)
    assert sorted(disk.stored()) == sorted(key_of(f"{number}") for number in range(3))
    for reader in readers:
        await reader.aclose()  # type: ignore[attr-defined]  # the iterator is a generator
    await server.fetch("3")
    assert sorted(disk.stored()) == sorted(key_of(f"{number}") for number in range(1, 4))
    await disk.check()


async def test_a_file_larger_than_the_cache_costs_no_other_file_its_place(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    for number in range(10):
        await server.fetch(f"{number}")
    large = await server.fetch("large", 50 * KB)
    assert disk.stored()[large] == 50 * KB
    server.cache.used(large)
    await server.cache.tend()
    assert sorted(disk.stored()) == sorted(key_of(f"{number}") for number in range(10))
    await disk.check()


async def test_files_that_nobody_asks_for_leave_after_their_age(serve: MakeServer, disk: Disk) -> None:
    server = await serve(0, age=3600)
    await server.fetch("old")
    used = await server.fetch("used")
    disk.clock.advance(3000)
    server.cache.used(used)
    await server.fetch("new")
    disk.clock.advance(1000)
    await server.cache.tend()
    assert sorted(disk.stored()) == sorted([key_of("used"), key_of("new")])
    await disk.check()


async def test_files_from_before_there_was_a_bound_are_counted_once(
    serve: MakeServer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbounded = await serve(0)
    for number in range(20):
        await unbounded.fetch(f"{number}")
    assert not await disk.keys(FILE)
    server = await serve()
    await server.cache.tend()
    assert sorted(disk.stored()) == sorted(key_of(f"{number}") for number in range(10, 20))
    await disk.check()

    async def walk(*_: object) -> AsyncIterator[None]:
        raise AssertionError
        yield

    monkeypatch.setattr(LocalBlobs, "walk", walk)
    again = await serve()
    await again.fetch("20")
    await disk.check()


async def test_files_that_came_while_there_was_no_bound_are_counted_when_there_is_one_again(
    serve: MakeServer, disk: Disk
) -> None:
    await (await serve()).fetch("first")
    await (await serve(0)).fetch("second")
    server = await serve()
    await server.cache.tend()
    assert await server.cache.kept_bytes() == 2 * KB
    await disk.check()


async def test_two_servers_count_together(serve: MakeServer, disk: Disk) -> None:
    """Both fetch the same files at once, and others, far more than there is room for."""
    servers = [await serve() for _ in range(3)]

    async def load(server: Server, number: int) -> None:
        for turn in range(30):
            await server.fetch(f"{turn % 7}" if turn % 3 else f"{number}-{turn}")
            disk.clock.advance(0.01)

    await asyncio.gather(*(load(server, number) for number, server in enumerate(servers) for _ in range(2)))
    await disk.check()
    assert sum(disk.stored().values()) <= 10 * KB


async def test_a_server_that_dies_leaves_steps_that_another_finishes(serve: MakeServer, disk: Disk) -> None:
    """A file that was stored and not counted, one that never came, and one that was to be removed."""
    dead, alive = await serve(), await serve()
    gone = await dead.fetch("gone")
    notes = CacheNotes(disk.notes)
    await dead.cache.reserve("a", KB, key_of("stored"))
    await (await dead.cache.copies()).put(content("stored"))
    await dead.cache.reserve("b", KB, key_of("never"))
    found = await notes.ledger()
    assert found is not None
    leaving = leave(found[0], {gone: KB}, until=dead.cache._account.deadline())
    assert await notes.replace(leaving, found[1])
    await dead.cache.close()
    await alive.cache.tend()
    assert sorted(disk.stored()) == sorted([gone, key_of("stored")])  # not yet: the other may be alive
    disk.clock.advance(HELD_SECONDS + 1)
    await alive.cache.tend()
    assert sorted(disk.stored()) == [key_of("stored")]
    await disk.check()


async def test_a_slow_fetch_keeps_its_room(serve: MakeServer, disk: Disk) -> None:
    server, other = await serve(), await serve()
    async with server.cache.arriving() as copy, copy.copies.spool() as spool:
        copy.expect(KB, key_of("slow"))
        for _ in range(5):
            await asyncio.sleep(0.05)
            disk.clock.advance(HELD_SECONDS * 0.6)
            await server.cache.tend()
            await other.cache.tend()
        found = await CacheNotes(disk.notes).ledger()
        assert found is not None
        assert len(found[0].arriving) == 1
        await spool.write(content("slow"))
        await copy.keep(spool)
    await disk.check()


async def test_a_server_that_was_taken_for_dead_counts_its_file_once(serve: MakeServer, disk: Disk) -> None:
    server, other = await serve(), await serve()
    for late in ("before it was stored", "after it was stored"):
        token = f"token {late}"
        await server.cache.reserve(token, KB, key_of(late))
        blob = await (await server.cache.copies()).put(content(late)) if late.startswith("after") else None
        disk.clock.advance(HELD_SECONDS + 1)
        await other.cache.tend()
        blob = blob or await (await server.cache.copies()).put(content(late))
        await server.cache.count(token, blob)
        await disk.check()
    assert await server.cache.kept_bytes() == 2 * KB


async def test_evicted_bytes_that_were_uploaded_stay(serve: MakeServer, disk: Disk) -> None:
    server = await serve()
    key = await server.fetch("0")
    await server.blobs.put(content("0"))
    for number in range(1, 30):
        await server.fetch(f"{number}")
    assert key not in disk.stored()
    assert [data async for data in server.blobs.read(key)] == [content("0")]


async def test_the_cost_of_a_removal_does_not_grow_with_the_files(
    serve: MakeServer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in notes that are read."""
    costs = []
    real = disk.notes.note
    for number in (50, 500):
        server = await serve(number * 10)
        for file in range(number):
            await server.fetch(f"{number}-{file}", 10)
        reads = 0

        async def counting(kind: str, key: str) -> object:
            nonlocal reads
            reads += 1
            return await real(kind, key)

        monkeypatch.setattr(disk.notes, "note", counting)
        for file in range(20):
            await server.fetch(f"{number}+{file}", 10)
        monkeypatch.undo()
        costs.append(reads)
        await disk.check()
        assert len(await disk.keys(ORDER)) == number
        await server.close()
    assert costs[1] <= costs[0] + 5


async def test_a_file_stays_until_its_arrival_ends(disk: Disk, serve: MakeServer) -> None:
    """Until then those who wait for it cannot mark it as being read."""
    server = await serve(age=5.0)
    async with server.cache.arriving() as copy, copy.copies.spool() as spool:
        await spool.write(content("one"))
        kept = await copy.keep(spool)
        disk.clock.advance(60)
        await server.cache.make_room()
        assert kept.sha256 in disk.stored()
    await server.cache.make_room()
    assert kept.sha256 not in disk.stored()
    await disk.check()
