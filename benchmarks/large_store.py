"""What do a page and an upload cost when the index store has a million files?

Workload: one hosted index; projects of ten files each. First the store has 1,000 files, then a million. At both sizes, for projects that are chosen
at random, by the index store alone: the standing and the page of a project are read, as for an answer that nothing has cached, and a new file is
committed, durably, under the condition that its name is free, one after another. Then by a server: the first page of a project, and an upload of a wheel
of 10 kB into one, over one connection. It is started five times, for 80 of each, since a small index has no more projects that nobody asked for.
Unit: microseconds each (median, 95th percentile), and CPU time each of this process. The database server's CPU time, and that of a server, do not count.
Left out: several servers.

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
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from benchmarks import machine
from benchmarks.fixtures import Manifest, Site
from benchmarks.load import Connection, Failed, Request
from benchmarks.peers import ACCEPT
from benchmarks.peers.pkgindex import HOSTED, PkgIndex
from benchmarks.uploads import upload_request
from pkgindex_core.changes import FileAbsent, PutFile
from pkgindex_core.clock import SystemClock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import IndexStore

SMALL = 1_000
_OF_ONE = 10
"""Files of a project."""
_TOGETHER = 50
"""Projects that are stored by one commit."""
_TURNS = 400
_STARTS = 5
"""Starts of a server at each size."""
_QUIET_SECONDS = 2.0
"""A server that spends less than a tenth of this time on a CPU has done what follows its start, such as reading names for searches."""


def file_of(project: str, number: int) -> File:
    name = f"{project.replace('-', '_')}-1.{number}-py3-none-any.whl"
    return File(filename=name, version=f"1.{number}", digests={"sha256": sha256_of(name.encode())}, size=10_000)


async def fill(store: IndexStore, projects: range) -> None:
    """Store ten files for each project."""
    for first in range(projects.start, projects.stop, _TOGETHER):
        names = [ProjectName(f"project-{number}") for number in projects[first - projects.start :][:_TOGETHER]]
        changes = [PutFile(HOSTED, name, file_of(name, number)) for name in names for number in range(_OF_ONE)]
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
    return shown(title, spent, f"CPU {cpu * 1e6:8.0f} us")


def shown(title: str, spent: Sequence[float], more: str = "") -> float:
    """Print what was measured, and return the median in seconds."""
    middle = statistics.median(spent)
    late = statistics.quantiles(spent, n=20)[-1]
    print(f"{title:40} {middle * 1e6:8.0f} us   95 % {late * 1e6:8.0f} us   {more}", flush=True)
    return middle


async def costs(store: IndexStore, files: int) -> tuple[float, float]:
    """The costs of a page and of an upload, in seconds."""
    source, projects = random.Random(files), files // _OF_ONE

    async def page(_turn: int) -> None:
        project = ProjectName(f"project-{source.randrange(projects)}")
        (standing,) = await store.standings(project, [HOSTED])
        found = await store.page(HOSTED, project)
        assert standing.holds
        assert found is not None
        assert len(found.rows) >= _OF_ONE

    async def upload(turn: int) -> None:
        project = ProjectName(f"project-{source.randrange(projects)}")
        file = file_of(project, files + turn + _TURNS)
        await store.apply(
            [PutFile(HOSTED, project, file)], who="benchmark", require=[FileAbsent(HOSTED, file.filename)]
        )

    return (
        await measured(f"{files:9,} files: page", page),
        await measured(f"{files:9,} files: upload", upload),
    )


class LargeServer(PkgIndex):
    """A server over a store that lies there already."""

    def __init__(self, place: Path, *, store: str) -> None:
        empty = Site(root=place, manifest=Manifest(recipe=0, sizes=(0,), large_bytes=0, projects={}))
        super().__init__(empty, place, upstream="http://127.0.0.1:9", empty=True, store=store)

    async def make(self) -> None:
        """Make its data directory, with an index without files."""
        self.place.mkdir()
        await self._put_files()

    def become_quiet(self) -> None:
        """Wait until what follows a start is done."""
        spent = machine.cpu_seconds(self.pid) or 0.0
        while True:
            time.sleep(_QUIET_SECONDS)
            before, spent = spent, machine.cpu_seconds(self.pid) or 0.0
            if spent - before < _QUIET_SECONDS / 10:
                return


def server_costs(server: LargeServer, files: int) -> tuple[float, float]:
    """The costs of a first page and of an upload over HTTP, in seconds."""
    source, projects = random.Random(files), files // _OF_ONE
    pages: list[float] = []
    uploads: list[float] = []
    for start in range(_STARTS):
        server.start_again(lambda: Request(port=server.port, path="/+api"))
        try:
            server.become_quiet()
            target = next(iter(server.uploads()))
            with Connection(server.port) as connection:
                for turn, number in enumerate(source.sample(range(projects), 100)):
                    path = f"/{HOSTED}/+simple/project-{number}/"
                    asked = Request(port=server.port, path=path, headers={"Accept": ACCEPT["json"]}).data
                    sent = upload_request(replace(target, project=f"project-{number}"), 10 * files + start * 100 + turn)
                    for spent, data, method in ((pages, asked, "GET"), (uploads, sent, "POST")):
                        answer = connection.send(data, method)
                        if answer.status != 200:
                            raise Failed(f"{method} of {path}: {answer.status} {answer.body[:400]!r}")
                        if turn >= 20:  # until then code is loaded
                            spent.append(answer.seconds)
        finally:
            server.stop()
    return shown(f"{files:9,} files: first page over HTTP", pages), shown(
        f"{files:9,} files: upload over HTTP", uploads
    )


async def opened(url: str, server: LargeServer) -> IndexStore:
    if not url:
        return await SqliteIndex.open(server.data / "index.sqlite", SystemClock())
    from pkgindex_core.engines.postgresql.index import PostgresqlIndex

    return await PostgresqlIndex.open(url, SystemClock())


async def run(files: int, directory: Path, url: str) -> None:
    server = LargeServer(directory / "server", store=url)
    await server.make()
    found: list[Sequence[float]] = []
    for before, size in ((0, SMALL), (SMALL, files)):
        store = await opened(url, server)
        try:
            begun = time.perf_counter()
            await fill(store, range(before // _OF_ONE, size // _OF_ONE))
            print(f"{size:9,} files: filled in {time.perf_counter() - begun:.0f} s", flush=True)
            bare = await costs(store, size)
        finally:
            await store.close()
        found.append((*bare, *await asyncio.to_thread(server_costs, server, size)))
    if not url:
        size = sum(path.stat().st_size for path in server.data.glob("index.sqlite*"))
        print(f"{size / files:.0f} bytes of the database for each file")
    names = ("page", "upload", "first page over HTTP", "upload over HTTP")
    for what, small, large in zip(names, *found, strict=True):
        print(f"{what:24} {large / small:8.2f} x")


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
