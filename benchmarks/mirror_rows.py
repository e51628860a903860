"""How should SQLite keep the files of mirrored projects: a row each, or packed by project?

Workload: synthetic projects with a long-tailed number of files (mean 8, median 2, plus one page each of 10,
200, 2,000 and 10,000 files); each file has what a large public index gives: sha256, size, upload time,
requires-python, a metadata digest, a long URL. Layouts:

    row       a row per file, clustered by project
    page      a row per project: all `PageRow`s as one msgpack array
    page+z    the same, zstd level 3
    segment   a project's rows by filename in segments of at most N, each one msgpack array, zstd level 3

Units: seconds for the load (one transaction per 500 projects), bytes of file on disk per file and gigabytes for 8.9 million
files, milliseconds (median) for reading a page into `PageRow`s, for one durable commit that replaces one file of the
10,000-file page, for finding a file by its name. Left out: the commit log, the project's own row, concurrency, a cold disk cache.

    python -m benchmarks.mirror_rows [--projects 20000] [--directory DIR]
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import apsw
import msgspec

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.formats.fragments import page_row
from pkgindex_core.models import File, PageRow, decode_file

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SIZES = (10, 200, 2_000, 10_000)
EVERY_FILE = 8_900_000

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[PageRow])


class Layout:
    """What every layout can do; `project` is a number."""

    schema: str

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path))
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", self.schema):
            self.connection.execute(statement).fetchall()

    def store(self, project: int, rows: Sequence[PageRow]) -> None:
        raise NotImplementedError

    def read(self, project: int) -> Sequence[PageRow]:
        raise NotImplementedError

    def replace(self, project: int, row: PageRow) -> None:
        raise NotImplementedError

    def find(self, project: int, filename: str) -> File | None:
        raise NotImplementedError


class RowPerFile(Layout):
    schema = """
        CREATE TABLE file (project INTEGER NOT NULL, filename TEXT NOT NULL, version TEXT NOT NULL,
            fragment BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (project, filename)) STRICT, WITHOUT ROWID
    """

    def store(self, project: int, rows: Sequence[PageRow]) -> None:
        self.connection.executemany(
            "INSERT INTO file VALUES (?, ?, ?, ?, ?)",
            [(project, row.filename, row.version, row.fragment, row.body) for row in rows],
        )

    def read(self, project: int) -> Sequence[PageRow]:
        found = self.connection.execute(
            "SELECT filename, version, fragment, body FROM file WHERE project = ?", (project,)
        )
        return [PageRow(*row) for row in found]

    def replace(self, project: int, row: PageRow) -> None:
        self.connection.execute(
            "REPLACE INTO file VALUES (?, ?, ?, ?, ?)", (project, row.filename, row.version, row.fragment, row.body)
        )

    def find(self, project: int, filename: str) -> File | None:
        body = self.connection.execute(
            "SELECT body FROM file WHERE project = ? AND filename = ?", (project, filename)
        ).get
        return decode_file(body) if body is not None else None


class RowPerPage(Layout):
    schema = "CREATE TABLE page (project INTEGER PRIMARY KEY, rows BLOB NOT NULL) STRICT"

    def store(self, project: int, rows: Sequence[PageRow]) -> None:
        self.connection.execute("REPLACE INTO page VALUES (?, ?)", (project, self.pack(rows)))

    def read(self, project: int) -> Sequence[PageRow]:
        packed = self.connection.execute("SELECT rows FROM page WHERE project = ?", (project,)).get
        return self.unpack(packed) if packed is not None else []

    def replace(self, project: int, row: PageRow) -> None:
        self.store(project, [row if old.filename == row.filename else old for old in self.read(project)])

    def find(self, project: int, filename: str) -> File | None:
        for row in self.read(project):
            if row.filename == filename:
                return decode_file(row.body)
        return None

    def pack(self, rows: Sequence[PageRow]) -> bytes:
        return _encoder.encode(rows)

    def unpack(self, packed: bytes) -> Sequence[PageRow]:
        return _decoder.decode(packed)


class RowPerCompressedPage(RowPerPage):
    level = 3

    def pack(self, rows: Sequence[PageRow]) -> bytes:
        return zstd.compress(_encoder.encode(rows), self.level)

    def unpack(self, packed: bytes) -> Sequence[PageRow]:
        return _decoder.decode(zstd.decompress(packed))


class RowPerSegment(Layout):
    schema = """
        CREATE TABLE segment (project INTEGER NOT NULL, low TEXT NOT NULL, rows BLOB NOT NULL,
            UNIQUE (project, low)) STRICT
    """
    limit = 128

    def store(self, project: int, rows: Sequence[PageRow]) -> None:
        ordered = sorted(rows, key=lambda row: row.filename)
        for start in range(0, len(ordered), self.limit):
            part = ordered[start : start + self.limit]
            low = part[0].filename if start else ""
            self.connection.execute("INSERT INTO segment VALUES (?, ?, ?)", (project, low, self.pack(part)))

    def read(self, project: int) -> Sequence[PageRow]:
        rows: list[PageRow] = []
        for (packed,) in self.connection.execute("SELECT rows FROM segment WHERE project = ?", (project,)):
            rows += self.unpack(packed)
        return rows

    def replace(self, project: int, row: PageRow) -> None:
        low, rows = self.around(project, row.filename)
        kept = [row if old.filename == row.filename else old for old in rows]
        self.connection.execute(
            "UPDATE segment SET rows = ? WHERE project = ? AND low = ?", (self.pack(kept), project, low)
        )

    def find(self, project: int, filename: str) -> File | None:
        rows = self.around(project, filename)[1]
        at = bisect_right(rows, filename, key=lambda row: row.filename) - 1
        return decode_file(rows[at].body) if at >= 0 and rows[at].filename == filename else None

    def around(self, project: int, filename: str) -> tuple[str, Sequence[PageRow]]:
        low, packed = self.connection.execute(
            "SELECT low, rows FROM segment WHERE project = ? AND low <= ? ORDER BY low DESC LIMIT 1",
            (project, filename),
        ).get
        return low, self.unpack(packed)

    def pack(self, rows: Sequence[PageRow]) -> bytes:
        return zstd.compress(_encoder.encode(rows), 3)

    def unpack(self, packed: bytes) -> Sequence[PageRow]:
        return _decoder.decode(zstd.decompress(packed))


class RowPerSmallSegment(RowPerSegment):
    limit = 32


class RowPerLargeSegment(RowPerSegment):
    limit = 512


LAYOUTS: dict[str, type[Layout]] = {
    "row": RowPerFile,
    "page": RowPerPage,
    "page+z": RowPerCompressedPage,
    "segment 32": RowPerSmallSegment,
    "segment 128": RowPerSegment,
    "segment 512": RowPerLargeSegment,
}


def synthetic_files(project: int, count: int, source: random.Random) -> Iterator[File]:
    name = f"project_{project}"
    for number in range(count):
        version = f"{number // 40}.{number // 2 % 20}.{number % 3}"
        kind = ".tar.gz" if number % 2 else "-py3-none-any.whl"
        filename = f"{name}-{version}.{number}{kind}"
        place = source.randbytes(32).hex()
        yield File(
            filename=filename,
            version=f"{version}.{number}",
            digests={"sha256": source.randbytes(32).hex()},
            size=source.randrange(1_000, 10_000_000),
            upload_time=Timestamp(1_500_000_000_000_000 + source.randrange(10**14)),
            requires_python=">=3.8" if number % 4 else "",
            metadata_sha256=None if number % 2 else Sha256(source.randbytes(32).hex()),
            url=f"https://files.example.org/packages/{place[:2]}/{place[2:4]}/{place[4:]}/{filename}",
        )


def file_counts(projects: int, source: random.Random) -> list[int]:
    """Median 2, mean 8, the tail cut at 2,500."""
    return [min(2_500, max(1, int(source.lognormvariate(1.1, 1.45)))) for _ in range(projects)]


def load(layout: Layout, pages: Iterable[Sequence[PageRow]]) -> float:
    seconds = 0.0
    batch: list[tuple[int, Sequence[PageRow]]] = []
    for project, rows in enumerate(pages):
        batch.append((project, rows))
        if len(batch) == 500:
            seconds += _store(layout, batch)
            batch.clear()
    return seconds + _store(layout, batch)


def _store(layout: Layout, batch: Sequence[tuple[int, Sequence[PageRow]]]) -> float:
    start = time.perf_counter()
    with layout.connection:
        for project, rows in batch:
            layout.store(project, rows)
    return time.perf_counter() - start


def median_ms(action: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def measure(name: str, directory: Path, counts: Sequence[int]) -> None:
    path = directory / f"{name.replace(' ', '-')}.db"
    layout = LAYOUTS[name](path)
    source = random.Random(7)
    every = (*counts, *SIZES)
    pages = ([page_row(file) for file in synthetic_files(number, count, source)] for number, count in enumerate(every))
    seconds = load(layout, pages)
    layout.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    per_file = path.stat().st_size / sum(every)
    reads = [median_ms(partial(layout.read, len(counts) + at), 15) for at in range(len(SIZES))]
    large = len(counts) + len(SIZES) - 1
    rows = list(layout.read(large))
    changed = iter(source.sample(rows, 60))

    def replace() -> None:
        row = next(changed)
        with layout.connection:
            layout.replace(large, PageRow(row.filename, row.version, row.fragment + b" ", row.body))

    replaced = median_ms(replace, 30)
    names = iter([row.filename for row in source.choices(rows, k=100)])
    found_large = median_ms(lambda: layout.find(large, next(names)), 50)
    ten = len(counts)
    small = layout.read(ten)[3].filename
    found_small = median_ms(lambda: layout.find(ten, small), 50)
    gigabytes = per_file * EVERY_FILE / 1e9
    print(
        f"{name:12} {seconds:7.1f} {per_file:9.0f} {gigabytes:9.1f}   "
        + " ".join(f"{read:9.3f}" for read in reads)
        + f" {replaced:9.2f} {found_large:9.3f} {found_small:9.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--projects", type=int, default=20_000)
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    counts = file_counts(arguments.projects, random.Random(1))
    print(f"{len(counts)} projects, {sum(counts)} files, median {statistics.median(counts)}; and {SIZES}")
    print(
        f"{'':12} {'load s':>7} {'byte/file':>9} {'8.9M GB':>9}   read ms: "
        + " ".join(f"{size:>8}" for size in SIZES)
        + "  replace ms   find ms: large, small"
    )
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        for name in LAYOUTS:
            measure(name, Path(directory), counts)


if __name__ == "__main__":
    main()
