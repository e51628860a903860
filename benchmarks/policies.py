"""What do policies cost a page? `python -m benchmarks.policies [--files 10000] [--rounds 7]`

A project of 10,000 files of 2,500 releases, through the services that answer a request (no HTTP), with an index store in memory. Plain,
under a cooldown and licences, and under six rules that each decide about every file. `built`: CPU
milliseconds of a page that is made anew (read, merged, filtered, written, and compressed with gzip, as uv and pip ask for it). `warm`: CPU microseconds of the same page again, by its
ETag from the cache. Rounds of both are interleaved; medians, and the ratio to the plain page. Licences are checked at uploads, so they cost no page.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.models import File, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import changed_config, index_config
from pkgindex_core.tools.bounded_cache import BoundedCache

_DAY = 86_400_000_000
_PROJECT = ProjectName("demo")
_PLAIN, _COOLED, _POLICED = IndexName("root/plain"), IndexName("root/cooled"), IndexName("root/policed")
_INDEXES = {_PLAIN: "plain", _COOLED: "under a cooldown and licences", _POLICED: "under six rules"}
_POLICIES = (
    "cooldown 7d",
    "cooldown 30d for demo>=0.2499",
    "quarantine stolen for demo==0.17",
    f"revoked sha256:{'0' * 64} leaked",
    "file-types whl, tar.gz",
    "max-size 1GB",
)
_USUAL = ("cooldown 7d", "licences MIT, Apache-2.0")
_WARM = 2000


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


async def _measure(count: int, rounds: int, data: Path) -> None:
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
        built: dict[IndexName, list[float]] = {name: [] for name in _INDEXES}
        warm: dict[IndexName, list[float]] = {name: [] for name in _INDEXES}
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
                started = time.process_time()
                await engine.pages.project(request)
                built[name].append((time.process_time() - started) * 1e3)
                started = time.process_time()
                for _ in range(_WARM):
                    await engine.pages.project(request)
                warm[name].append((time.process_time() - started) / _WARM * 1e6)
        await engine.decisions.flush()
        decisions, _ = await engine.decisions.listed(limit=count)
    print(f"{count} files, {len(decisions)} decisions, {rounds} rounds\n")
    print("| page | built, ms CPU | warm, us CPU |\n|---|---|---|")
    first = statistics.median(built[_PLAIN]), statistics.median(warm[_PLAIN])
    for name, words in _INDEXES.items():
        cells = statistics.median(built[name]), statistics.median(warm[name])
        print(
            f"| {words} | {cells[0]:.1f} ({cells[0] / first[0]:.2f}x) | {cells[1]:.1f} ({cells[1] / first[1]:.2f}x) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(_measure(given.files, given.rounds, Path(data)))


if __name__ == "__main__":
    main()
