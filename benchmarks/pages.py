"""How many warm project pages a second, and what does one cost?

Workload: the page of a project of 10, 200, 2,000 and 10,000 files, in HTML and JSON, plain and (for those who compress) with gzip; 32
keep-alive connections, and one connection for the 10-file page's latency. Every answer is the same bytes again: the
page was asked for before, nothing changed. We answer twice: for a hosted project in `root/dev`, and for a mirrored one in `root/pypi`.
Unit: answers a second; server CPU time an answer; bytes are in the table of sizes, since devpi-server leaves out sizes and upload times,
pypiserver everything but links, and we write it all.
Left out: the first time (building and compressing), pages that change meanwhile, credentials, TLS, several server processes, a network
that is slower than loopback.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.fixtures import page_project
from benchmarks.load import Request
from benchmarks.peers import Server
from benchmarks.peers.caches import Peryx, PypIron
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.proxpi import Proxpi
from benchmarks.peers.pypiron import PypIronHosted
from benchmarks.peers.pypiserver import PypiServer
from benchmarks.peers.simple_repository import SimpleRepository
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column
from benchmarks.tables import Report

MANY = 32


def run(plan: Plan) -> Report:
    """Measure."""
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    with plan.started(upstream), plan.started(*_servers(plan, upstream.url)) as servers:
        return plan.report("pages", list(_cells(plan, servers)))


def page_of(server: PkgIndex, size: int, form: str, coding: str) -> Request:
    """Our own hosted page."""
    return next(server.pages(size, form, coding)).request


def _servers(plan: Plan, upstream: str) -> Iterable[Server]:
    site = plan.site
    ours = PkgIndex(site, plan.directory("pkgindex"), upstream=upstream)
    yield ours
    if not plan.peers:
        return
    yield PkgIndex(site, plan.directory("pkgindex-logging"), upstream=upstream, access_log=True)
    yield PkgIndex(site, plan.directory("pkgindex-anew"), upstream=upstream, repeats=False)
    yield Nginx(site, plan.directory("nginx"), page=lambda size, form, coding: page_of(ours, size, form, coding))
    yield PypIronHosted(site, plan.directory("pypiron"))
    yield PypIron(site, plan.directory("pypiron-mirrored"), upstream=upstream)
    yield Peryx(site, plan.directory("peryx"), upstream=upstream)
    yield Devpi(site, plan.directory("devpi"), upstream=upstream)
    yield Proxpi(site, plan.directory("proxpi"), upstream=upstream)
    yield SimpleRepository(site, plan.directory("simple-repository"))
    yield PypiServer(site, plan.directory("pypiserver"))
    for size in site.sizes:
        yield PypiServer(site, plan.directory(f"pypiserver-{size}"), project=page_project(size))


def _cells(plan: Plan, servers: Iterable[Server]) -> Iterable[Cell]:
    servers = list(servers)
    for form in ("html", "json"):
        for coding in ("identity", "gzip"):
            table = f"{form.upper()}, {coding}"
            columns = [
                (size, Column(table=table, title=f"{size:,} files", connections=MANY)) for size in plan.site.sizes
            ]
            if coding == "identity":
                first = min(plan.site.sizes)
                column = Column(table=table, title=f"{first:,} files, one connection", connections=1, shows="p50")
                columns.insert(0, (first, column))
            for size, column in columns:
                for server in servers:
                    for target in server.pages(size, form, coding):
                        yield Cell(row=target.label, column=column, target=target)
