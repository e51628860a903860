"""What does the first page of a mirrored project cost?

Workload: projects of 150 files each (75 versions of a wheel and a source distribution), whose pages a static upstream sends as PyPI does: JSON with
sorted keys, absolute links to another host, gzip, an ETag. Each is asked of `root/pypi` exactly once, one after another over one
connection, with the headers of uv, which gets zstd, or of pip, which gets gzip. Nobody asked for any of them before, so the server asks the upstream,
reads what it says, stores it and answers.
Unit: CPU time of the server's process, all threads, for one page, from the first question until a second after the last answer: what
is done behind the answers counts. The time in the table is that of one answer.
Left out: the files, what the upstream itself costs, a network, many clients at once (commits of several pages then share a sync).
Several source trees take part in turn: `--tree PATH` adds another checkout, run by this interpreter with the packages installed here.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks import machine
from benchmarks.fixtures import Site
from benchmarks.load import ROOT, Connection, Failed, Found, Request, found_of
from benchmarks.peers import JSON
from benchmarks.peers.pkgindex import MIRROR, PkgIndex
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report
from pkgindex_core.compression import decompress

VERSIONS = 75
_SETTLE_SECONDS = 1.0
_ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
_CODINGS = {"uv": "gzip, deflate, zstd", "pip": "gzip, deflate"}
_COLUMNS = {
    client: Column(
        table="The first page of a mirrored project", title=f"150 files, {client}", connections=1, shows="took"
    )
    for client in _CODINGS
}


class Checkout(PkgIndex):
    """The server of a source tree, over an index that nobody has asked for anything."""

    def __init__(self, site: Site, place: Path, *, upstream: str, tree: Path) -> None:
        super().__init__(site, place, upstream=upstream)
        self._tree = tree

    @property
    def row(self) -> str:
        return "pkgindex" if self._tree == ROOT else f"pkgindex at {self._tree}"

    def prepare(self) -> None:
        """Nothing: its first start makes the index, as its own version does it."""

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self._tree)}

    def command(self) -> Sequence[str]:
        # Older checkouts have no `pkgindex_http.__main__`.
        return ["pkgindex_http.cli" if word == "pkgindex_http" else word for word in super().command()]


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    pages = plan.directory("first-pages")
    site = Site(root=pages, manifest=plan.site.manifest)
    for number in range(-1, plan.rounds):
        for client in _CODINGS:
            for each in range(plan.first_pages):
                _write_page(pages / "upstream", _project(client, number, each))
    upstream = StaticUpstream(site, plan.directory("upstream"))
    with plan.started(upstream):
        trees = [
            Checkout(site, plan.directory(f"tree-{at}"), upstream=upstream.url, tree=tree)
            for at, tree in enumerate((ROOT, *plan.trees))
        ]
        with plan.started(*trees), machine.as_driver():
            series = {
                (tree.row, client): Series(row=tree.row, column=column, samples=[])
                for tree in trees
                for client, column in _COLUMNS.items()
            }
            for number in range(-1, plan.rounds):  # round -1 warms up: imports, connections, a database that has a page
                start = max(0, number) % len(trees)
                for client in _CODINGS:
                    for tree in trees[start:] + trees[:start]:
                        sample = _sample(tree, client, number, plan.first_pages)
                        if number >= 0:
                            series[tree.row, client].samples.append(sample)
                            spent = f"{sample.cpu_ms or 0:.2f} ms CPU"
                            print(f"round {number + 1}: {client}: {tree.row}: {spent}", file=sys.stderr)
    return plan.made_of("first_page", where, list(series.values()), driver="one client")


def _sample(tree: Checkout, client: str, number: int, count: int) -> Sample:
    before = machine.cpu_seconds(tree.pid)
    found, size = _asked(tree, client, number, count)
    time.sleep(_SETTLE_SECONDS)
    after = machine.cpu_seconds(tree.pid)
    return Sample(
        round=number,
        found=found,
        cpu_ms=None if before is None or after is None else (after - before) * 1e3 / count,
        memory_mib=machine.memory_mib(tree.pid),
        body_bytes=size,
    )


def _asked(tree: Checkout, client: str, number: int, count: int) -> tuple[Found, int]:
    taken = []
    size = 0
    headers = {"Accept": _ACCEPT, "Accept-Encoding": _CODINGS[client]}
    with Connection(tree.port) as connection:
        for each in range(count):
            path = f"/{MIRROR}/+simple/{_project(client, number, each)}/"
            answer = connection.send(Request(port=tree.port, path=path, headers=headers).data)
            coding = answer.headers.get("content-encoding", "identity")
            page = decompress(answer.body, coding) if answer.status == 200 else b""
            if page.count(b'"filename":') != 2 * VERSIONS:
                raise Failed(f"{tree.row}: {path}: status {answer.status}, {page[:200]!r}")
            taken.append(answer.seconds)
            size += len(answer.body)
    return found_of(taken, sum(taken), size), size // count


def _project(client: str, number: int, each: int) -> str:
    return f"first-page-{client}-{number + 1}-{each}"


def _write_page(directory: Path, project: str) -> None:
    """Write the page of one project in the form of PyPI's, with the metadata digest under its current and its former keys."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    versions = [f"{number // 20}.{number % 20}.{number % 3}" for number in range(VERSIONS)]
    for number, version in enumerate(versions):
        for ending in ("-py3-none-any.whl", ".tar.gz"):
            filename = f"{project.replace('-', '_')}-{version}{ending}"
            sha256, place, metadata = (_digest(f"{filename} {what}") for what in ("file", "place", "metadata"))
            offered: object = {"sha256": metadata} if ending.endswith(".whl") else False
            files.append(
                {
                    "core-metadata": offered,
                    "data-dist-info-metadata": offered,
                    "filename": filename,
                    "hashes": {"sha256": sha256},
                    "provenance": None,
                    "requires-python": ">=3.9" if number else None,
                    "size": 10_000 + 37 * number,
                    "upload-time": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}T10:11:12.{number * 991:06}Z",
                    "url": f"https://files.example.org/packages/{place[:2]}/{place[2:4]}/{place[4:]}/{filename}",
                    "yanked": False,
                }
            )
    page = {
        "alternate-locations": [],
        "files": files,
        "meta": {"_last-serial": 31_000_000, "api-version": "1.4"},
        "name": project,
        "project-status": {"status": "active"},
        "versions": sorted(versions),
    }
    body = msgspec.json.encode(page)
    (directory / f"{project}.json").write_bytes(body)
    (directory / f"{project}.json.gz").write_bytes(gzip.compress(body, mtime=0))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
