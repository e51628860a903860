"""What do checksums of SQLite's pages cost a commit, and a read?

Workload: two stores on one local disk, durable commits (`synchronous = FULL`), one with checksums and one made without. They take turns,
so that a busy disk disturbs both alike.

    commits   uploads of one file, each with a precondition, one at a time and 32 at once: microseconds a commit
    reads     pages of hosted projects out of a database of 20,000 files, with a new connection's cold cache: microseconds a page

Medians over the rounds, and the ratio of the medians. Left out: the kernel's cold cache, and mirrors' pages.

    python -m benchmarks.page_checksums [--rounds 15] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import apsw

from pkgindex_core.changes import FileAbsent, PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.sqlite import database
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import File, IndexConfig, User
from pkgindex_core.names import IndexName, ProjectName

DEV = IndexName("ann/dev")
COMMITS = 100
PROJECTS = 2000
FILES = 10

Times = dict[str, dict[bool, list[float]]]


def change_of(project: str, number: int) -> PutFile:
    name = f"{project}-{number}.tar.gz"
    file = File(filename=name, version=str(number), digests={"sha256": sha256_of(name.encode())}, size=1)
    return PutFile(DEV, ProjectName(project), file)


async def opened(path: Path, *, checksums: bool) -> SqliteIndex:
    """A store; one without checksums uses SQLite's own file system, as it did before there were any."""
    usual = mock.patch.object(database, "file_system", return_value=None)
    with contextlib.nullcontext() if checksums else usual:
        return await SqliteIndex.open(path, SystemClock())


async def made(path: Path, *, checksums: bool) -> SqliteIndex:
    if not checksums:  # a database that has a page already stays as it is
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.pragma("application_id", database.APPLICATION_ID)
    store = await opened(path, checksums=checksums)
    assert (path.read_bytes()[20] == 8) is checksums
    await store.apply([PutUser(User(name="ann")), PutIndex(IndexConfig(name=DEV))], who="benchmark")
    return store


async def commit(store: SqliteIndex, lane: str, count: int) -> None:
    for number in range(count):
        change = change_of(lane, number)
        await store.apply([change], who="benchmark", require=[FileAbsent(DEV, change.file.filename)])


@contextlib.contextmanager
def timed(times: Times, what: str, checksums: bool, count: int) -> Iterator[None]:
    """Note the time that passes, and the processor's time of all threads: that one hardly depends on what else the machine does."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    times[what][checksums].append((time.perf_counter() - wall) / count)
    times[f"{what}, CPU"][checksums].append((time.process_time() - processor) / count)


async def commits(stores: dict[bool, SqliteIndex], turn: int, times: Times) -> None:
    for checksums in (True, False) if turn % 2 else (False, True):
        store = stores[checksums]
        with timed(times, "commit, one at a time", checksums, COMMITS):
            await commit(store, f"one{turn}", COMMITS)
        with timed(times, "commit, 32 at once", checksums, 640):
            await asyncio.gather(*(commit(store, f"lane{turn}x{lane}", 20) for lane in range(32)))


async def reads(paths: dict[bool, Path], turn: int, times: Times) -> None:
    for checksums in (True, False) if turn % 2 else (False, True):
        store = await opened(paths[checksums], checksums=checksums)
        with timed(times, "page read", checksums, PROJECTS):
            for number in range(PROJECTS):
                assert await store.page(DEV, ProjectName(f"p{number}"))
        await store.close()


async def measure(directory: Path, rounds: int) -> None:
    times: Times = defaultdict(lambda: {True: [], False: []})
    paths = {checksums: directory / f"{checksums}.db" for checksums in (True, False)}
    stores = {checksums: await made(path, checksums=checksums) for checksums, path in paths.items()}
    for store in stores.values():
        for first in range(0, PROJECTS, 100):
            changes = [change_of(f"p{one}", number) for one in range(first, first + 100) for number in range(FILES)]
            await store.apply(changes, who="benchmark")
    for turn in range(rounds):
        await commits(stores, turn, times)
    for store in stores.values():
        await store.close()
    for turn in range(rounds):
        await reads(paths, turn, times)
    for what, found in times.items():
        with_them, without = (statistics.median(found[checksums]) * 1e6 for checksums in (True, False))
        spread = "..".join(f"{value * 1e6:.0f}" for value in statistics.quantiles(found[False], n=4)[::2])
        print(
            f"{what:28} {without:8.1f} us without (quartiles {spread}) {with_them:8.1f} us with {with_them / without:6.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        asyncio.run(measure(Path(directory), given.rounds))


if __name__ == "__main__":
    main()
