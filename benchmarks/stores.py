"""What do workers give, and what does a store cost?

Workload: one `pkgindex-serve`, with one worker and with two, over SQLite and over PostgreSQL on the same machine, each durable: the JSON page of a project
of ten files, made anew for each request (`replay_bytes = 0`), and a wheel of about 10 kB, over 32 keep-alive connections; uploads by eight clients.
nginx with one worker and with two sends the same bytes: it shows what a second worker can give on this machine.
Unit: answers a second and uploads a second; CPU time of the server's processes an answer, without that of the database.
Nothing is pinned: the workers, the database and the client share all CPUs, so two workers beside a client on two CPUs show less than on four.
Where the system permits, all is measured again with each worker held to a quarter of a CPU, so that client and database have what they need.
Left out: several machines, TLS, object stores.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

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
from benchmarks.shares import held
from benchmarks.tables import Report
from benchmarks.uploads import COLUMNS, upload_sample
from tests.database_server import DatabaseServer, programs

_PAGES = Column(table="Workers and stores", title=f"pages of 10 files, {MANY} connections", connections=MANY)
_FILES = Column(table="Workers and stores", title=f"10 kB, {MANY} connections", connections=MANY)
_UPLOADS = COLUMNS[-1]
_WORKERS = (1, 2)
_SHARE = 0.25
_HELD = "each worker held to a quarter of a CPU"


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
                series = _measured(plan, every)
                workers = [worker for server in every for worker in machine.workers_of(server.pid)]
                with held(workers, _SHARE) as reason:
                    if reason:
                        plan.left_out[_HELD] = reason
                    else:
                        series += _measured(plan, every, how=f", {_HELD}")
            return plan.made_of("stores", where, series, driver=plan.driver.name)
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


def _measured(plan: Plan, servers: Sequence[_Served | _Nginx], *, how: str = "") -> list[Series]:
    """Pages, files and uploads. `how` is behind the titles of the tables."""
    cells = list(_cells(plan, servers, how))
    series = measure(cells, plan.driver, rounds=plan.rounds, seconds=plan.seconds)
    return series + _uploads(plan, [server for server in servers if isinstance(server, _Served)], how)


def _cells(plan: Plan, servers: Sequence[_Served | _Nginx], how: str) -> Iterator[Cell]:
    size = min(plan.site.sizes)
    assert page_project(size) in plan.site.manifest.projects
    for server in servers:
        page, file = next(server.pages(size, "json", "identity")), next(server.files("file-small"))
        for column, target in ((_PAGES, page), (_FILES, file)):
            yield Cell(row=server.label, column=replace(column, table=f"{column.table}{how}"), target=target)


def _uploads(plan: Plan, servers: Sequence[_Served], how: str) -> list[Series]:
    column = replace(_UPLOADS, table=f"{_UPLOADS.table}{how}")
    series = {server.label: Series(row=server.label, column=column, samples=[]) for server in servers}
    first = plan.rounds + 1 if how else 0  # a round has versions of its own
    with machine.as_driver():
        for number in range(first - 1, first + plan.rounds):
            for server in servers:
                sample = upload_sample(next(server.uploads()), column, number, plan)
                if number >= first:
                    series[server.label].samples.append(sample)
                    rate = sample.found.requests / sample.found.seconds
                    print(f"round {number - first + 1}: {column.table}: {server.label}: {rate:,.1f}/s", file=sys.stderr)
    return list(series.values())
