"""How long do twine and `uv publish` take to upload?

Workload: a command uploads ten wheels of about 10 kB to each server, with the password of a user, as a job of a build farm does. Each round has new
versions. The commands run one after another, and start anew each time.
Unit: milliseconds from the start of the command to its end, and the server's CPU time for all of it.
Left out: attestations. What a server synchronises is in the table of `uploads.py`, whose servers these are.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.fixtures import upload_wheel
from benchmarks.load import Failed, Found
from benchmarks.peers import UploadTarget
from benchmarks.peers.static import StaticUpstream
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report
from benchmarks.uploads import servers_of

_WHEELS = 10
_PROGRAMS = Path(sys.executable).parent


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    count = min(_WHEELS, plan.uploads)
    upstream = StaticUpstream(plan.site, plan.directory("upstream"))
    columns = {name: Column(table=f"{count} wheels", title=name, connections=1, shows="took") for name in _COMMANDS}
    with plan.started(upstream), plan.started(*servers_of(plan, upstream.url)) as servers, machine.as_driver():
        # The first target of a server is its ordinary one, with a user's password.
        targets = [next(server.uploads()) for server in servers]
        found = {
            (target.label, name): Series(row=target.label, column=column, samples=[])
            for target in targets
            for name, column in columns.items()
        }
        for number in range(-1, plan.rounds):  # round -1 warms up: modules, password verdicts
            start = max(0, number) % len(targets)
            for place, name in enumerate(columns):
                for target in targets[start:] + targets[:start]:
                    wheels = _wheels(plan, target, ((number + 1) * len(columns) + place) * count, count)
                    sample = _sample(name, target, number, wheels)
                    if number >= 0:
                        found[target.label, name].samples.append(sample)
                        print(
                            f"round {number + 1}: {name}: {target.label}: {sample.found.p50_ms:,.0f} ms",
                            file=sys.stderr,
                        )
        return plan.made_of("upload_clients", where, list(found.values()), driver="one command after another")


def _twine(url: str, wheels: Sequence[str]) -> Sequence[str]:
    options = ["--repository-url", url, "--non-interactive", "--disable-progress-bar"]
    return [str(_PROGRAMS / "twine"), "upload", *options, *wheels]


def _uv(url: str, wheels: Sequence[str]) -> Sequence[str]:
    return [str(_PROGRAMS / "uv"), "publish", "--publish-url", url, "--trusted-publishing", "never", *wheels]


_COMMANDS = {"twine": _twine, "uv publish": _uv}


def _wheels(plan: Plan, target: UploadTarget, first: int, count: int) -> Sequence[str]:
    directory = plan.directory("wheels")
    directory.mkdir(exist_ok=True)
    paths = []
    for number in range(900_000 + first, 900_000 + first + count):  # no versions of `uploads.py`
        wheel = upload_wheel(target.project, number)
        path = directory / wheel.filename
        path.write_bytes(wheel.data)
        paths.append(str(path))
    return paths


def _sample(name: str, target: UploadTarget, number: int, wheels: Sequence[str]) -> Sample:
    user, _, password = base64.b64decode(target.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
    environment = {
        **os.environ,
        "TWINE_USERNAME": user,
        "TWINE_PASSWORD": password,
        "UV_PUBLISH_USERNAME": user,
        "UV_PUBLISH_PASSWORD": password,
    }
    command = _COMMANDS[name](f"http://127.0.0.1:{target.port}{target.path}", wheels)
    before = machine.cpu_seconds(target.pid)
    begun = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    after = machine.cpu_seconds(target.pid)
    if done.returncode:
        raise Failed(f"{target.label}: {name}: {done.stdout[-400:]}{done.stderr[-400:]}")
    return Sample(
        round=number,
        found=Found(requests=1, seconds=seconds, p50_ms=seconds * 1e3, p99_ms=seconds * 1e3),
        cpu_ms=None if before is None or after is None else (after - before) * 1e3,
        memory_mib=machine.memory_mib(target.pid),
        body_bytes=sum(Path(each).stat().st_size for each in wheels),
    )
