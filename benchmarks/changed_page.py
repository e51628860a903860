"""What does the first build of a long page after a change cost? `python -m benchmarks.changed_page [--files 10000] [--rounds 9]`

A hosted project of 10,000 files of 10,000 versions in SQLite, through the services that answer a request (no HTTP). In each round a new file is uploaded,
then the page is asked for in JSON or in HTML, with the codings of pip and uv, of a client that takes only zstd, and of one that takes none.

    first    CPU milliseconds of the first page after a start
    changed  CPU milliseconds of the first page after an upload: resolved, read, merged, written, compressed
    ratio    to the CPU milliseconds of compressing the whole page (with gzip, if the client takes none), in the same round
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.compression import compress, decompress
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.models import File, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_core.testing.configs import index_config

_DEV, _DEMO = IndexName("root/dev"), ProjectName("demo")
_COLUMNS = (
    ("JSON, gzip", JSON_V1, "gzip"),
    ("HTML, gzip", HTML_V1, "gzip"),
    ("JSON, zstd only", JSON_V1, "zstd"),
    ("JSON, identity", JSON_V1, "identity"),
)


def _file(at: int, suffix: str = "") -> File:
    version = f"{at // 400}.{at // 20 % 20}.{at % 20}{suffix}"
    filename = f"demo-{version}-py3-none-any.whl"
    return File(
        filename=filename,
        version=version,
        digests={"sha256": sha256_of(filename.encode())},
        size=1_000_000 + at,
        requires_python=">=3.10",
        metadata_sha256=sha256_of(f"{filename}.metadata".encode()),
    )


async def _measure(count: int, rounds: int, data: Path) -> None:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        files = [PutFile(_DEV, _DEMO, _file(at)) for at in range(count)]
        await engine.store.apply([PutUser(User(name="root")), PutIndex(index_config(_DEV)), *files], who="[benchmark]")
        print(f"{count} files, {rounds} rounds\n\n| page | first, ms | changed, ms | ratio |\n|---|---|---|---|")
        for number, (title, media_type, coding) in enumerate(_COLUMNS):
            request = PageRequest(
                view=View(start=_DEV, root="../../../../"),
                project=_DEMO,
                principal=Principal(name="root"),
                media_type=media_type,
                coding=coding,
            )
            took: list[tuple[float, float]] = []
            for each in range(rounds + 1):
                if each:
                    new = _file(count * each // (rounds + 1), f".post{number}")
                    await engine.store.apply([PutFile(_DEV, _DEMO, new)], who="[benchmark]")
                marks = [time.process_time()]
                answer = await engine.pages.project(request)
                marks.append(time.process_time())
                assert answer.body is not None
                page = decompress(answer.body, answer.coding)
                marks.append(time.process_time())
                compress(page, "zstd" if coding == "zstd" else "gzip")
                marks.append(time.process_time())
                took.append(((marks[1] - marks[0]) * 1e3, (marks[3] - marks[2]) * 1e3))
            first, changed = took[0][0], [spent for spent, _ in took[1:]]
            ratio = statistics.median(spent / compressing for spent, compressing in took[1:])
            print(f"| {title} | {first:.1f} | {statistics.median(changed):.1f} | {ratio:.2f}x |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(_measure(given.files, given.rounds, Path(data)))


if __name__ == "__main__":
    main()
