"""What do the pages that people look at cost, when a project has 10,000 files and an index has 100,000 projects?

Workload: in a browser projects of 200, 2,000 and 10,000 files, mirrored from the static upstream, and stages of 300 and 100,000 projects. devpi-web gets the
smallest of each: it takes minutes for the page of 2,000 files, and its page of a stage lists all projects and reads each.
Unit: milliseconds until the first byte of the answer, asked with a browser's headers, with the CPU time of the server for it; kilobytes that are sent;
milliseconds from the start of the navigation until Chromium is idle after the load of the page, when it reacts to the reader.
Left out: the first question after a start, which compiles templates; log-ins; a network, where every kilobyte costs time too.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from benchmarks import machine
from benchmarks.fixtures import Site, page_project
from benchmarks.load import ANSWER_SECONDS, Failed, Found, Reader, Request, fetch, found_of
from benchmarks.peers import Server
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import MIRROR, PkgIndex
from benchmarks.peers.stages import small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report
from pkgindex_core.changes import PutIndex, PutProject
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName

FEW, MANY = "root/few", IndexName("root/many")
_PEER_FILES: Final = 200
"""The most files of a project that devpi-web is asked for. Of 2,000 it gave no page within two minutes on a busy machine."""
_BATCH: Final = 5_000
_QUIET_SECONDS: Final = 2.0
_INDEXING_SECONDS: Final = 300.0
_HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
}
_IDLE: Final = "addEventListener('load', () => requestIdleCallback(() => { window.idleAt = performance.now() }))"

_WAIT: Final = """() => new Promise(done => {
    const look = () => window.idleAt ? done(window.idleAt) : setTimeout(look, 10); look() })"""


class DevpiWeb(Devpi):
    """devpi-server with devpi-web, which indexes what is uploaded with Whoosh."""

    name = "devpi-web"

    def __init__(self, site: Site, place: Path, *, upstream: str, projects: int) -> None:
        super().__init__(site, place, upstream=upstream)
        self._projects = projects

    def fill(self) -> None:
        stages = self.stages()
        mirror = {"type": "mirror", "volatile": False, "mirror_url": f"{self._upstream}/simple/"}
        stages.send("PUT", "/root/mirror", mirror)
        # It shows a mirrored project in a browser once an installer has got it.
        for size in self.site.sizes:
            if size <= _PEER_FILES:
                page = f"/root/mirror/+simple/{page_project(size)}/"
                fetch(self.page_target(self.name, page, "html", "identity").request)
        _fill(self, self._projects)
        deadline = time.monotonic() + _INDEXING_SECONDS
        while time.monotonic() < deadline:  # it indexes in the background
            before = machine.cpu_seconds(self.pid) or 0.0
            time.sleep(_QUIET_SECONDS)
            if (machine.cpu_seconds(self.pid) or 0.0) - before < _QUIET_SECONDS / 10:
                return
        raise Failed(f"{self.name} still indexes after {_INDEXING_SECONDS:g} s")


class Browsed(PkgIndex):
    """Ourselves, with a stage of many projects that were put in by the back door."""

    def __init__(self, site: Site, place: Path, *, upstream: str, few: int, many: int) -> None:
        super().__init__(site, place, upstream=upstream, empty=True)
        self._few = few
        self._many = many

    def prepare(self) -> None:
        super().prepare()
        asyncio.run(self._put_projects())

    def fill(self) -> None:
        _fill(self, self._few)

    async def _put_projects(self) -> None:
        settings = Settings(data=self.data, upstream=f"{self._upstream}/simple/")
        async with Engine.open(settings, mirrors=False) as engine:
            await engine.store.apply([PutIndex(IndexConfig(name=MANY))], who="[benchmark]")
            names = [f"browsed-{number:06}" for number in range(self._many)]
            changes = [PutProject(MANY, ProjectName(name), PageHead(display_name=name)) for name in names]
            for start in range(0, len(changes), _BATCH):
                await engine.store.apply(changes[start : start + _BATCH], who="[benchmark]")


def _fill(server: Browsed | DevpiWeb, count: int) -> None:
    stages = server.stages()
    stages.make_index(FEW)
    for number in range(count):
        stages.upload(FEW, f"browsed-{number}", small_wheels(f"browsed-{number}", 1))


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    few, many = plan.projects, plan.many_projects
    with plan.started(upstream):
        ours = Browsed(plan.site, plan.directory("pkgindex"), upstream=upstream.url, few=few, many=many)
        theirs = [DevpiWeb(plan.site, plan.directory("devpi-web"), upstream=upstream.url, projects=few)]
        with plan.started(ours, *(theirs if plan.peers else ())) as servers:
            asked = [
                (f"a project of {size:,} files", each, f"/{_mirror_of(each)}/{page_project(size)}")
                for size in sorted(plan.site.sizes)[-3:]
                for each in servers
                if each is ours or size <= _PEER_FILES
            ]
            asked += [(f"a stage of {few:,} projects", each, f"/{FEW}") for each in servers]
            asked.append((f"a stage of {many:,} projects", ours, f"/{MANY}"))
            with machine.as_driver(), _browser(plan) as idle:
                series = _measured(plan, asked, idle)
    return plan.made_of("web_pages", where, series, driver="one client")


def _mirror_of(server: Server) -> str:
    return MIRROR if isinstance(server, PkgIndex) else "root/mirror"


def _measured(plan: Plan, asked: list[tuple[str, Server, str]], idle: Callable[[str], float] | None) -> list[Series]:
    found: dict[tuple[str, str, str], Series] = {}

    def add(table: str, shows: str, title: str, server: Server, sample: Sample) -> None:
        column = Column(table=table, title=title, connections=1, shows=shows)
        series = found.setdefault((table, title, server.name), Series(row=server.name, column=column, samples=[]))
        if sample.round >= 0:
            series.samples.append(sample)
            print(
                f"round {sample.round + 1}: {table}: {title}: {server.name}: {series.value(sample):.2f}",
                file=sys.stderr,
            )

    for number in range(-1, plan.rounds):  # round -1 warms up
        turn = max(0, number) % 2
        for title, server, path in [*asked[turn:], *asked[:turn]]:
            sample = _first_byte(server, path, number, plan.seconds)
            add("Until the first byte", "took", title, server, sample)
            add("Sent", "kilobytes", title, server, replace(sample, cpu_ms=None))
            if idle is not None:
                ms = idle(f"http://127.0.0.1:{server.port}{path}")
                shown = Found(requests=1, seconds=ms / 1e3, p50_ms=ms, p99_ms=ms)
                sample = Sample(round=number, found=shown, cpu_ms=None, memory_mib=None, body_bytes=0)
                add("Until the browser is idle", "p50", title, server, sample)
    return list(found.values())


def _first_byte(server: Server, path: str, number: int, seconds: float) -> Sample:
    """Ask one time after the other, for at least so many seconds."""
    request = Request(port=server.port, path=path, headers=_HEADERS)
    taken: list[float] = []
    size = 0
    before, deadline = machine.cpu_seconds(server.pid), time.monotonic() + seconds
    while not taken or time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_SECONDS) as connection:
            begun = time.perf_counter()
            connection.sendall(request.data)
            reader = Reader()
            while not reader.complete:
                received = connection.recv(1 << 20)
                if not reader.status:
                    taken.append(time.perf_counter() - begun)
                if not received:
                    reader.end()
                    break
                reader.feed(received)
        if reader.status != 200 or b"html" not in reader.headers.get("content-type", "").encode():
            raise Failed(f"{server.name}: {path}: {reader.status} {reader.body[:300]!r}")
        size = len(reader.body)
    after = machine.cpu_seconds(server.pid)
    return Sample(
        round=number,
        found=found_of(taken, sum(taken), size * len(taken)),
        cpu_ms=None if before is None or after is None else (after - before) * 1e3 / len(taken),
        memory_mib=machine.memory_mib(server.pid),
        body_bytes=size,
    )


@contextmanager
def _browser(plan: Plan) -> Iterator[Callable[[str], float] | None]:
    """A browser, as a function that opens a URL and tells after how many milliseconds it was idle; None where there is none."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        plan.left_out["Chromium"] = "not installed; your system has it as the package chromium"
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def idle(url: str) -> float:
            page = browser.new_page()
            try:
                page.add_init_script(_IDLE)
                page.goto(url, timeout=ANSWER_SECONDS * 1e3)
                return float(page.evaluate(_WAIT))
            finally:
                page.close()

        try:
            plan.versions["Chromium"] = browser.version
            yield idle
        finally:
            browser.close()
