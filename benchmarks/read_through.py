"""How long do installs take through a cache in front of a package registry, and how much CPU and memory does the cache use?

Workload: what uv does for JupyterLab, some 90 packages, and a file of 100 MB. An upstream replays pages, sidecars and files that were recorded once
(`recording.py`); `--registry URL` asks a real registry instead. In `far_registry` the recorded one is 10 ms of a round trip away from all that ask it, as a
registry of the internet is, and there is no file of 100 MB. In each round each cache starts empty, and uv runs four times, each time with an empty
cache of its own:

    compile, cold    `uv pip compile`: pages and sidecars that the cache does not have
    compile, warm    the same again
    install, cold    `uv pip install` of what was compiled: the files are not there yet
    install, warm    the same again

Then one client, and ten clients at once, ask for a file of 100 MB that nobody asked for. "First byte" is the median of the clients; "requests" is how
often the cache asked for that file.

Unit: milliseconds of the client; CPU time of the cache's processes for the whole run, what it does behind the answers of the run included as
far as it is done a moment later; resident memory after all of it.
devpi-server and proxpi read the list of all projects first; here it has the recorded ones only.
Left out: a network between registry and cache (except in `far_registry`), TLS (except with `--registry`), several clients that compile at once, the
start of the cache.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import downloading, installing, machine, recording
from benchmarks.fixtures import Site
from benchmarks.load import Failed, Found, found_of
from benchmarks.peers import Server
from benchmarks.peers.caches import CACHES, Cache, PkgIndexCache
from benchmarks.peers.replaying import NginxUpstream
from benchmarks.peers.static import DistantUpstream, StaticUpstream
from benchmarks.plan import Plan
from benchmarks.recording import Recording
from benchmarks.rounds import Column, Sample, Series
from benchmarks.tables import Report

_BEHIND_SECONDS = 1.5
"""Until a cache has stored what it answered, and the next run does not compete with that."""
_MEMORY_DISK = Path("/dev/shm")
"""uv writes its cache and what it installs here, in memory, if the system has it: on a disk an install takes 12 seconds, with any cache or none."""
_STARTED_SECONDS = 2.0
"""Until what a program does after its start is done."""
_FAR = 10.0
"""Milliseconds of a round trip to a registry that is far away, such as the nearest machine of a content network."""
_UV = "90 packages with uv"
_FILE = "A file of 100 MB that the cache does not have"
_COMPILE = {each: Column(table=_UV, title=f"compile, {each}", connections=1, shows="took") for each in ("cold", "warm")}
_INSTALL = {each: Column(table=_UV, title=f"install, {each}", connections=1, shows="took") for each in ("cold", "warm")}
_MEMORY = Column(table=_UV, title="memory after all", connections=1, shows="memory")
_TOTAL, _FIRST, _REQUESTS = (
    {
        clients: Column(table=_FILE, title=f"{title}, {name}", connections=clients, shows=shows)
        for clients, name in ((1, "1 client"), (10, "10 clients"))
    }
    for title, shows in (("all", "took"), ("first byte", "took"), ("requests", "count"))
)


class _Row:
    """A cache, or none: the registry itself."""

    def __init__(self, name: str, registry: str, cache: Cache | None = None) -> None:
        self.name = name
        self._registry = registry
        self._cache = cache

    @property
    def index(self) -> str:
        return self._cache.index if self._cache is not None else f"{self._registry}/simple/"

    @contextmanager
    def started(self) -> Iterator[None]:
        if self._cache is not None:
            self._cache.start_empty()
            time.sleep(_STARTED_SECONDS)
        try:
            yield
        finally:
            if self._cache is not None:
                self._cache.stop()

    def spent(self) -> float | None:
        return machine.cpu_seconds(self._cache.pid) if self._cache is not None else None

    def memory(self) -> float | None:
        return machine.memory_mib(self._cache.pid) if self._cache is not None else None


def run(plan: Plan) -> Report:
    """Measure with a registry on this machine."""
    return _run(plan)


def run_far(plan: Plan) -> Report:
    """Measure with a registry that is far away."""
    return _run(plan, away=_FAR)


def _run(plan: Plan, *, away: float = 0.0) -> Report:
    if not installing.uv():
        raise Failed("uv is not installed; install the project's test extra")
    where = machine.describe()
    kept = recording.recorded(plan.recordings, plan.registry)
    if plan.registry:
        series = _measured(plan, kept, plan.registry.removesuffix("/").removesuffix("/simple"), upstream=None)
        return plan.made_of("read_through", where, series, driver="uv, a real registry")
    large = [] if away else recording.write_large(kept, plan.large_bytes)
    site = Site(root=kept.root, manifest=plan.site.manifest)
    replaying = NginxUpstream(site, plan.directory("upstream"))
    upstream: Server = StaticUpstream(site, plan.directory("upstream")) if replaying.missing() else replaying
    with plan.started(upstream, *_between(plan, upstream, away)) as servers:
        registry = f"http://127.0.0.1:{servers[-1].port}"
        kept.write_pages(registry)
        series = _measured(plan, kept, registry, upstream=upstream, large=large)
    if away:
        return plan.made_of("far_registry", where, series, driver=f"uv, {away:g} ms to the registry")
    return plan.made_of("read_through", where, series, driver="uv")


def _between(plan: Plan, upstream: Server, away: float) -> Iterator[Server]:
    """The server that stands for the way to an upstream that is far away."""
    if away:
        yield DistantUpstream(plan.site, plan.directory("distance"), target=upstream, milliseconds=away)


def _measured(
    plan: Plan, kept: Recording, registry: str, *, upstream: Server | None, large: Sequence[str] = ()
) -> list[Series]:
    rows = [*_caches(plan, registry), _Row("direct", registry)]
    series: dict[tuple[str, str], Series] = {}
    failed: set[str] = set()
    with machine.as_driver():
        for number in range(plan.rounds):
            start = number % len(rows)
            for row in rows[start:] + rows[:start]:
                if row.name in failed:
                    continue
                try:
                    with row.started():
                        samples = dict(_samples(row, plan, kept, number, upstream, large))
                except (Failed, OSError) as error:
                    print(f"left out: {row.name}, round {number + 1}: {error}", file=sys.stderr)
                    plan.left_out[row.name] = f"failed in round {number + 1}"
                    failed.add(row.name)
                    continue
                for column, sample in samples.items():
                    one = series.setdefault((row.name, column.key), Series(row=row.name, column=column, samples=[]))
                    one.samples.append(sample)
    order = [row.name for row in rows]
    # Ratios are taken inside a round, so a row that failed once has no place in the table.
    whole = [each for each in series.values() if len(each.samples) == plan.rounds]
    return sorted(whole, key=lambda each: order.index(each.row))


def _caches(plan: Plan, registry: str) -> Iterator[_Row]:
    for kind in CACHES if plan.peers else (PkgIndexCache,):
        cache = kind(plan.site, plan.directory(f"cache-{kind.name}"), upstream=registry)
        missing = cache.missing()
        if kind.name == "nginx" and not registry.startswith("http://"):
            missing = "it rewrites links of one host only"
        if missing:
            print(f"skipped: {kind.name}: {missing}", file=sys.stderr)
            plan.left_out[kind.name] = missing
            continue
        plan.versions[kind.name] = cache.version()
        yield _Row("nginx proxy_cache" if kind.name == "nginx" else kind.name, registry, cache)


def _samples(
    row: _Row, plan: Plan, kept: Recording, number: int, upstream: Server | None, large: Sequence[str]
) -> Iterator[tuple[Column, Sample]]:
    def compiled() -> Found:
        ran = installing.compile_with_uv(row.index, kept.requirements, work)
        if upstream is not None and ran.output != kept.compiled.read_text():
            raise Failed(f"uv chose other versions through {row.name}:\n{ran.output[:1000]}")
        return found_of([ran.seconds], ran.seconds, 0)

    def installed() -> Found:
        ran = installing.install_with_uv(row.index, kept.compiled, work)
        return found_of([ran.seconds], ran.seconds, 0)

    with tempfile.TemporaryDirectory(dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else plan.directory("uv")) as place:
        work = Path(place)
        for columns, do in ((_COMPILE, compiled), (_INSTALL, installed)):
            for column in columns.values():
                yield column, _sample(row, number, do)
    for project, clients in zip(large, _TOTAL, strict=True) if large else ():
        got = downloading.Download()

        def downloaded(project: str = project, clients: int = clients, got: downloading.Download = got) -> Found:
            return got.by(row.index, project, clients=clients, size=plan.large_bytes)

        yield _TOTAL[clients], _sample(row, number, downloaded)
        yield _FIRST[clients], _bare(number, got.first)
        if isinstance(upstream, NginxUpstream):
            asked = upstream.times_sent(f"{project.replace('-', '_')}-1.0-py3-none-any.whl")
            yield _REQUESTS[clients], _bare(number, _found(asked))
    if (memory := row.memory()) is not None:
        yield _MEMORY, _bare(number, _found(1), memory=memory)


def _sample(row: _Row, number: int, do: Callable[[], Found]) -> Sample:
    before = row.spent()
    found = do()
    time.sleep(_BEHIND_SECONDS)
    after = row.spent()
    cpu = None if before is None or after is None else (after - before) * 1e3
    print(f"round {number + 1}: {row.name}: {found.seconds:.2f} s, {(cpu or 0) / 1e3:.2f} s CPU", file=sys.stderr)
    return Sample(round=number, found=found, cpu_ms=cpu, memory_mib=None, body_bytes=0)


def _bare(number: int, found: Found, *, memory: float | None = None) -> Sample:
    return Sample(round=number, found=found, cpu_ms=None, memory_mib=memory, body_bytes=0)


def _found(count: int) -> Found:
    return Found(requests=count, seconds=1.0, bytes=0, p50_ms=0.0, p99_ms=0.0)
