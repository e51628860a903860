"""What does it cost to tell a client that its page is still right?

Workload: the page of a project of 10 and of 10,000 files in JSON, asked for with the ETag of the last answer, over 32 keep-alive
connections. A server without validators answers with the whole page again, and is measured doing that, in HTML when it
has no JSON.
Unit: answers a second, server CPU time an answer.
Left out: `If-Modified-Since`, pages that did change.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.fixtures import page_project
from benchmarks.load import fetch
from benchmarks.pages import MANY, page_of
from benchmarks.peers import Server, Target
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


def run(plan: Plan) -> Report:
    """Measure."""
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    with plan.started(upstream), plan.started(*_servers(plan, upstream.url)) as servers:
        return plan.report("not_modified", list(_cells(plan, servers)))


def _servers(plan: Plan, upstream: str) -> Iterable[Server]:
    site = plan.site
    ours = PkgIndex(site, plan.directory("pkgindex"), upstream=upstream)
    yield ours
    if not plan.peers:
        return
    yield PkgIndex(site, plan.directory("pkgindex-anew"), upstream=upstream, repeats=False)
    yield Nginx(site, plan.directory("nginx"), page=lambda size, form, coding: page_of(ours, size, form, coding))
    yield PypIronHosted(site, plan.directory("pypiron"))
    yield PypIron(site, plan.directory("pypiron-mirrored"), upstream=upstream)
    yield Peryx(site, plan.directory("peryx"), upstream=upstream)
    yield Devpi(site, plan.directory("devpi"), upstream=upstream)
    yield Proxpi(site, plan.directory("proxpi"), upstream=upstream)
    yield SimpleRepository(site, plan.directory("simple-repository"))
    for size in _ends(site.sizes):
        yield PypiServer(site, plan.directory(f"pypiserver-{size}"), project=page_project(size))


def _cells(plan: Plan, servers: Iterable[Server]) -> Iterable[Cell]:
    servers = list(servers)
    for size in _ends(plan.site.sizes):
        column = Column(table="Asked again with the ETag", title=f"{size:,} files", connections=MANY)
        for server in servers:
            targets = list(server.pages(size, "json", "identity")) or list(server.pages(size, "html", "identity"))
            for target in targets:
                yield _asking_again(target, column)


def _asking_again(target: Target, column: Column) -> Cell:
    etag = fetch(target.request).headers.get("etag")
    if etag is None:
        return Cell(row=f"{target.label} (whole page again)", column=column, target=target)
    again = Target(label=target.label, pid=target.pid, request=target.request.asking_again(etag))
    return Cell(row=target.label, column=column, target=again)


def _ends(sizes: tuple[int, ...]) -> Iterable[int]:
    return dict.fromkeys((min(sizes), max(sizes)))
