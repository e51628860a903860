"""What do policies cost a page? `python -m benchmarks.policies [--files 10000] [--rounds 7] [--http-rounds 3]`

A project of 10,000 files of 2,500 releases, through the services that answer a request (no HTTP), from SQLite, with the garbage collector set as
servers set it. Plain, under a cooldown, OSV and licences with 40 advisories (about 480 files), and under six rules that each decide about every file. Rounds are
interleaved; medians, and the ratio to the plain page. Licences are checked at uploads, so they cost no page.

    built     CPU milliseconds of a hosted page that is made anew: read, merged, filtered, written, and compressed with gzip, as uv and pip ask for it
    mirrored  the same of a mirrored page, from the bytes in which it is kept; and, made again while it is unpacked
    warm      CPU microseconds of the same page again, by its ETag from the cache
    repeated  CPU microseconds of the check before an answer is repeated without being parsed. Everything else of a repetition is equal for all

Then over HTTP, from SQLite: CPU microseconds of the server for an answer with the page of a project of 10,000 files and of 10, by wrk with one
connection and with 32. "Repeated" is the server as it is; "made" is one that makes each answer anew (`replay_bytes = 0`), as for a client's
first request. The page of 10 files is 250 days old and has one advisory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.fixtures import Manifest, Site
from benchmarks.load import Driver, Failed, Request, choose_driver, fetch
from benchmarks.peers.pkgindex import PkgIndex
from pkgindex_core.changes import PutFile, PutIndex
from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.engines.advisories.book import book_path
from pkgindex_core.engines.advisories.taking_in import make_book
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import File, Page, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Parts
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.tools.bounded_cache import BoundedCache

_DAY = 86_400_000_000
_PROJECT, _SMALL = ProjectName("demo"), ProjectName("small")
_FEW = 10
_PLAIN, _COOLED, _POLICED = IndexName("root/plain"), IndexName("root/cooled"), IndexName("root/policed")
_INDEXES = {_PLAIN: "plain", _COOLED: "under a cooldown, OSV and licences", _POLICED: "under six rules"}
_POLICIES = (
    "cooldown 7d",
    "cooldown 30d for demo>=0.2499",
    "quarantine stolen for demo==0.17",
    f"revoked sha256:{'0' * 64} leaked",
    "file-types whl, tar.gz",
    "max-size 1GB",
)
_USUAL = ("cooldown 7d", "malware", "vulnerabilities", "licences MIT, Apache-2.0")
_WARM = 2000
_YOUNG = 10_000
"""As `pkgindex_http.commands.serving` has it."""
_SECONDS = 1.0
"""Of wrk, for each figure."""
_ADVISORIES = 40


def _files(count: int, now: int, project: ProjectName = _PROJECT) -> list[File]:
    return [
        File(
            filename=f"{project}-0.{at // 4}-cp31{at % 4}-cp31{at % 4}-manylinux_2_28_x86_64.whl",
            version=f"0.{at // 4}",
            digests={"sha256": sha256_of(f"{project}{at}".encode())},
            size=1_000_000 + at,
            upload_time=Timestamp(now - (count - at) * _DAY // 4),
            requires_python=">=3.10",
            metadata_sha256=sha256_of(f"m{at}".encode()),
        )
        for at in range(count)
    ]


def _record(at: int) -> bytes:
    events = [{"introduced": f"0.{at * 60}"}, {"fixed": f"0.{at * 60 + 3}"}]
    affected = [
        {"package": {"ecosystem": "PyPI", "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        for name in ([_PROJECT] if at else [_PROJECT, _SMALL])
    ]
    return msgspec.json.encode(
        {
            "id": f"GHSA-{at:04}",
            "modified": "2026-01-01T00:00:00Z",
            "summary": "demo does too much",
            "affected": affected,
        }
    )


def _feed(data: Path, now: int) -> None:
    """The book that a server of this data directory reads."""
    feed = data / "feed"
    feed.mkdir(parents=True)
    for at in range(_ADVISORIES):
        (feed / f"GHSA-{at:04}.json").write_bytes(_record(at))
    make_book(feed, book_path(data), label="benchmark", now=Timestamp(now))


def _mirrored(engine: Engine, resolution: Resolution, kept: bytes, rows: KeptRows | None) -> KeptRows:
    """Write a page from kept bytes, or from rows that are unpacked already."""
    (layer,) = resolution.shown
    rows = rows or KeptRows(kept)
    page = Page(index=layer.index, project=_PROJECT, stamp=layer.standing.stamp, head=PageHead(), rows=rows)
    merged, _ = engine.pages.building._assembling.merged(
        Parts(resolution, ((layer, page),)), "../../../../", engine.clock.now()
    )
    compress(JsonRenderer().page(merged), "gzip")
    return rows


async def _fill(engine: Engine, count: int) -> None:
    """The indexes with their projects."""
    now = engine.clock.now()
    for name in _INDEXES:
        config = index_config(name)
        if name != _PLAIN:
            config = changed_config(config, policies=list(_POLICIES if name == _POLICED else _USUAL))
        files = [PutFile(name, _PROJECT, file) for file in _files(count, now)]
        files += [PutFile(name, _SMALL, file) for file in _files(_FEW, now - 250 * _DAY, _SMALL)]
        await engine.store.apply([PutIndex(config), *files], who="[benchmark]")


async def _measure(count: int, rounds: int, data: Path) -> None:
    _feed(data, time.time_ns() // 1000)
    settings = Settings(data=data, page_cache_bytes=256 << 20)
    async with Engine.open(settings, mirrors=False) as engine:
        now = engine.clock.now()
        await engine.prepare()
        await _fill(engine, count)
        gc.freeze()
        gc.set_threshold(_YOUNG)
        kept = keep(_PROJECT, _files(count, now)).kept
        took: dict[IndexName, list[tuple[float, ...]]] = {name: [] for name in _INDEXES}
        for _ in range(rounds):
            for name in _INDEXES:
                request = PageRequest(
                    view=View(start=name, root="../../../../"),
                    project=_PROJECT,
                    principal=Principal(name="root"),
                    media_type=JSON_V1,
                    coding="gzip",
                )
                engine.pages._bodies = engine.pages.building._bodies = BoundedCache(256 << 20, size_of=len)
                engine.pages.building.long_pages.kept = BoundedCache(0)
                resolution = await engine.pages._resolving.resolve(name, _PROJECT, request.principal)
                marks = [time.process_time()]
                await engine.pages.project(request)
                marks.append(time.process_time())
                rows = _mirrored(engine, resolution, kept, None)
                marks.append(time.process_time())
                _mirrored(engine, resolution, kept, rows)
                marks.append(time.process_time())
                for _ in range(_WARM):
                    await engine.pages.project(request)
                marks.append(time.process_time())
                holds = (await engine.pages.holding_project(request))[1]()
                assert holds is not None
                marks.append(time.process_time())
                for _ in range(_WARM):
                    assert holds()
                marks.append(time.process_time())
                spans = [(after - before) * 1e3 for before, after in pairwise(marks)]
                took[name].append((*spans[:3], spans[3] / _WARM * 1e3, spans[5] / _WARM * 1e3))
        await engine.decisions.flush()
        decisions, _ = await engine.decisions.listed(limit=count)
    print(f"{count} files, {len(decisions)} decisions, {rounds} rounds\n")
    print("| page | built, ms | mirrored, ms | again, ms | warm, us | repeated, us |\n|---|---|---|---|---|---|")
    medians = {name: [statistics.median(each) for each in zip(*spans, strict=True)] for name, spans in took.items()}
    for name, words in _INDEXES.items():
        cells = zip(medians[name], medians[_PLAIN], strict=True)
        print(f"| {words} | {' | '.join(f'{cell:.1f} ({cell / plain:.2f}x)' for cell, plain in cells)} |")


class _Policed(PkgIndex):
    """A server with the indexes."""

    def __init__(self, place: Path, count: int, *, repeats: bool) -> None:
        nothing = Site(root=place, manifest=Manifest(recipe=0, sizes=(), large_bytes=0, projects={}))
        super().__init__(nothing, place, upstream="http://127.0.0.1:9", repeats=repeats)
        self._count = count

    def prepare(self) -> None:
        _feed(self.data, time.time_ns() // 1000)
        asyncio.run(self._fill())

    async def _fill(self) -> None:
        async with Engine.open(Settings(data=self.data), mirrors=False) as engine:
            await engine.prepare()
            await _fill(engine, self._count)


def _over_http(count: int, rounds: int, place: Path) -> None:
    driver = choose_driver()
    servers = {"repeated": _Policed(place / "repeated", count, repeats=True)}
    servers["made"] = _Policed(place / "made", count, repeats=False)
    columns = [
        (f"{files:,} files, {way}, {connections}", project, way, connections)
        for files, project in ((count, _PROJECT), (_FEW, _SMALL))
        for way in servers
        for connections in (1, 32)
    ]
    took: dict[tuple[IndexName, str], list[float]] = {}
    with ExitStack() as running:
        for server in servers.values():
            running.callback(server.stop)
            server.start()
        for _ in range(rounds):
            for title, project, way, connections in columns:
                for name in _INDEXES:
                    micros = _answers(servers[way], f"/{name}/+simple/{project}/", driver, connections)
                    took.setdefault((name, title), []).append(micros)
    titles = [title for title, *_ in columns]
    print(f"\nCPU microseconds an answer over HTTP, {rounds} rounds\n")
    print(f"| page | {' | '.join(titles)} |\n|---{'|---' * len(titles)}|")
    for name, words in _INDEXES.items():
        figures = [(statistics.median(took[name, title]), _ratio(took, name, title)) for title in titles]
        print(f"| {words} | {' | '.join(f'{micros:.0f} ({ratio:.2f}x)' for micros, ratio in figures)} |")


def _ratio(took: Mapping[tuple[IndexName, str], list[float]], name: IndexName, title: str) -> float:
    """The median of the ratios to the plain page inside a round."""
    pairs = zip(took[name, title], took[_PLAIN, title], strict=True)
    return statistics.median(policed / plain for policed, plain in pairs)


def _answers(server: _Policed, path: str, driver: Driver, connections: int) -> float:
    """CPU microseconds of the server for an answer."""
    request = Request(port=server.port, path=path, headers={"Accept": JSON_V1, "Accept-Encoding": "gzip"})
    for _ in range(3):
        fetch(request)
    before = machine.cpu_seconds(server.pid)
    found = driver.run(request, connections=connections, seconds=_SECONDS)
    after = machine.cpu_seconds(server.pid)
    if before is None or after is None:
        raise Failed("the CPU time of a process is not known here")
    return (after - before) / found.requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--http-rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(_measure(given.files, given.rounds, Path(place) / "services"))
        if given.http_rounds:
            _over_http(given.files, given.http_rounds, Path(place))


if __name__ == "__main__":
    main()
