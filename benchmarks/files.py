"""How fast do files leave, small and large?

Workload: a wheel of about 10 kB over 32 keep-alive connections; a wheel of 100 MB over one and over four. The files lie on the server's own
disk, in the page cache. Every answer is the whole file.
Unit: answers a second for the small one, MB a second for the large one; server CPU time an answer.
Left out: ranges, cold files that come through a mirror, object storage, TLS. pypiserver serves a directory that holds nothing but that file, its
best case; over the directory of the other servers it is the second row.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.pages import MANY
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

_SMALL = "file-small"
_LARGE = "file-large"


def run(plan: Plan) -> Report:
    """Measure."""
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    with plan.started(upstream), plan.started(*_servers(plan, upstream.url)) as servers:
        return plan.report("files", list(_cells(plan, servers)))


def _servers(plan: Plan, upstream: str) -> Iterable[Server]:
    site = plan.site
    yield PkgIndex(site, plan.directory("pkgindex"), upstream=upstream)
    if not plan.peers:
        return
    yield Nginx(site, plan.directory("nginx"))
    yield PypIronHosted(site, plan.directory("pypiron"))
    yield PypIron(site, plan.directory("pypiron-mirrored"), upstream=upstream)
    yield Peryx(site, plan.directory("peryx"), upstream=upstream)
    yield Devpi(site, plan.directory("devpi"), upstream=upstream)
    yield Proxpi(site, plan.directory("proxpi"), upstream=upstream)
    yield SimpleRepository(site, plan.directory("simple-repository"))
    for project in (_SMALL, _LARGE):
        yield PypiServer(site, plan.directory(f"pypiserver-{project}"), project=project)
    yield PypiServer(site, plan.directory("pypiserver"))


def _cells(plan: Plan, servers: Iterable[Server]) -> Iterable[Cell]:
    servers = list(servers)
    large = plan.site.file(_LARGE)[0].size / 1e6
    columns = (
        (_SMALL, Column(table="Files", title=f"10 kB, {MANY} connections", connections=MANY)),
        (_LARGE, Column(table="Files", title=f"{large:.0f} MB, 1 connection", connections=1, shows="throughput")),
        (_LARGE, Column(table="Files", title=f"{large:.0f} MB, 4 connections", connections=4, shows="throughput")),
    )
    for project, column in columns:
        for server in servers:
            for target in server.files(project):
                yield Cell(row=target.label, column=column, target=target)
