"""What does it cost to publish an index as static files: all of it, and after one upload?

Workload: 5,000 projects with four wheels each (20,000 files), with digests, uploaders, times and requires-python. Each publisher is a process of
its own, as cron starts it. It writes into an empty directory, and again when one file came. Files stay where they are (`--packages-url`), since
dumb-pypi never touches them. All have their modules as bytecode, as after an installation.
* pkgindex reads a SQLite store, and looks at the projects that were touched since.
* "in a program": the same in a process that has the index open, such as one with `--follow`. Time and CPU time are those of one publication.
* "from a list": pkgindex with the list that dumb-pypi gets.
* dumb-pypi gets JSON lines, and for the second run the lines before too.
Unit: milliseconds, and the CPU time of the process. pkgindex synchronises what it writes to disk, dumb-pypi does not.
Left out: links and copies of files, object stores, deletions. dumb-pypi writes no JSON pages, and removes nothing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from benchmarks import machine
from benchmarks.load import ROOT, Failed, Found
from benchmarks.peers import environments
from benchmarks.plan import Plan
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report
from pkgindex_core.changes import Change, PutFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.formats.package_lists import package_line
from pkgindex_core.models import Event, File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_mirror.static.publishing import Order, publish_from

PEER = "dumb-pypi"
INDEX = IndexName("root/dev")
PACKAGES = "https://files.example.org/pool/"
_FILES_OF_ONE = 4
_MIDNIGHT = 1_700_000_000
_COLUMNS = {
    "everything": Column(table="Publishing", title="everything", connections=1, shows="took"),
    "one": Column(table="Publishing", title="after one upload", connections=1, shows="took"),
}


class _Row(Struct, frozen=True):
    """One publisher: publishes into a directory, and returns the seconds and the CPU seconds that it took."""

    name: str
    publish: Callable[[Path], tuple[float, float]]


def run(plan: Plan) -> Report:
    """Measure."""
    where = machine.describe()
    place = plan.directory("publishing")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        return plan.made_of("publishing", where, _measured(plan, place), driver="one process after another")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _measured(plan: Plan, place: Path) -> list[Series]:
    data, listed, before = place / "data", place / "list.jsonl", place / "before.jsonl"
    files = list(_files(plan.published_files))
    asyncio.run(_store(data, files))
    _write(listed, files)
    rows = list(_rows(plan, data, listed, before))
    found = {
        (row.name, key): Series(row=row.name, column=column, samples=[])
        for key, column in _COLUMNS.items()
        for row in rows
    }
    for number in range(plan.rounds):
        start = number % len(rows)
        turns = rows[start:] + rows[:start]
        for key in _COLUMNS:
            if key == "one":
                shutil.copyfile(listed, before)
                files.append(_file(7, 100 + number))
                asyncio.run(_store(data, files[-1:]))
                _write(listed, files)
            for row in turns:
                tree = place / row.name.replace(" ", "-")
                if key == "everything":
                    shutil.rmtree(tree, ignore_errors=True)
                    before.unlink(missing_ok=True)
                found[row.name, key].samples.append(_sample(row, tree, number))
                took = found[row.name, key].samples[-1].found.seconds
                print(f"round {number + 1}: {row.name}: {key}: {took:.2f} s", file=sys.stderr)
    return list(found.values())


def _rows(plan: Plan, data: Path, listed: Path, before: Path) -> Iterator[_Row]:
    command = [sys.executable, "-m", "pkgindex_mirror.cli", "publish", "--packages-url", PACKAGES]
    bytecode = data.parent / "bytecode"
    yield _Row("pkgindex", lambda tree: _process([*command, INDEX, "--data", str(data), "--to", str(tree)], bytecode))
    yield _Row("pkgindex, in a program", lambda tree: asyncio.run(_inside(data, tree)))
    yield _Row(
        "pkgindex, from a list",
        lambda tree: _process([*command, "--package-list-json", str(listed), "--output-dir", str(tree)], bytecode),
    )
    if not plan.peers:
        return
    missing = environments.missing(PEER)
    if missing:
        plan.left_out[PEER] = missing
        return
    plan.versions[PEER] = environments.version(PEER)
    theirs = [str(environments.program(PEER, PEER)), "--package-list-json", str(listed), "--packages-url", PACKAGES]

    def dumb(tree: Path) -> tuple[float, float]:
        previous = ["--previous-package-list-json", str(before)] if before.exists() else []
        return _process([*theirs, "--output-dir", str(tree), "--no-generate-timestamp", *previous], bytecode)

    yield _Row(PEER, dumb)


def _sample(row: _Row, tree: Path, number: int) -> Sample:
    seconds, cpu = row.publish(tree)
    if not (tree / "simple/project-0007/index.html").exists():
        raise Failed(f"{row.name} has not written the tree")
    return Sample(
        round=number,
        found=Found(requests=1, seconds=seconds, p50_ms=seconds * 1e3, p99_ms=seconds * 1e3),
        cpu_ms=cpu * 1e3,
        memory_mib=None,
        body_bytes=0,
    )


def _process(command: list[str], bytecode: Path) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{command[:6]} ended with {process.returncode}")
    return seconds, used.ru_utime + used.ru_stime


async def _inside(data: Path, tree: Path) -> tuple[float, float]:
    """Publish within this process."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.store.tree()
        begun, cpu = time.perf_counter(), time.process_time()
        await publish_from(engine, Order(index=INDEX, target=str(tree), packages_url=PACKAGES))
        return time.perf_counter() - begun, time.process_time() - cpu


def _files(count: int) -> Iterator[tuple[ProjectName, File]]:
    for number in range(count):
        yield _file(*divmod(number, _FILES_OF_ONE))


def _file(project: int, version: int) -> tuple[ProjectName, File]:
    filename = f"project_{project:04d}-1.{version}-py3-none-any.whl"
    moment = Timestamp((_MIDNIGHT + 60 * version + project) * 1_000_000)
    file = File(
        filename=filename,
        version=f"1.{version}",
        digests={"sha256": sha256_of(filename.encode())},
        size=10_000,
        upload_time=moment,
        requires_python=">=3.9",
        history=(Event(what="upload", at=moment, who="anna"),),
    )
    return ProjectName(f"project-{project:04d}"), file


async def _store(data: Path, files: list[tuple[ProjectName, File]]) -> None:
    """Have files in the store by the back door: their bytes are never opened."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        if not await engine.store.head():
            await engine.prepare()
        for start in range(0, len(files), 400):
            changes: list[Change] = [PutFile(INDEX, project, file) for project, file in files[start : start + 400]]
            await engine.store.apply(changes, who="anna")


def _write(place: Path, files: list[tuple[ProjectName, File]]) -> None:
    place.write_bytes(b"".join([package_line(file) + b"\n" for _, file in files]))
