"""What do policies cost a page? `python -m benchmarks.policies [--files 10000] [--rounds 7]`

A project of 10,000 files of 2,500 releases, through the services that answer a request (no HTTP), with an index store in memory. Plain,
under a cooldown, OSV and licences with 40 advisories (about 480 files), and under six rules that each decide about every file. Rounds are
interleaved; medians, and the ratio to the plain page. Licences are checked at uploads, so they cost no page.

    built     CPU milliseconds of a hosted page that is made anew: read, merged, filtered, written, and compressed with gzip, as uv and pip ask for it
    mirrored  the same of a mirrored page, from the bytes in which it is kept; and, made again while it is unpacked
    warm      CPU microseconds of the same page again, by its ETag from the cache
    repeated  CPU microseconds of the check before an answer is repeated without being parsed. Everything else of a repetition is equal for all
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import msgspec

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.compression import compress
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.engines.advisories.book import book_path
from pkgindex_core.engines.advisories.taking_in import make_book
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import KeptRows, keep
from pkgindex_core.models import File, Page, PageHead, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.resolution import Resolution
from pkgindex_core.services.reading.assembling import Parts
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.tools.bounded_cache import BoundedCache

_DAY = 86_400_000_000
_PROJECT = ProjectName("demo")
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
_ADVISORIES = 40


def _files(count: int, now: int) -> list[File]:
    return [
        File(
            filename=f"demo-0.{at // 4}-cp31{at % 4}-cp31{at % 4}-manylinux_2_28_x86_64.whl",
            version=f"0.{at // 4}",
            digests={"sha256": sha256_of(str(at).encode())},
            size=1_000_000 + at,
            upload_time=Timestamp(now - (count - at) * _DAY // 4),
            requires_python=">=3.10",
            metadata_sha256=sha256_of(f"m{at}".encode()),
        )
        for at in range(count)
    ]


def _record(at: int) -> bytes:
    events = [{"introduced": f"0.{at * 60}"}, {"fixed": f"0.{at * 60 + 3}"}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "demo"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
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
    feed.mkdir()
    for at in range(_ADVISORIES):
        (feed / f"GHSA-{at:04}.json").write_bytes(_record(at))
    make_book(feed, book_path(data), label="benchmark", now=Timestamp(now))


def _mirrored(engine: Engine, resolution: Resolution, kept: bytes, rows: KeptRows | None) -> KeptRows:
    """Write a page from kept bytes, or from rows that are unpacked already."""
    (layer,) = resolution.shown
    rows = rows or KeptRows(kept)
    page = Page(index=layer.index, project=_PROJECT, stamp=layer.standing.stamp, head=PageHead(), rows=rows)
    merged, _ = engine.pages._assembling.merged(Parts(resolution, ((layer, page),)), "../../../../", engine.clock.now())
    compress(JsonRenderer().page(merged), "gzip")
    return rows


async def _measure(count: int, rounds: int, data: Path) -> None:
    _feed(data, time.time_ns() // 1000)
    settings = Settings(data=data, store="memory://", blobs="memory://", page_cache_bytes=256 << 20)
    async with Engine.open(settings, mirrors=False) as engine:
        now = engine.clock.now()
        await engine.store.apply([PutUser(User(name="root"))], who="[benchmark]")
        for name in _INDEXES:
            config = index_config(name)
            if name != _PLAIN:
                config = changed_config(config, policies=list(_POLICIES if name == _POLICED else _USUAL))
            files = [PutFile(name, _PROJECT, file) for file in _files(count, now)]
            await engine.store.apply([PutIndex(config), *files], who="[benchmark]")
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
                engine.pages._bodies = BoundedCache(256 << 20, size_of=len)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(_measure(given.files, given.rounds, Path(data)))


if __name__ == "__main__":
    main()
