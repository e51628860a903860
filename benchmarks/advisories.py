"""What do 200,000 advisories cost: to take in, in memory, for a batch of questions, and for a page of 10,000 files?

Run it by itself: `python -m benchmarks.advisories`. Nothing is served; the parts are called as a server calls them.

Workload: made-up OSV records, nine of ten about a malicious project of its own, the others about 5,000 libraries, as in OSV's export. Questions: 500 packages, of which
a fifth has advisories, with an empty cache. The page has 10,000 files in 1,000 releases of a library with 40 advisories.
Units: seconds and MiB of the process that takes in; MiB that a reader has more than before; milliseconds for the batch; the page with `malware` and `vulnerabilities warn`
as a ratio to the page without, made anew.
Left out: HTTP and JSON of the answer, fetching the feed.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.advisories.book import FiledBook, book_path
from pkgindex_core.engines.advisories.taking_in import take_in
from pkgindex_core.formats.advisories import Affecting
from pkgindex_core.formats.columns import Columns
from pkgindex_core.models import File, IndexConfig, Serial, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build
from pkgindex_core.rules.policing.advisory_rules import MalwareFilter, VulnerabilitiesFilter
from pkgindex_core.rules.policing.lines import ServerPolicies

_RECORDS = 200_000
_LIBRARIES = 5_000
_QUESTIONS = 500
_ROUNDS = 5
_INDEX = IndexName("root/pypi")


def make_feed(place: Path) -> None:
    """Write the feed."""
    dice = random.Random(1)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(_RECORDS):
            record = _vulnerable(number) if number % 10 == 0 else _malicious(number, dice)
            archive.writestr(f"{record['id']}.json", json.dumps(record))


def _malicious(number: int, dice: random.Random) -> dict[str, object]:
    name = f"evil-{number:06d}"
    affected = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "versions": [f"1.{each}" for each in range(1 + number % 4)]}
    ]
    origin = {"sha256": f"{dice.getrandbits(256):064x}", "source": "made up", "versions": ["1.0"]}
    return {
        "id": f"MAL-2026-{number}", "modified": "2026-05-11T10:00:00Z", "summary": f"Malicious code in {name} (PyPI)",
        "details": f"The package {name} sends the environment to a stranger.", "affected": affected,
        "database_specific": {"malicious-packages-origins": [origin]},
    }  # fmt: skip


def _vulnerable(number: int) -> dict[str, object]:
    name = f"lib-{number // 10 % (_LIBRARIES // 10):04d}"
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": f"{1 + number % 7}.3"}]}]
    return {
        "id": f"GHSA-{number:06x}", "modified": "2026-05-11T10:00:00Z", "aliases": [f"CVE-2026-{number}"],
        "summary": f"{name} takes too long", "details": "A flaw was found. " * 20,
        "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": ranges, "versions": ["1.0", "1.1", "2.0"]}],
        "database_specific": {"severity": ("LOW", "MODERATE", "HIGH", "CRITICAL")[number // 10 % 4]},
    }  # fmt: skip


def _memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _batch(data: Path) -> float:
    """Milliseconds for one batch, with nothing known before."""
    book = FiledBook(data)
    book.look()
    names = [f"lib-{each % 500:04d}" if each % 5 == 0 else f"fine-{each}" for each in range(_QUESTIONS)]
    start = time.perf_counter()
    for name in names:
        project = ProjectName(name)
        Affecting(book.about(project), project).about("1.0")
    return (time.perf_counter() - start) * 1e3


def _page(book: FiledBook) -> float:
    """Milliseconds to judge the releases of a page."""
    policies = ServerPolicies({"mirrors": ("malware", "vulnerabilities warn")})
    filters = [MalwareFilter(policies, book), VulnerabilitiesFilter(policies, book)]
    tree = Tree(serial=Serial(1), indexes={_INDEX: IndexConfig(name=_INDEX, type="mirror", mirrored=True)})
    files = [
        File(filename=f"lib_0000-{each // 10}.0-{each % 10}.whl", version=f"{each // 10}.0") for each in range(10_000)
    ]
    build = Build(tree=tree, start=_INDEX, project=ProjectName("lib-0000"), moment=Timestamp(0))
    columns = Columns(lambda: (), bytes, lambda: [file.version for file in files])
    start = time.perf_counter()
    for each in filters:
        for version in each.suspects(_INDEX, columns, build) or ():
            each.judge(_INDEX, File(filename="", version=version), build)
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pkgindex-advisories-") as directory:
        data = Path(directory)
        feed = data / "all.zip"
        make_feed(feed)
        book_path(data).parent.mkdir()
        start = time.perf_counter()
        asyncio.run(take_in(feed, data=data, label="made up", now=Timestamp(1)))
        took = time.perf_counter() - start
        child = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"take in {_RECORDS:,} records: {took:.1f} s, {child.ru_utime:.1f} s CPU, {child.ru_maxrss / 1024:.0f} MiB"
        )
        print(f"book: {book_path(data).stat().st_size / 1e6:.1f} MB of {feed.stat().st_size / 1e6:.1f} MB")
        before = _memory_mib()
        book = FiledBook(data)
        for number in range(0, _RECORDS, 7):
            book.about(ProjectName(f"evil-{number:06d}"))
        print(f"memory of a reader after {_RECORDS // 7:,} lookups: {_memory_mib() - before:.1f} MiB")
        print(f"batch of {_QUESTIONS}: {median(_batch(data) for _ in range(_ROUNDS)):.1f} ms")
        print(f"rulings of a page of 10,000 files: {median(_page(book) for _ in range(_ROUNDS)):.1f} ms")


if __name__ == "__main__":
    main()
