"""What does it cost to mirror a registry: all of it, when nothing is new, when one project in a hundred has a new file, and to verify it?

Workload: a registry that is made up (`made_registry.py`), served by nginx, as many projects and files as the plan says (1,000 and 7,900;
`--mirrored N`: N projects with 7.9 files each), with sidecars, all tiny, so that the cost is that of requests, pages and bookkeeping. Each run is
a command, as cron starts it. Then a registry whose list has 886,000 names, of which the configuration allows a hundred: a run when nothing is new, and one
when the list is new and none of those names is.
* pkgindex and bandersnatch have the same configuration and leave the same kind of tree, with JSON documents, which `verify` needs.
* pypiron is told the names, and does not read the list. Its server, in which the files are, counts.
* bare aiohttp is no mirror: it writes files in pieces of 16 at a time, and no pages. It shows what requests and files alone cost.
Unit: milliseconds, CPU time, and the most memory that a process had resident. Requests are those that the registry saw in a run when nothing is new;
bandersnatch follows a redirect for the list.
Left out: large files, a network, TLS. pkgindex synchronises what it writes to disk, the others do not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from benchmarks import faults, machine
from benchmarks.load import Failed, Found
from benchmarks.peers.mirrors import MIRRORS, Mirror, PkgIndexMirror
from benchmarks.peers.registry import NginxRegistry
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.running import Cost
from benchmarks.tables import Report

_ALLOWED_PROJECTS = 100
_ALLOWED_FILES = 790


class _Columns:
    """The columns of a table."""

    def __init__(self, table: str) -> None:
        self._table = table

    def took(self, title: str) -> Column:
        return Column(table=self._table, title=title, connections=1, shows="took")

    def requests(self, title: str) -> Column:
        return Column(table=self._table, title=title, connections=1, shows="count")


class _Found:
    """What was measured, in the order of rows and columns, without the rows that failed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._series: dict[tuple[str, str], Series] = {}
        self._failed: set[str] = set()

    def add(self, row: str, column: Column, number: int, cost: Cost, requests: int) -> None:
        found = Found(requests=requests, seconds=cost.seconds, p50_ms=cost.seconds * 1e3, p99_ms=cost.seconds * 1e3)
        is_time = column.shows == "took"
        sample = Sample(
            round=number,
            found=found,
            cpu_ms=cost.cpu_seconds * 1e3 if is_time else None,
            memory_mib=cost.memory_mib if is_time else None,
            body_bytes=0,
        )
        series = self._series.setdefault((row, column.key), Series(row=row, column=column, samples=[]))
        series.samples.append(sample)
        if is_time:
            print(f"round {number + 1}: {column.key}: {row}: {cost.seconds:.2f} s", file=sys.stderr)

    def take_turns(self, rows: Sequence[Mirror], number: int, do: Callable[[Mirror], None]) -> None:
        """Have each row do the same. Ratios are taken inside a round, so a row that failed once is left out."""
        start = number % len(rows)
        for row in (*rows[start:], *rows[:start]):
            if row.name in self._failed:
                continue
            try:
                do(row)
            except (Failed, OSError) as error:
                print(f"left out: {row.name}, round {number + 1}: {error}", file=sys.stderr)
                self._plan.left_out[row.name] = f"failed in round {number + 1}"
                self._failed.add(row.name)

    def series(self, rows: Sequence[str]) -> list[Series]:
        whole = [each for each in self._series.values() if each.row not in self._failed]
        return sorted(whole, key=lambda each: rows.index(each.row))


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    if missing := NginxRegistry(plan.directory("registry")).missing():
        plan.left_out["nginx"] = missing
        return plan.made_of("mirrors", where, [], driver="nginx sends the registry")
    series = [*_whole(plan), *_long_list(plan)]
    return plan.made_of("mirrors", where, series, driver="one command after another")


def _whole(plan: Plan) -> list[Series]:
    columns = _Columns(f"Mirroring {plan.mirrored_projects:,} projects with {plan.mirrored_files:,} files")
    everything, nothing, asked = columns.took("everything"), columns.took("nothing new"), columns.requests("requests")
    some, verified = columns.took("1 % changed"), columns.took("verify")
    measured = _Found(plan)
    with _started(plan, plan.mirrored_projects, plan.mirrored_files) as (server, rows):
        registry = rows[0].registry

        def first(row: Mirror) -> None:
            row.start_empty()
            measured.add(row.name, everything, number, row.mirror(), 0)
            _check(row)

        def again(row: Mirror) -> None:
            server.requests()
            cost = row.mirror()
            measured.add(row.name, nothing, number, cost, 0)
            measured.add(row.name, asked, number, cost, len(server.requests()))

        def changed(row: Mirror) -> None:
            measured.add(row.name, some, number, row.mirror(), 0)
            _check(row)

        def verify(row: Mirror) -> None:
            if cost := row.verify():
                measured.add(row.name, verified, number, cost, 0)

        for number in range(plan.rounds):
            measured.take_turns(rows, number, first)
            repeating = [row for row in rows if row.repeats]
            measured.take_turns(repeating, number, again)
            undo = faults.release(registry)
            measured.take_turns(repeating, number, changed)
            measured.take_turns(repeating, number, verify)
            undo()
        return measured.series([row.name for row in rows])


def _long_list(plan: Plan) -> list[Series]:
    columns = _Columns(f"A list of {plan.listed_names:,} names, of which {_ALLOWED_PROJECTS} are mirrored")
    nothing, asked, listed = columns.took("nothing new"), columns.requests("requests"), columns.took("another list")
    measured = _Found(plan)
    with _started(plan, _ALLOWED_PROJECTS, _ALLOWED_FILES, padding=plan.listed_names) as (server, every):
        rows = [row for row in every if row.reads_list]

        def first(row: Mirror) -> None:
            row.start_empty()
            row.mirror()
            _check(row)

        def again(row: Mirror) -> None:
            server.requests()
            cost = row.mirror()
            measured.add(row.name, nothing, number, cost, 0)
            measured.add(row.name, asked, number, cost, len(server.requests()))

        def other(row: Mirror) -> None:
            measured.add(row.name, listed, number, row.mirror(), 0)

        measured.take_turns(rows, 0, first)
        for number in range(plan.rounds):
            measured.take_turns(rows, number, again)
            rows[0].registry.next_serial()
            rows[0].registry.write_list()
            measured.take_turns(rows, number, other)
        return measured.series([row.name for row in rows])


@contextmanager
def _started(
    plan: Plan, projects: int, files: int, *, padding: int = 0
) -> Iterator[tuple[NginxRegistry, Sequence[Mirror]]]:
    """A registry that is served, and the mirrors that can run here, ours first."""
    server = NginxRegistry(plan.directory("registry"))
    with plan.started(server):
        registry = server.registry()
        registry.fill(projects, files, padding=padding)
        rows: list[Mirror] = []
        try:
            for kind in MIRRORS if plan.peers else (PkgIndexMirror,):
                row = kind(plan.directory(f"mirror-{kind.name.replace(' ', '-')}"), registry)
                if missing := row.missing():
                    print(f"skipped: {row.name}: {missing}", file=sys.stderr)
                    plan.left_out[row.name] = missing
                    continue
                if row.version():
                    plan.versions[row.name] = row.version()
                rows.append(row)
            yield server, rows
        finally:
            for row in rows:
                row.remove()


def _check(row: Mirror) -> None:
    expected = sum(len(project.files) for project in row.registry.projects.values())
    if row.mirrored() != expected:
        raise Failed(f"{row.name} has mirrored {row.mirrored()} files of {expected}")
