"""What does a page cost that is made of ten inherited indexes?

Workload: an index without files of its own inherits from ten others, each of which has 20 files of one project; none has a file
of another's name, so the page lists 200. Asked for in HTML and JSON, plain, over 32 keep-alive connections, and over one for the
latency. Beside it, the same 200 files in one index, to see what inheriting costs each server.
Unit: answers a second, server CPU time an answer.
Left out: compression (devpi-server has none), mirrors among the bases, pages that change meanwhile (those are built anew).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.stages import Stages, small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column
from benchmarks.tables import Report

PROJECT = "inherited"
BASES = tuple(f"root/base{number}" for number in range(10))
TOP, ALONE = "root/top", "root/alone"
MANY = 32


def run(plan: Plan) -> Report:
    """Measure."""
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    ours = PkgIndex(plan.site, plan.directory("pkgindex"), upstream=upstream.url, empty=True)
    theirs = [Devpi(plan.site, plan.directory("devpi"), upstream=upstream.url, empty=True)] if plan.peers else []
    with plan.started(upstream), plan.started(ours, *theirs) as servers:
        stages = [server.stages() for server in servers if isinstance(server, PkgIndex | Devpi)]
        for stage in stages:
            _fill(stage, max(1, plan.versions_of_one // len(BASES)))
        return plan.report("inheritance", list(_cells(stages)))


def _fill(stage: Stages, each: int) -> None:
    wheels = small_wheels(PROJECT, each * len(BASES))
    for number, base in enumerate(BASES):
        stage.make_index(base)
        stage.upload(base, PROJECT, wheels[number * each : (number + 1) * each])
    stage.make_index(TOP, BASES)
    stage.make_index(ALONE)
    stage.upload(ALONE, PROJECT, wheels)


def _cells(stages: Sequence[Stages]) -> Iterable[Cell]:
    for form in ("html", "json"):
        for index, title in ((TOP, "from ten bases"), (ALONE, "from one index")):
            for connections, shows in ((1, "p50"), (MANY, "rate")):
                ending = ", one connection" if connections == 1 else ""
                column = Column(
                    table=f"A page of one project, {form.upper()}",
                    title=f"{title}{ending}",
                    connections=connections,
                    shows=shows,
                )
                for stage in stages:
                    yield Cell(row=stage.name, column=column, target=stage.page(index, PROJECT, form))
