"""How many uploads a second do one client and eight clients get through?

Workload: each client has one connection and sends one wheel of about 10 kB after another, each a new version, in the form that twine and uv send,
with HTTP Basic credentials on every request as they do (devpi-server also with the token that its own client would send). The next one leaves
when the last was acknowledged. In cells of 160 uploads a quick server showed half of its rate, so a cell lasts as long as those of other questions.
Unit: uploads a second, server CPU time an upload. Ours are on disk when they are acknowledged (each file and the commit
synchronised); as far as their sources say, those of devpi-server, pypiserver and pypiron are in the page cache: the rows say so.
Into a project (pypiserver: a directory) of many files: the same, when it has 10,000 files already.
Left out: the clients' own time (twine takes longer to start than all of this), large files, signatures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks import machine
from benchmarks.fixtures import upload_form, upload_wheel
from benchmarks.load import Connection, Failed, Found, found_of
from benchmarks.peers import Server, UploadTarget
from benchmarks.peers.devpi import Devpi
from benchmarks.peers.pkgindex import PkgIndex
from benchmarks.peers.pypiron import PypIronHosted
from benchmarks.peers.pypiserver import PypiServerUploads
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series, spent
from benchmarks.tables import Report

COLUMNS = tuple(
    Column(table="Uploads of 10 kB wheels", title=title, connections=clients, shows="uploads")
    for title, clients in (("one client", 1), ("eight clients", 8))
)


_LEAST = 20


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    with plan.started(upstream), plan.started(*servers_of(plan, upstream.url)) as servers, machine.as_driver():
        targets = [target for server in servers for target in server.uploads()]
        series = {
            (target.label, column.key): Series(row=_row(target), column=column, samples=[])
            for target in targets
            for column in COLUMNS
        }
        for number in range(-1, plan.rounds):  # round -1 warms up: password verdicts, prepared statements
            start = max(0, number) % len(targets)
            for column in COLUMNS:
                for target in targets[start:] + targets[:start]:
                    if target.label in plan.left_out:
                        continue
                    try:
                        sample = upload_sample(target, column, number, plan)
                    except Failed as error:
                        if target.durable:  # ours
                            raise
                        print(f"left out: {error}", file=sys.stderr)
                        plan.left_out[target.label] = f"failed in round {number + 1}"
                        continue
                    if number >= 0:
                        series[target.label, column.key].samples.append(sample)
                        rate = sample.found.requests / sample.found.seconds
                        print(f"round {number + 1}: {column.title}: {target.label}: {rate:,.1f}/s", file=sys.stderr)
        return plan.made_of(
            "uploads",
            where,
            [each for (label, _), each in series.items() if label not in plan.left_out],
            driver=f"{plan.seconds:g} s and at least {_LEAST} uploads a client and round",
        )


def servers_of(plan: Plan, upstream: str) -> Iterable[Server]:
    """The servers that take uploads, ours first."""
    site = plan.site
    yield PkgIndex(site, plan.directory("pkgindex"), upstream=upstream)
    if not plan.peers:
        return
    yield PypIronHosted(site, plan.directory("pypiron"))
    yield Devpi(site, plan.directory("devpi"), upstream=upstream)
    yield PypiServerUploads(site, plan.directory("pypiserver-htpasswd"))
    yield PypiServerUploads(site, plan.directory("pypiserver-among"), among=max(site.sizes))
    yield PypiServerUploads(site, plan.directory("pypiserver-open"), passwords=False)


def _row(target: UploadTarget) -> str:
    return target.label if target.durable else f"{target.label} (not synchronised)"


def upload_sample(target: UploadTarget, column: Column, number: int, plan: Plan) -> Sample:
    """Have each client of a column send wheels of versions that only this round has, for the plan's time and at least 20."""
    clients, count = column.connections, plan.uploads
    first = ((number + 2) * 10 + clients) * 10_000
    lanes = [[upload_request(target, first + lane * count + each) for each in range(count)] for lane in range(clients)]

    start = 0.0

    def send(requests: Sequence[bytes]) -> list[float]:
        taken = []
        with Connection(target.port) as connection:
            for request in requests:
                answer = connection.send(request, "POST")
                if answer.status != 200:
                    raise Failed(f"{target.label}: {answer.status} {answer.body[:400]!r}")
                taken.append(answer.seconds)
                if len(taken) >= _LEAST and time.perf_counter() - start > plan.seconds:
                    break
        return taken

    def work() -> Found:
        nonlocal start
        start = time.perf_counter()
        with ThreadPoolExecutor(clients) as threads:
            taken = [seconds for lane in threads.map(send, lanes) for seconds in lane]
        return found_of(taken, time.perf_counter() - start, len(taken) * len(lanes[0][0]))

    found, cpu_ms = spent(target.pid, work, answers=lambda found: found.requests)
    return Sample(
        round=number,
        found=found,
        cpu_ms=cpu_ms,
        memory_mib=machine.memory_mib(target.pid),
        body_bytes=len(lanes[0][0]),
    )


def upload_request(target: UploadTarget, number: int) -> bytes:
    """The whole request of an upload: a wheel of a version that only this number has."""
    kind, body = upload_form(upload_wheel(target.project, number), target.project)
    headers = {
        "Host": f"127.0.0.1:{target.port}",
        "User-Agent": "twine/7.0.0",
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        **target.headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target.path} HTTP/1.1\r\n{head}\r\n".encode() + body
