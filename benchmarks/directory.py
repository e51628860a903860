"""What does a directory of 10,000 wheels cost?

Workload: 10,000 small wheels in one directory, of 1,000 projects with ten each. We show it with `pkgindex-serve run DIR`. pypiserver lists
it for every answer (`simple-dir`), or keeps the list until something in the directory changes (`cached-dir`).

    first start    the directory was never looked at: from the start of the process to the last byte of the page of one project
    restart        the same over what a server knows that has read every file; pypiserver keeps nothing
    page           the page of one project (HTML, uncompressed) over 32 connections
    list           the list of all projects
    download       one wheel
    memory         when every page was asked for once, and all of the above was measured

Unit: milliseconds from the start of the process; answers a second; MiB resident; server CPU time an answer.
Left out: the reading of the other files, which goes on behind the first page (`pkgindex` reads some thousand files a second of one CPU);
uploads, file systems over a network, buckets. Each server has a directory with links of its own to the same files.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.fixtures import Site
from benchmarks.load import Failed, Found, fetch
from benchmarks.pages import MANY
from benchmarks.peers import Server, Target
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.pypiserver import PypiServerBackend
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column, Sample, Series, measure
from benchmarks.tables import Report
from pkgindex_core.testing.wheels import build_wheel

INDEX = "root/packages"
_VERSIONS = 10
_STARTS, _ANSWERS = "A directory of {} wheels: starting", "A directory of {} wheels: answering"
_IDLE_SECONDS = 1.0
_IDLE_CPU_SECONDS = 0.02
_SETTLE_SECONDS = 300.0


class PkgIndexDirectory(PkgIndex):
    """Ourselves over a directory. What a server knows that never looked there is kept aside, for one first start after another."""

    def __init__(self, site: Site, place: Path, wheels: Path) -> None:
        super().__init__(site, place, upstream="http://127.0.0.1:1", empty=True)
        self._wheels = wheels

    @property
    def label(self) -> str:
        return "pkgindex"

    def prepare(self) -> None:
        _link(self._wheels, self.place / "wheels")

    def command(self) -> Sequence[str]:
        return [*super().command(), str(self.place / "wheels")]

    def fill(self) -> None:
        self.stop()
        shutil.copytree(self.data, self.place / "fresh")
        self._launch()

    def forget(self) -> None:
        """Know nothing of the directory, from the next start on."""
        shutil.rmtree(self.data)
        shutil.copytree(self.place / "fresh", self.data)

    def page(self, project: str) -> Target:
        return self.page_target(self.label, f"/{INDEX}/+simple/{project}/", "html", "identity")

    def names(self) -> Target:
        return self.page_target(self.label, f"/{INDEX}/+simple/", "html", "identity")

    def download(self, filename: str, sha256: str) -> Target:
        return self.target(self.label, f"/{INDEX}/+f/{sha256[:3]}/{sha256[3:16]}/{filename}")


class PypiServerDirectory(PypiServerBackend):
    """pypiserver over a directory."""

    def __init__(self, site: Site, place: Path, wheels: Path, *, backend: str) -> None:
        super().__init__(site, place, backend=backend)
        self._wheels = wheels

    def prepare(self) -> None:
        _link(self._wheels, self.place / "packages")

    def forget(self) -> None:
        """It keeps nothing."""

    def page(self, project: str) -> Target:
        return self.page_target(self.label, f"/simple/{project}/", "html", "identity")

    def names(self) -> Target:
        return self.page_target(self.label, "/simple/", "html", "identity")

    def download(self, filename: str, sha256: str) -> Target:
        return self.target(self.label, f"/packages/{filename}")


Directory = PkgIndexDirectory | PypiServerDirectory


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    wheels = plan.directory("wheels")
    shutil.rmtree(wheels, ignore_errors=True)
    projects, filename, sha256 = _build(wheels, plan.wheels)
    try:
        with plan.started(*_servers(plan, wheels)) as started:
            servers = [each for each in started if isinstance(each, Directory)]
            with machine.as_driver():
                starts = _starts(plan, servers, projects)
            for server in servers:
                server.start_again(lambda server=server: server.page(projects[0]).request)  # type: ignore[misc]  # bound now
                _settle(server, projects)
            answers = measure(
                list(_cells(plan, servers, projects[len(projects) // 2], filename, sha256)),
                plan.driver,
                rounds=plan.rounds,
                seconds=plan.seconds,
            )
            memory = [_memory(plan, server) for server in servers]
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    return plan.made_of("directory", where, [*starts, *answers, *memory], driver=plan.driver.name)


def _servers(plan: Plan, wheels: Path) -> Iterable[Directory]:
    yield PkgIndexDirectory(plan.site, plan.directory("pkgindex"), wheels)
    if plan.peers:
        for backend in ("simple-dir", "cached-dir"):
            yield PypiServerDirectory(plan.site, plan.directory(f"pypiserver-{backend}"), wheels, backend=backend)


def _build(wheels: Path, count: int) -> tuple[list[str], str, str]:
    """The projects, and the name and the digest of one file."""
    wheels.mkdir(parents=True)
    projects = [f"project-{number:05d}" for number in range(max(1, count // _VERSIONS))]
    for project in projects:
        for version in range(_VERSIONS):
            built = build_wheel(project.replace("-", "_"), f"1.{version}")
            (wheels / built.filename).write_bytes(built.data)
    return projects, built.filename, built.sha256


def _link(wheels: Path, directory: Path) -> None:
    directory.mkdir(parents=True)
    for path in wheels.iterdir():
        (directory / path.name).hardlink_to(path)


def _starts(plan: Plan, servers: Sequence[Directory], projects: Sequence[str]) -> list[Series]:
    columns = [
        Column(table=_STARTS.format(f"{plan.wheels:,}"), title=title, connections=1, shows="took")
        for title in ("first start", "restart")
    ]
    series = {
        (server.label, column.key): Series(row=server.label, column=column, samples=[])
        for server in servers
        for column in columns
    }
    for server in servers:
        server.stop()
    for number in range(-1, plan.rounds):  # round -1 warms up: bytecode, the page cache
        start = max(0, number) % len(servers)
        for server in [*servers[start:], *servers[:start]]:
            server.forget()
            for column in columns:
                sample = _start(server, projects[len(projects) // 2], number)
                if number >= 0:
                    series[server.label, column.key].samples.append(sample)
                    print(f"round {number + 1}: {server.label}: {sample.found.p50_ms:,.0f} ms", file=sys.stderr)
                _settle(server, projects[:1])
                server.stop()
    return list(series.values())


def _start(server: Directory, project: str, number: int) -> Sample:
    seconds, answer = server.start_again(lambda: server.page(project).request)
    return Sample(
        round=number,
        found=Found(requests=1, seconds=seconds, bytes=len(answer.body), p50_ms=seconds * 1e3, p99_ms=seconds * 1e3),
        cpu_ms=(machine.cpu_seconds(server.pid) or 0.0) * 1e3 or None,
        memory_mib=machine.memory_mib(server.pid),
        body_bytes=len(answer.body),
    )


def _settle(server: Server, projects: Sequence[str]) -> None:
    """Ask for pages, and wait until the server has nothing more to do."""
    if isinstance(server, PkgIndexDirectory):
        for project in projects:
            fetch(server.page(project).request)
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = machine.cpu_seconds(server.pid) or 0.0
    while True:
        time.sleep(_IDLE_SECONDS)
        now = machine.cpu_seconds(server.pid) or 0.0
        if now - before < _IDLE_CPU_SECONDS:
            return
        if time.monotonic() > deadline:
            raise Failed(f"{server.name} does not come to rest")
        before = now


def _cells(plan: Plan, servers: Sequence[Directory], project: str, filename: str, sha256: str) -> Iterable[Cell]:
    table = _ANSWERS.format(f"{plan.wheels:,}")
    for title in ("page", "list", "download"):
        column = Column(table=table, title=f"{title}, {MANY} connections", connections=MANY)
        for server in servers:
            asked = {
                "page": server.page(project),
                "list": server.names(),
                "download": server.download(filename, sha256),
            }[title]
            yield Cell(row=server.label, column=column, target=asked)


def _memory(plan: Plan, server: Directory) -> Series:
    """The memory of a server after all measurements."""
    mebibytes = machine.memory_mib(server.pid)
    column = Column(table=_ANSWERS.format(f"{plan.wheels:,}"), title="memory", connections=1, shows="memory")
    nothing = Found(requests=1, seconds=1.0, bytes=0, p50_ms=0.0, p99_ms=0.0)
    sample = Sample(round=0, found=nothing, cpu_ms=None, memory_mib=mebibytes, body_bytes=0)
    return Series(row=server.label, column=column, samples=[sample])
