"""How long until a server that was not running answers?

Workload: a server with a stage of 200 wheels in one project is stopped and started again over the same data, by its own command line, as
its documentation starts it. The clock runs from the moment the process is started to the last byte of the first right answer, for the project's page; connections are tried
every 5 ms. The files of the programs and of the data lie in the page cache.
Unit: milliseconds, and the CPU time of all that; resident memory after the first answer.
Left out: the first start of all (making the data directory, devpi-init), an index of millions of files, devpi-web (whose search index
makes devpi-server's start longer).
"""

from __future__ import annotations

import sys

from benchmarks import machine
from benchmarks.load import Found
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.stages import Stages, small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report

INDEX, PROJECT = "root/cold", "cold"
_COLUMN = Column(table="From nothing to the first page", title="started", connections=1, shows="took")


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    ours = PkgIndex(plan.site, plan.directory("pkgindex"), upstream=upstream.url, empty=True)
    theirs = [Devpi(plan.site, plan.directory("devpi"), upstream=upstream.url, empty=True)] if plan.peers else []
    with plan.started(upstream), plan.started(ours, *theirs) as servers, machine.as_driver():
        stages = [server.stages() for server in servers if isinstance(server, PkgIndex | Devpi)]
        series = {stage.name: Series(row=stage.name, column=_COLUMN, samples=[]) for stage in stages}
        for stage in stages:
            stage.make_index(INDEX)
            stage.upload(INDEX, PROJECT, small_wheels(PROJECT, plan.versions_of_one))
            stage.server.stop()
        for number in range(-1, plan.rounds):  # round -1 warms up: bytecode, the page cache
            start = max(0, number) % len(stages)
            for stage in stages[start:] + stages[:start]:
                sample = _sample(stage, number)
                if number >= 0:
                    series[stage.name].samples.append(sample)
                    print(f"round {number + 1}: {stage.name}: {sample.found.p50_ms:,.0f} ms", file=sys.stderr)
        return plan.made_of("cold_start", where, list(series.values()), driver="one client")


def _sample(stage: Stages, number: int) -> Sample:
    seconds, answer = stage.server.start_again(lambda: stage.page(INDEX, PROJECT, "html").request)
    sample = Sample(
        round=number,
        found=Found(requests=1, seconds=seconds, bytes=len(answer.body), p50_ms=seconds * 1e3, p99_ms=seconds * 1e3),
        cpu_ms=(machine.cpu_seconds(stage.server.pid) or 0.0) * 1e3 or None,
        memory_mib=machine.memory_mib(stage.server.pid),
        body_bytes=len(answer.body),
    )
    stage.server.stop()
    return sample
