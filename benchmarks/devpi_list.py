"""What does `devpi list` cost?

Workload: a stage of 300 projects with one small wheel each and one project of 200 versions. The real client's commands, each a process of its own as a person
starts it (`devpi list`, `devpi list --all PROJECT`); and the bare requests behind them (`GET /{user}/{index}`, `GET /{user}/{index}/{project}/`) over 8 keep-alive
connections, with the headers that the client sends.
Unit: milliseconds for a command, most of which is the start of the client itself (`devpi --help` takes as long on both rows but for noise);
answers a second and server CPU time for the bare requests.
Left out: `devpi list -v`, which asks for every project in turn (300 times the second request); log-ins; mirrors, whose list is PyPI's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.load import Failed, Found
from benchmarks.peers import environments
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.stages import Stages, small_wheels
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Cell, Column, Sample, Series, measure
from benchmarks.tables import Report

INDEX, LONG = "root/list", "long"
CLIENT = "devpi-client"
_MANY = 8


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    ours = PkgIndex(plan.site, plan.directory("pkgindex"), upstream=upstream.url, empty=True)
    theirs = [Devpi(plan.site, plan.directory("devpi"), upstream=upstream.url, empty=True)] if plan.peers else []
    with plan.started(upstream), plan.started(ours, *theirs) as servers:
        stages = [server.stages() for server in servers if isinstance(server, PkgIndex | Devpi)]
        for stage in stages:
            _fill(stage, plan)
        series = measure(list(_cells(stages)), plan.driver, rounds=plan.rounds, seconds=plan.seconds)
        missing = environments.missing(CLIENT)
        if missing:
            plan.left_out[CLIENT] = missing
        else:
            plan.versions[CLIENT] = environments.version(CLIENT)
            with machine.as_driver():
                series = [*_commands(stages, plan), *series]
        return plan.made_of("devpi_list", where, series, driver=plan.driver.name)


def _fill(stage: Stages, plan: Plan) -> None:
    stage.make_index(INDEX)
    stage.upload(INDEX, LONG, small_wheels(LONG, plan.versions_of_one))
    for number in range(plan.projects):
        stage.upload(INDEX, f"listed-{number}", small_wheels(f"listed-{number}", 1))


def _cells(stages: Sequence[Stages]) -> Iterable[Cell]:
    for title, path in (("the index", f"/{INDEX}"), ("one project", f"/{INDEX}/{LONG}/")):
        column = Column(table="The requests behind `devpi list`", title=title, connections=_MANY)
        for stage in stages:
            yield Cell(row=stage.name, column=column, target=stage.document(path))


def _commands(stages: Sequence[Stages], plan: Plan) -> Iterable[Series]:
    """The client's own time and the server's together, command by command, the servers in turn."""
    columns = {
        words: Column(table="The client's commands", title=f"`devpi {' '.join(words)}`", connections=1, shows="took")
        for words in (("list",), ("list", "--all", LONG))
    }
    found = {
        (stage.name, words): Series(row=stage.name, column=column, samples=[])
        for stage in stages
        for words, column in columns.items()
    }
    directories = {stage.name: plan.directory(f"client-{stage.name}") for stage in stages}
    for stage in stages:
        _client(directories[stage.name], "use", f"{stage.url}/{INDEX}")
    for number in range(plan.rounds):
        start = number % len(stages)
        for words in columns:
            for stage in stages[start:] + stages[:start]:
                before = machine.cpu_seconds(stage.server.pid)
                begun = time.perf_counter()
                output = _client(directories[stage.name], *words)
                seconds = time.perf_counter() - begun
                after = machine.cpu_seconds(stage.server.pid)
                if len(output.splitlines()) < (plan.versions_of_one if LONG in words else plan.projects):
                    raise Failed(f"{stage.name}: devpi {' '.join(words)} said only {output[-400:]!r}")
                sample = Sample(
                    round=number,
                    found=Found(requests=1, seconds=seconds, p50_ms=seconds * 1e3, p99_ms=seconds * 1e3),
                    cpu_ms=None if before is None or after is None else (after - before) * 1e3,
                    memory_mib=None,
                    body_bytes=len(output),
                )
                found[stage.name, words].samples.append(sample)
                print(f"round {number + 1}: {stage.name}: devpi {' '.join(words)}: {seconds:.2f} s", file=sys.stderr)
    return found.values()


def _client(directory: Path, *words: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    command = [str(environments.program(CLIENT, "devpi")), words[0], "--clientdir", str(directory), *words[1:]]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(directory)}
    )
    if done.returncode:
        raise Failed(f"devpi {' '.join(words)}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return done.stdout
