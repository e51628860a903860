"""What does an upload cost when its project has many files already?

Workload: 200 small wheels, versions 1.0 to 1.199, one after another over one connection into one new project of a volatile index without
bases, as `devpi upload --from-dir` sends them (with the token of a log-in). Every round takes another project, so that the first columns are
always uploads into an empty one.
Unit: uploads a second, over the first 20, the last 20 and all 200. A server whose uploads cost the same however many there are shows
the same in all columns; devpi-server writes all versions of the project again for each. Ours are on disk when they are
acknowledged, devpi-server's in the page cache.
Left out: the client's own time, larger files, several clients at once.
"""

from __future__ import annotations

import sys

from benchmarks import machine
from benchmarks.load import Found, found_of
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.stages import Stages, small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series, spent
from benchmarks.tables import Report

INDEX = "root/growing"


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    part = max(1, plan.versions_of_one // 10)
    spans = {
        f"the first {part}": slice(0, part),
        f"the last {part}": slice(-part, None),
        f"all {plan.versions_of_one}": slice(None),
    }
    columns = {
        title: Column(table="Uploads into one project, one after another", title=title, connections=1, shows="uploads")
        for title in spans
    }
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    ours = PkgIndex(plan.site, plan.directory("pkgindex"), upstream=upstream.url, empty=True)
    theirs = [Devpi(plan.site, plan.directory("devpi"), upstream=upstream.url, empty=True)] if plan.peers else []
    with plan.started(upstream), plan.started(ours, *theirs) as servers, machine.as_driver():
        stages = [server.stages() for server in servers if isinstance(server, PkgIndex | Devpi)]
        for stage in stages:
            stage.make_index(INDEX)
        series = {
            (stage.name, title): Series(row=_row(stage), column=column, samples=[])
            for stage in stages
            for title, column in columns.items()
        }
        for number in range(-1, plan.rounds):  # round -1 warms up
            start = max(0, number) % len(stages)
            for stage in stages[start:] + stages[:start]:
                taken, cpu_ms = _fill(stage, f"growing-{number + 1}", plan.versions_of_one)
                for title, span in spans.items() if number >= 0 else ():
                    found = found_of(taken[span], sum(taken[span]), 0)
                    sample = Sample(
                        round=number,
                        found=found,
                        cpu_ms=cpu_ms if span == slice(None) else None,
                        memory_mib=machine.memory_mib(stage.server.pid),
                        body_bytes=0,
                    )
                    series[stage.name, title].samples.append(sample)
                print(f"round {number + 1}: {stage.name}: {len(taken) / sum(taken):,.1f}/s", file=sys.stderr)
        return plan.made_of("growing_project", where, list(series.values()), driver="one client")


def _row(stage: Stages) -> str:
    return stage.name if isinstance(stage.server, PkgIndex) else f"{stage.name} (not synchronised)"


def _fill(stage: Stages, project: str, count: int) -> tuple[list[float], float | None]:
    wheels = small_wheels(project, count)
    taken: list[float] = []

    def work() -> Found:
        taken.extend(stage.upload(INDEX, project, wheels))
        return found_of(taken, sum(taken), 0)

    _, cpu_ms = spent(stage.server.pid, work, answers=lambda found: found.requests)
    return taken, cpu_ms
