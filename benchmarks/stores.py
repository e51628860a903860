"""What do workers give, and what does a store cost?

Workload: one `pkgindex-serve`, with one worker and with two, over SQLite and over PostgreSQL on the same machine, each durable: the JSON page of a project
of ten files, made anew for each request (`replay_bytes = 0`), and a wheel of about 10 kB, over 32 keep-alive connections; uploads by eight clients.
nginx with one worker and with two sends the same bytes: it shows what a second worker can give on this machine.
Unit: answers a second and uploads a second; CPU time of the server's processes an answer, without that of the database.
Nothing is pinned: the workers, the database and the client share all CPUs, so two workers beside a client on two CPUs show less than on four.
Left out: several machines, TLS, object stores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from benchmarks import machine
from benchmarks.fixtures import page_project
from benchmarks.load import Request
from benchmarks.pages import MANY
from benchmarks.peers import Server
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column, Series, measure
from benchmarks.tables import Report
from benchmarks.uploads import COLUMNS, upload_sample
from tests.database_server import DatabaseServer, programs

_PAGES = Column(table="Workers and stores", title=f"pages of 10 files, {MANY} connections", connections=MANY)
_FILES = Column(table="Workers and stores", title=f"10 kB, {MANY} connections", connections=MANY)
_UPLOADS = COLUMNS[-1]
_WORKERS = (1, 2)


class _Served(PkgIndex):
    """A row of the table with pkgindex."""

    def __init__(self, plan: Plan, upstream: str, *, store: str, url: str, workers: int) -> None:
        self.label = f"{store}, {workers} {'worker' if workers == 1 else 'workers'}"
        place = plan.directory(self.label.replace(", ", "-").replace(" ", "-"))
        super().__init__(plan.site, place, upstream=upstream, repeats=False, store=url, workers=workers)

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        return command


class _Nginx(Nginx):
    """A row of the table with nginx."""

    def __init__(self, plan: Plan, ours: PkgIndex, *, workers: int) -> None:
        self.label = f"nginx, {workers} {'worker' if workers == 1 else 'workers'}"

        def page(size: int, form: str, coding: str) -> Request:
            return next(ours.pages(size, form, coding)).request

        super().__init__(plan.site, plan.directory(f"nginx-{workers}"), page=page, workers=workers)

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        return command


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    found = programs()
    database = DatabaseServer(found, is_durable=True) if found is not None else None
    if database is None:
        plan.left_out["PostgreSQL"] = "not installed; your system has it as the package postgresql"
    try:
        if database is not None:
            database.start()
        with plan.started(upstream), plan.started(*_servers(plan, upstream.url, database)) as servers:
            rows = [server for server in servers if isinstance(server, _Served)]
            with plan.started(*(_Nginx(plan, rows[0], workers=workers) for workers in _WORKERS)) as beside:
                every = [*rows, *(server for server in beside if isinstance(server, _Nginx))]
                series = measure(list(_cells(plan, every)), plan.driver, rounds=plan.rounds, seconds=plan.seconds)
            return plan.made_of("stores", where, series + _uploads(plan, rows), driver=plan.driver.name)
    finally:
        if database is not None:
            database.remove()


def _servers(plan: Plan, upstream: str, database: DatabaseServer | None) -> Iterator[Server]:
    for workers in _WORKERS:
        yield _Served(plan, upstream, store="SQLite", url="", workers=workers)
        if database is not None:
            name = f"workers{workers}"
            database.sql(f"CREATE DATABASE {name}")
            yield _Served(plan, upstream, store="PostgreSQL", url=database.url(name), workers=workers)


def _cells(plan: Plan, servers: Sequence[_Served | _Nginx]) -> Iterator[Cell]:
    size = min(plan.site.sizes)
    assert page_project(size) in plan.site.manifest.projects
    for server in servers:
        yield Cell(row=server.label, column=_PAGES, target=next(server.pages(size, "json", "identity")))
        yield Cell(row=server.label, column=_FILES, target=next(server.files("file-small")))


def _uploads(plan: Plan, servers: Sequence[_Served]) -> list[Series]:
    series = {server.label: Series(row=server.label, column=_UPLOADS, samples=[]) for server in servers}
    with machine.as_driver():
        for number in range(-1, plan.rounds):
            for server in servers:
                sample = upload_sample(next(server.uploads()), _UPLOADS, number, plan)
                if number >= 0:
                    series[server.label].samples.append(sample)
                    rate = sample.found.requests / sample.found.seconds
                    print(f"round {number + 1}: {_UPLOADS.title}: {server.label}: {rate:,.1f}/s", file=sys.stderr)
    return list(series.values())
