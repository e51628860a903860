"""What does a search cost among 886,000 names, and what does it cost to have it?

Workload: a mirror that lists 886,000 names, and a hosted index that inherits from it, in SQLite. The names are taken in, while another task
counts how late its turns come, as requests would wait. Then words are searched as they are typed, one character more each time, with one typing
error in every fourth word; each answer has 20 projects, whose resolution is read. Then projects are published, and each is taken in by itself.
Unit: seconds and CPU seconds of the process; milliseconds for one search (median, 95th percentile, worst); MiB that the process has more than before
its first search; CPU milliseconds for an upload, alone and with others. devpi-web (Whoosh): CPU seconds of its indexing of the same names by its own function, in writes of 1,000 names;
searches by its own function.
Left out: HTTP, the fetching of the list, and for devpi-web its reading of each project from the database, which takes longer than the indexing.

    python -m benchmarks.search [--names 886000] [--peer-names 100000] [--directory DIR] [--without-peers]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.peers import environments
from pkgindex_core.changes import MirrorNames, PutFile, PutIndex, PutRelease, PutUser
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import File, IndexConfig, Release, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.searching.queries import read_query
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.wheels import build_wheel

MIRROR, DEV = IndexName("root/pypi"), IndexName("root/dev")
PEER = "devpi-web"
_PARTS = 20_000
"""Names of one commit, as a first list is stored."""
_UPLOADS = 200
_TYPED = (
    "numpy",
    "django-rest",
    "flask api",
    "scikit-learn",
    "aws sdk",
    "json",
    "machine",
    "pytest",
    "zzqx",
    "tensor flow",
)
_SYLLABLES = [
    "py",
    "data",
    "ml",
    "net",
    "web",
    "api",
    "tool",
    "kit",
    "lib",
    "auto",
    "test",
    "core",
    "io",
    "json",
    "yaml",
    "http",
    "async",
    "cloud",
    "aws",
    "azure",
    "google",
    "flask",
    "django",
    "torch",
    "tensor",
    "num",
    "sci",
    "plot",
    "graph",
    "text",
    "nlp",
    "bot",
    "chat",
    "gpt",
    "llm",
    "agent",
    "fast",
    "mini",
    "micro",
    "super",
    "open",
    "easy",
    "simple",
    "smart",
    "deep",
    "learn",
    "model",
    "train",
    "server",
    "client",
    "sdk",
    "cli",
    "helper",
    "parse",
    "scan",
    "crypto",
    "bit",
    "coin",
    "token",
    "chain",
    "block",
    "game",
    "sim",
    "robot",
    "home",
    "sense",
    "geo",
    "map",
    "image",
    "video",
    "audio",
    "speech",
    "lang",
    "code",
    "gen",
    "build",
    "deploy",
]
_PEER_PROGRAM = """
import json, sys, time, itertools, resource
from pathlib import Path
from types import SimpleNamespace
from devpi_web.whoosh_index import Index

place, names = Path(sys.argv[1]), Path(sys.argv[2]).read_text().split()
index = Index(SimpleNamespace(server_path=place), {})
for start in range(0, len(names), 1000):
    project_ix = index.get_project_ix()
    keys, writer, searcher = project_ix.schema.names(), project_ix.writer(), project_ix.searcher()
    for name in names[start:start + 1000]:
        project = {"name": name, "user": "root", "index": "pypi"}
        index._update_project(project, 1, itertools.count(), keys, writer, searcher=searcher)
    writer.commit()
cpu, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
spent = []
for query in json.loads(sys.argv[3]):
    begun = time.perf_counter()
    index.query_projects(query)
    spent.append(time.perf_counter() - begun)
print(json.dumps([cpu, memory, spent]))
"""


def made_names(count: int) -> list[ProjectName]:
    """Names as they are on PyPI: words and what people invent, joined or not. The same ones each time."""
    chance = random.Random(3)
    found: set[str] = set()
    while len(found) < count:
        words = [
            "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 8)))
            if chance.random() < 0.45
            else chance.choice(_SYLLABLES)
            for _ in range(chance.choice((1, 2, 2, 2, 3, 3, 4)))
        ]
        found.add(chance.choice(("-", "-", "")).join(words))
    return [ProjectName(name) for name in sorted(found)]


def typed() -> list[str]:
    """What a person has in the field after each key."""
    texts = [word[:end] for word in _TYPED for end in range(1, len(word) + 1)]
    return [
        text if number % 4 or len(text) < 5 else f"{text[:-3]}{text[-2]}{text[-3]}{text[-1]}"
        for number, text in enumerate(texts)
        if text.strip() == text
    ]


def memory_mib() -> float:
    """What the process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def take_in(directory: Path, names: Sequence[ProjectName]) -> None:
    """Store the list, and then make the catalogue of it."""
    async with Engine.open(Settings(data=directory), mirrors=False) as engine:
        store = engine.store
        await store.apply([PutUser(User(name="root"))], who="benchmark")
        mirror = mirror_config(MIRROR, "https://upstream.example/simple/")
        await store.apply([PutIndex(mirror), PutIndex(IndexConfig(name=DEV, bases=(MIRROR,)))], who="benchmark")
        for start in range(0, len(names), _PARTS):
            await store.apply(
                [MirrorNames(MIRROR, put=tuple((name, name) for name in names[start : start + _PARTS]))],
                who="benchmark",
            )
        late, occupied = [0.0], [0.0]

        async def take_turns() -> None:
            while True:
                due, cpu = time.perf_counter() + 0.001, time.thread_time()
                await asyncio.sleep(0.001)
                late.append(time.perf_counter() - due)
                occupied.append(time.thread_time() - cpu)

        await engine.catalogue.progress()  # loads and opens it
        cataloguing = engine.cataloguing
        turns = asyncio.create_task(take_turns())
        await asyncio.sleep(3)
        at_rest, late[:], occupied[:] = max(late), [0.0], [0.0]
        begun, cpu, before = time.perf_counter(), time.process_time(), memory_mib()
        await cataloguing.caught_up()
        seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
        turns.cancel()
        size = sum(path.stat().st_size for path in directory.glob("search.sqlite*")) / 2**20
        print(f"taking in {len(names):,} names      {seconds:8.1f} s    CPU {spent:6.1f} s    {size:.0f} MiB on disk")
        print(
            f"  other work meanwhile        {statistics.quantiles(late, n=1000)[-1] * 1e3:8.1f} ms late in 99.9 %, at most {max(late) * 1e3:.0f} ms (before: {at_rest * 1e3:.0f} ms);"
            f" the loop's thread works at most {max(occupied) * 1e3:.1f} ms on end; {memory_mib() - before:.0f} MiB more"
        )


async def search(directory: Path) -> None:
    """Search as people type, in a new process."""
    nobody = Principal()
    async with Engine.open(Settings(data=directory), mirrors=False) as engine:
        await engine.store.tree()
        before = memory_mib()
        begun = time.perf_counter()
        await engine.searching.search(read_query("first"), start=DEV, principal=nobody)
        print(
            f"the first search             {(time.perf_counter() - begun) * 1e3:8.1f} ms   (loads what searches need)"
        )
        spent: list[tuple[float, str]] = []
        cpu = time.process_time()
        for text in typed() * 3:
            begun = time.perf_counter()
            await engine.searching.search(read_query(text), start=DEV, principal=nobody)
            spent.append((time.perf_counter() - begun, text))
        cpu = (time.process_time() - cpu) / len(spent)
        times = sorted(each for each, _ in spent)
        slowest, text = max(spent)
        print(
            f"one search                   {statistics.median(times) * 1e3:8.1f} ms   95 % {statistics.quantiles(times, n=20)[-1] * 1e3:.1f} ms"
            f"   worst {slowest * 1e3:.1f} ms ({text!r})   CPU {cpu * 1e3:.1f} ms   {memory_mib() - before:.0f} MiB"
        )
        begun = time.perf_counter()
        near = await engine.searching.near(DEV, "djnago", principal=nobody)
        print(f"near names for a 404         {(time.perf_counter() - begun) * 1e3:8.1f} ms   {', '.join(near)}")


async def publish(directory: Path) -> None:
    """Take uploads in, each by itself, and as many together as come in the half second for which a server collects them."""
    async with Engine.open(Settings(data=directory), mirrors=False) as engine:
        await engine.cataloguing.caught_up()
        for together in (1, 5, 20):
            cpu = 0.0
            for number in range(_UPLOADS):
                await _upload(engine, f"upload{together}x{number}")
                if number % together == together - 1:
                    begun = time.process_time()
                    await engine.cataloguing.caught_up()
                    cpu += time.process_time() - begun
            print(f"an upload, {together:2} together       {cpu / _UPLOADS * 1e3:8.2f} ms CPU")


async def _upload(engine: Engine, name: str) -> None:
    wheel = build_wheel(name, "1.0")
    blob = await engine.blobs.put(wheel.data)
    file = File(filename=wheel.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size)
    said = {"summary": "A package for the benchmark", "requires_dist": ["numpy>=1"], "author": "Ann"}
    release = Release(version="1.0", metadata=msgspec.json.encode(said))
    project = ProjectName(name)
    await engine.store.apply([PutFile(DEV, project, file), PutRelease(DEV, project, release)], who="benchmark")


def search_with_peer(names: Sequence[ProjectName], directory: Path) -> None:
    """The same by devpi-web, in its own environment."""
    if missing := environments.missing(PEER):
        print(f"devpi-web: {missing}")
        return
    listed = directory / "names.txt"
    listed.write_text("\n".join(names))
    texts = msgspec.json.encode(typed()).decode()
    done = subprocess.run(
        [
            str(environments.program(PEER, "python")),
            "-W",
            "ignore",
            "-c",
            _PEER_PROGRAM,
            str(directory),
            str(listed),
            texts,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, memory, spent = msgspec.json.decode(done.stdout)
    print(
        f"devpi-web {environments.version(PEER)}: {len(names):,} names      CPU {cpu:6.1f} s    one search {statistics.median(spent) * 1e3:.1f} ms,"
        f" worst {max(spent) * 1e3:.1f} ms    {memory} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, default=886_000)
    parser.add_argument("--peer-names", type=int, default=100_000)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    names = made_names(options.names)
    with tempfile.TemporaryDirectory(dir=options.directory) as made:
        directory = Path(made)
        data = directory / "data"
        asyncio.run(take_in(data, names))
        del names[options.peer_names :]
        asyncio.run(search(data))
        asyncio.run(publish(data))
        if not options.without_peers:
            search_with_peer(names, directory)


if __name__ == "__main__":
    main()
