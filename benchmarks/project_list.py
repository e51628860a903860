"""What does the list of all projects cost, at the size of the largest registry, through an index that inherits from its mirror?

Workload: an upstream with a list of 886,000 names. The list is asked for as pip does, in JSON with gzip. pkgindex and devpi-server answer it for an index
with a project of its own that inherits from a mirror; pypiron and peryx for their mirror, since what they host is apart; nginx sends our list from disk.
`first`: by a server that has never seen the list. `after an upload`: the first answer after a new project was uploaded, which it has to have. `started`:
the first answer of a server that was stopped, from the start of its process: the page of one project, and in another start the list. `warm`: again and again.
Unit: milliseconds for one answer, with the server's CPU time for it and its memory after it; answers a second over 32 connections for `warm`.
Left out: what the upload itself takes. `first` has the upstream's own time.
"""

from __future__ import annotations

import gzip
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from benchmarks import machine
from benchmarks.fixtures import Site
from benchmarks.load import Answer, Failed, Found, fetch
from benchmarks.pages import MANY
from benchmarks.peers import Target
from benchmarks.peers.caches import Cache, DevpiCache, Peryx, PkgIndexCache, PypIron
from benchmarks.peers.nginx import Nginx
from benchmarks.peers.stages import small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column, Sample, Series, measure
from benchmarks.tables import Report

INDEX = "root/listed"
_PATIENCE = 300.0
_MIRRORS = {"pkgindex": "root/pypi", "devpi-server": "root/mirror"}
"""The mirrors of servers whose indexes inherit."""


class _Row:
    """A server, and the path of its list."""

    def __init__(self, server: Cache) -> None:
        self.server = server
        self.path = urlsplit(server.index).path
        if isinstance(server, PkgIndexCache | DevpiCache):
            server.stages().make_index(INDEX, bases=[_MIRRORS[server.name]])
            self.path = f"/{INDEX}/+simple/"
            self.upload("listed")

    def target(self, form: str = "json", coding: str = "gzip") -> Target:
        return self.server.page_target(self.server.name, self.path, form, coding)

    def first_answers(self, last: str) -> Iterator[tuple[str, Callable[[], Target], str]]:
        """What is asked of a server that was just started: a column, the request, and a name in its answer."""
        if self.server.name in _MIRRORS:
            page = f"{self.path}listed/"
            yield "started: a page", lambda: self.server.page_target(self.server.name, page, "json", "gzip"), "listed"
        yield "started: the list", self.target, last

    def upload(self, project: str) -> bool:
        """Upload a new project; False if the server's list has no uploads."""
        if not isinstance(self.server, PkgIndexCache | DevpiCache):
            return False
        self.server.stages().upload(INDEX, project, small_wheels(project, 1))
        return True


class _Single:
    """Answers that are measured one by one."""

    def __init__(self, plan: Plan) -> None:
        self._table = f"A list of {plan.listed_names:,} names"
        self._found: dict[tuple[str, str], Series] = {}

    @property
    def series(self) -> list[Series]:
        return list(self._found.values())

    def column(self, title: str, connections: int = 1, shows: str = "took") -> Column:
        return Column(table=self._table, title=title, connections=connections, shows=shows)

    def add(
        self, row: _Row, title: str, number: int, ask: Callable[[], tuple[float, Answer]], *, has: str = ""
    ) -> None:
        """Ask once, and keep what it cost. The answer must have a name."""
        before = machine.cpu_seconds(row.server.pid) if row.server.is_running else 0.0
        seconds, answer = ask()
        after = machine.cpu_seconds(row.server.pid)
        if has.encode() not in _plain(answer.body):
            raise Failed(f"{row.server.name}: the list has no {has}")
        sample = Sample(
            round=number,
            found=Found(
                requests=1, seconds=seconds, bytes=len(answer.body), p50_ms=seconds * 1e3, p99_ms=seconds * 1e3
            ),
            cpu_ms=None if before is None or after is None else (after - before) * 1e3,
            memory_mib=machine.memory_mib(row.server.pid),
            body_bytes=len(answer.body),
        )
        key = row.server.name, title
        series = self._found.setdefault(key, Series(row=row.server.name, column=self.column(title), samples=[]))
        series.samples.append(sample)
        print(f"{title}: {row.server.name}: {seconds * 1e3:,.0f} ms, {sample.memory_mib:.0f} MiB", file=sys.stderr)


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    site = _site_of(plan)
    upstream = StaticUpstream(site, plan.directory("upstream"))
    single = _Single(plan)
    last = f"project-{plan.listed_names - 1}"
    with plan.started(upstream):
        kinds = (PkgIndexCache, DevpiCache, PypIron, Peryx) if plan.peers else (PkgIndexCache,)
        made = [kind(site, plan.directory(kind.name), upstream=upstream.url) for kind in kinds]
        with plan.started(*made) as servers, machine.as_driver():
            rows = _answering(plan, single, [_Row(each) for each in servers if isinstance(each, Cache)], last)
            for number in range(plan.rounds):
                for row in _turns(rows, number):
                    project = f"listed-{number}"
                    if row.upload(project):
                        single.add(row, "after an upload", number, lambda row=row: _asked(row), has=project)
            nginx = Nginx(
                site, plan.directory("nginx"), page=lambda _, form, coding: rows[0].target(form, coding).request
            )
            with plan.started(nginx) as started:
                warm = single.column("warm", MANY, "rate")
                targets = [row.target() for row in rows]
                targets += [each for server in started for each in server.pages(site.sizes[0], "json", "gzip")]
                cells = [Cell(row=each.label, column=warm, target=each) for each in targets]
                many = measure(cells, plan.driver, rounds=plan.rounds, seconds=plan.seconds)
            for number in range(plan.rounds):
                for row in _turns(rows, number):
                    for title, target, has in row.first_answers(last):
                        row.server.stop()
                        again = partial(row.server.start_again, lambda target=target: target().request)
                        single.add(row, title, number, again, has=has)
            return plan.made_of("project_list", where, [*single.series, *many], driver=plan.driver.name)


def _answering(plan: Plan, single: _Single, rows: Sequence[_Row], last: str) -> list[_Row]:
    """The servers that answer the whole list, after their first answers."""
    whole = []
    for row in rows:
        try:
            single.add(row, "first", 0, lambda row=row: _asked_until(row, last), has=last)
            whole.append(row)
        except (Failed, OSError) as error:
            print(f"left out: {row.server.name}: {error}", file=sys.stderr)
            plan.left_out[row.server.name] = "it does not answer the whole list"
    return whole


def _asked(row: _Row) -> tuple[float, Answer]:
    answer = fetch(row.target().request)
    return answer.seconds, answer


def _asked_until(row: _Row, last: str) -> tuple[float, Answer]:
    """Ask until the list is whole: a server may answer what it knows before it has the list of its upstream."""
    begun = time.perf_counter()
    while True:
        answer = fetch(row.target().request)
        seconds = time.perf_counter() - begun
        if last.encode() in _plain(answer.body) or seconds > _PATIENCE:
            return seconds, answer


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def _turns(rows: Sequence[_Row], number: int) -> Sequence[_Row]:
    start = number % len(rows)
    return [*rows[start:], *rows[:start]]


def _site_of(plan: Plan) -> Site:
    """A registry that has a list and no project."""
    root = plan.directory("list")
    place = root / "upstream" / "index.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    names = [{"name": f"project-{number}"} for number in range(plan.listed_names)]
    data = msgspec.json.encode({"meta": {"api-version": "1.1"}, "projects": names})
    place.write_bytes(data)
    place.with_name("index.json.gz").write_bytes(gzip.compress(data, 6))
    return replace(plan.site, root=root, manifest=replace(plan.site.manifest, sizes=(plan.listed_names,)))
