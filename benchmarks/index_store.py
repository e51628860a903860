"""What do the index store's operations cost in SQLite, and how do they grow?

Workload: one store on a local disk, durable commits (`synchronous = FULL`). Files as a large public index lists them.

    commits      uploads of one file, each with a precondition, from 1 and from 32 tasks at once: commits a second
    point reads  seen, standings of three indexes, tree, user, file, find_file: microseconds each
    pages        hosted and mirrored, 10 to 10,000 files: milliseconds each
    names        a project list of 886,000 names: one apply, then an iteration: seconds and growth of memory

Medians of repeated runs; the event loop and the thread hops are included, HTTP is not. Left out: several processes,
a cold disk cache, reads while writes run.

    python -m benchmarks.index_store [--names 886000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.mirror_rows import SIZES, synthetic_files
from pkgindex_core.changes import FileAbsent, MirrorNames, MirrorPage, PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.models import File, IndexConfig, PageHead, User
from pkgindex_core.names import IndexName, ProjectName, parse_project_name
from pkgindex_core.testing.configs import mirror_config

DEV, PROD, MIRROR = IndexName("ann/dev"), IndexName("ann/prod"), IndexName("ann/mirror")
ORDER = (DEV, PROD, MIRROR)


async def seeded(directory: Path, name: str) -> SqliteIndex:
    store = await SqliteIndex.open(directory / name, SystemClock())
    configs = [IndexConfig(name=DEV), IndexConfig(name=PROD), mirror_config(MIRROR)]
    await store.apply([PutUser(User(name="ann")), *map(PutIndex, configs)], who="benchmark")
    return store


async def commits(directory: Path) -> None:
    for tasks, each in ((1, 300), (32, 60)):
        rates = []
        for turn in range(3):
            store = await seeded(directory, f"commits-{tasks}-{turn}.db")

            async def upload(lane: int, store: SqliteIndex = store, each: int = each) -> None:
                for number in range(each):
                    name = f"p{lane}-{number}.tar.gz"
                    file = File(filename=name, digests={"sha256": sha256_of(name.encode())}, size=1)
                    change = PutFile(DEV, ProjectName(f"p{lane}"), file)
                    await store.apply([change], who="benchmark", require=[FileAbsent(DEV, name)])

            start = time.perf_counter()
            await asyncio.gather(*(upload(lane) for lane in range(tasks)))
            rates.append(tasks * each / (time.perf_counter() - start))
            await store.close()
        print(
            f"commits, {tasks:2} tasks        {statistics.median(rates):10.0f} /s   ({min(rates):.0f}-{max(rates):.0f})"
        )


async def reads(directory: Path) -> None:
    store = await seeded(directory, "reads.db")
    source = random.Random(1)
    for number, size in enumerate(SIZES):
        files = tuple(synthetic_files(number, size, source))
        project = parse_project_name(f"project_{number}")
        await store.apply([PutFile(DEV, project, file) for file in files], who="benchmark")
        await store.apply([MirrorPage(MIRROR, project, PageHead(), put=files)], who="benchmark")
        filename = files[size // 2].filename
    large = parse_project_name(f"project_{len(SIZES) - 1}")
    candidates = candidate_projects(filename)
    start = time.perf_counter()
    for _ in range(10_000):
        store.seen()
    print(f"seen                      {(time.perf_counter() - start) * 100:10.1f} us")
    points: dict[str, Callable[[], Awaitable[object]]] = {
        "standings of 3": lambda: store.standings(large, ORDER),
        "tree": store.tree,
        "user": lambda: store.user("ann"),
        "file, hosted": lambda: store.file(DEV, large, filename),
        "file, mirrored, of 10,000": lambda: store.file(MIRROR, large, filename),
        "find_file, hosted": lambda: store.find_file(DEV, filename, candidates),
        "find_file, mirrored": lambda: store.find_file(MIRROR, filename, candidates),
    }
    for label, read in points.items():
        print(f"{label:25} {await median_seconds(read, 500) * 1e6:10.1f} us")
    for index in (DEV, MIRROR):
        for number, size in enumerate(SIZES):
            project = parse_project_name(f"project_{number}")
            taken = await median_seconds(lambda index=index, project=project: store.page(index, project), 15)  # type: ignore[misc]  # bound now
            print(f"page, {index:10} {size:8,} {taken * 1e3:10.3f} ms")
    await store.close()


async def names(directory: Path, count: int) -> None:
    store = await seeded(directory, "names.db")
    source = random.Random(2)
    put = tuple((ProjectName(f"project-{source.randrange(16**8):08x}-{number}"), "") for number in range(count))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    await store.apply([MirrorNames(MIRROR, put=put)], who="benchmark")
    taken = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"names, apply {count:,}      {taken:10.2f} s    peak memory +{(after - before) / 1024:.0f} MB")
    del put
    worst, seen, last = 0.0, 0, time.perf_counter()
    start = last
    async for rows in store.listed_names(MIRROR):
        seen += len(rows)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    assert seen == count
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - after) / 1024
    print(
        f"names, iterate            {last - start:10.2f} s    peak memory +{grown:.0f} MB, slowest batch {worst * 1e3:.0f} ms"
    )
    change = MirrorNames(MIRROR, put=((ProjectName("new-one"), ""),))
    print(f"names, one more           {await median_seconds(lambda: store.apply([change], who='x'), 5) * 1e3:10.2f} ms")
    size = sum(path.stat().st_size for path in directory.glob("names.db*")) / 1e6
    print(f"names, on disk            {size:10.0f} MB   (the log's copy and the WAL included)")
    await store.close()


async def median_seconds(read: Callable[[], Awaitable[object]], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await read()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=886_000)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        await commits(Path(directory))
        await reads(Path(directory))
        await names(Path(directory), arguments.names)


if __name__ == "__main__":
    asyncio.run(main())
