"""What do a page and an upload cost when the index store has a million files?

Workload: one hosted index; projects of ten files each. First the store has 1,000 files, then a million. At both sizes, for projects that are chosen
at random: the standing and the page of a project are read, as for an answer that nothing has cached, and a new file is committed, durably, under
the condition that its name is free, one after another.
Unit: microseconds each (median, 95th percentile), and CPU time each of this process. The database server's CPU time does not count.
Left out: HTTP, the bytes of files (`uploads.py` has both), several servers.

    python -m benchmarks.large_store [--files 1000000] [--directory DIR] [--store postgresql://USER@HOST/DATABASE]

The database of `--store` has to be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pkgindex_core.changes import FileAbsent, PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import File, IndexConfig, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import IndexStore

DEV = IndexName("ann/dev")
SMALL = 1_000
_OF_ONE = 10
"""Files of a project."""
_TOGETHER = 50
"""Projects that are stored by one commit."""
_TURNS = 400


def file_of(project: str, number: int) -> File:
    name = f"{project.replace('-', '_')}-1.{number}-py3-none-any.whl"
    return File(filename=name, version=f"1.{number}", digests={"sha256": sha256_of(name.encode())}, size=10_000)


async def fill(store: IndexStore, projects: range) -> None:
    """Store ten files for each project."""
    for first in range(projects.start, projects.stop, _TOGETHER):
        names = [ProjectName(f"project-{number}") for number in projects[first - projects.start :][:_TOGETHER]]
        changes = [PutFile(DEV, name, file_of(name, number)) for name in names for number in range(_OF_ONE)]
        await store.apply(changes, who="benchmark")


async def measured(title: str, work: Callable[[int], Awaitable[object]]) -> float:
    """Do some work again and again, tell what it cost, and return the median in seconds."""
    for turn in range(-_TURNS // 10, 0):
        await work(turn)
    spent, cpu = [], time.process_time()
    for turn in range(_TURNS):
        begun = time.perf_counter()
        await work(turn)
        spent.append(time.perf_counter() - begun)
    cpu = (time.process_time() - cpu) / _TURNS
    middle = statistics.median(spent)
    late = statistics.quantiles(spent, n=20)[-1]
    print(f"{title:24} {middle * 1e6:8.0f} us   95 % {late * 1e6:8.0f} us   CPU {cpu * 1e6:8.0f} us", flush=True)
    return middle


async def costs(store: IndexStore, files: int) -> tuple[float, float]:
    """The costs of a page and of an upload, in seconds."""
    source, projects = random.Random(files), files // _OF_ONE

    async def page(_turn: int) -> None:
        project = ProjectName(f"project-{source.randrange(projects)}")
        (standing,) = await store.standings(project, [DEV])
        found = await store.page(DEV, project)
        assert standing.holds
        assert found is not None
        assert len(found.rows) >= _OF_ONE

    async def upload(turn: int) -> None:
        project = ProjectName(f"project-{source.randrange(projects)}")
        file = file_of(project, files + turn + _TURNS)
        await store.apply([PutFile(DEV, project, file)], who="benchmark", require=[FileAbsent(DEV, file.filename)])

    return (
        await measured(f"{files:9,} files: page", page),
        await measured(f"{files:9,} files: upload", upload),
    )


async def opened(url: str, directory: Path) -> IndexStore:
    if not url:
        return await SqliteIndex.open(directory / "large.db", SystemClock())
    from pkgindex_core.engines.postgresql.index import PostgresqlIndex

    return await PostgresqlIndex.open(url, SystemClock())


async def run(files: int, directory: Path, url: str) -> None:
    store = await opened(url, directory)
    try:
        await store.apply([PutUser(User(name="ann")), PutIndex(IndexConfig(name=DEV))], who="benchmark")
        await fill(store, range(SMALL // _OF_ONE))
        small = await costs(store, SMALL)
        begun = time.perf_counter()
        await fill(store, range(SMALL // _OF_ONE, files // _OF_ONE))
        print(f"{files:9,} files: filled in {time.perf_counter() - begun:.0f} s", flush=True)
        large = await costs(store, files)
        if not url:
            size = sum(path.stat().st_size for path in directory.iterdir())
            print(f"{size / files:.0f} bytes of the database for each file")
        for what, before, after in zip(("page", "upload"), small, large, strict=True):
            print(f"{what:24} {after / before:8.2f} x")
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--store", default="", help="the URL of an empty PostgreSQL database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        asyncio.run(run(options.files, Path(directory), options.store))


if __name__ == "__main__":
    main()
