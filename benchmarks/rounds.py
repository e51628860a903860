"""Measures many things in turn, several times: what is compared was measured beside each other.

All servers run during the whole run. A round visits every cell (one server, one request, one number of connections) once;
within a column the servers take turns, and who begins moves on with each round. A noisy minute hits all alike, and
ratios are taken inside a round.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from benchmarks import machine
from benchmarks.load import Driver, Failed, Found, Request, fetch, one_after_another
from benchmarks.peers import Target

_SETTLE_SECONDS = 0.1
"""Until what was under way when the driver stopped is done."""


class Column(Struct, frozen=True, kw_only=True):
    """What is asked for, and what is shown of the answers."""

    table: str
    title: str
    connections: int
    shows: str = "rate"
    """`rate` (answers a second), `p50` (milliseconds), `took` (milliseconds, once), `throughput` (MB a second), `uploads` (a
    second), `memory` (MiB resident), `count` (requests) or `kilobytes` (of a body)."""

    @property
    def less_is_better(self) -> bool:
        return self.shows in {"p50", "took", "memory", "count", "kilobytes"}

    @property
    def key(self) -> str:
        return f"{self.table} / {self.title} / {self.connections}"


class Sample(Struct, frozen=True, kw_only=True):
    """One measurement of one cell."""

    round: int
    found: Found
    cpu_ms: float | None
    """CPU time of the server an answer."""
    memory_mib: float | None
    body_bytes: int
    sequential: bool = False
    """It is so slow that it was asked one request after another."""


class Cell(Struct, frozen=True, kw_only=True):
    row: str
    column: Column
    target: Target


class Series(Struct, frozen=True, kw_only=True):
    """All measurements of one cell."""

    row: str
    column: Column
    samples: list[Sample]

    def value(self, sample: Sample) -> float:
        if self.column.shows == "memory":
            return sample.memory_mib or 0.0
        if self.column.shows == "count":
            return sample.found.requests
        if self.column.shows == "kilobytes":
            return sample.body_bytes / 1e3
        if self.column.less_is_better:
            return sample.found.p50_ms
        if self.column.shows == "throughput":
            return sample.found.bytes / 1e6 / sample.found.seconds
        return sample.found.requests / sample.found.seconds

    @property
    def values(self) -> list[float]:
        return [self.value(sample) for sample in self.samples]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def cpu_ms(self) -> float | None:
        known = [sample.cpu_ms for sample in self.samples if sample.cpu_ms is not None]
        return statistics.median(known) if known else None

    def advantage_over(self, other: Series) -> float | None:
        """How many times better than another: the median of the rounds' ratios. A round in which one of them finished nothing does not count."""
        ratios = []
        for mine, theirs in zip(self.values, other.values, strict=True):
            if mine and theirs:
                ratios.append(theirs / mine if self.column.less_is_better else mine / theirs)
        return statistics.median(ratios) if ratios else None

    def cheaper_than(self, other: Series) -> float | None:
        """How many times less CPU time an answer takes than another's: the median of the rounds' ratios."""
        ratios = [
            theirs.cpu_ms / mine.cpu_ms
            for mine, theirs in zip(self.samples, other.samples, strict=True)
            if mine.cpu_ms and theirs.cpu_ms
        ]
        return statistics.median(ratios) if ratios else None


def measure(cells: Sequence[Cell], driver: Driver, *, rounds: int, seconds: float) -> list[Series]:
    """Measure every cell in every round. A server that fails once is left out, and said so."""
    series = {(cell.row, cell.column.key): Series(row=cell.row, column=cell.column, samples=[]) for cell in cells}
    speeds = {}
    for cell in list(cells):
        try:
            speeds[cell.row, cell.column.key] = _warm(cell.target.request)
        except (Failed, OSError) as error:
            print(f"left out: {cell.row}, {cell.column.key}: {error}", file=sys.stderr)
    ready = [cell for cell in cells if (cell.row, cell.column.key) in speeds]
    for number in range(rounds):
        for cell in _turns(ready, number):
            once, size = speeds[cell.row, cell.column.key]
            sample = _sample(cell, driver, number, seconds, once, size)
            series[cell.row, cell.column.key].samples.append(sample)
            print(f"round {number + 1}: {cell.column.key}: {cell.row}: {_say(sample)}", file=sys.stderr)
    return [one for one in series.values() if one.samples]


def spent(pid: int, work: Callable[[], Found], *, answers: Callable[[Found], float]) -> tuple[Found, float | None]:
    """What was found, and the milliseconds of CPU that a process used for each answer."""
    before = machine.cpu_seconds(pid)
    found = work()
    time.sleep(_SETTLE_SECONDS)
    after = machine.cpu_seconds(pid)
    count = answers(found)
    if before is None or after is None or not count:
        return found, None
    return found, (after - before) * 1e3 / count


def _warm(request: Request) -> tuple[float, int]:
    """Fill the server's caches; tell how long one answer takes then, and its size."""
    taken = []
    for _ in range(3):
        answer = fetch(request)
        taken.append(answer.seconds)
        if len(taken) > 1 and answer.seconds > 1:
            break
    return min(taken), len(answer.body)


def _sample(cell: Cell, driver: Driver, number: int, seconds: float, once: float, size: int) -> Sample:
    # Large answers that are under way at the end count by the bytes that have come.
    by_bytes = cell.column.shows == "throughput"
    # At this speed not even one answer for each connection would be whole at the end, and what is half done would distort both
    # the count and the CPU time. On one interpreter lock more connections gain nothing either.
    sequential = once * cell.column.connections > seconds and not by_bytes
    request = cell.target.request

    def work() -> Found:
        if sequential:
            return one_after_another(request, count=max(2, int(seconds / once)))
        return driver.run(request, connections=cell.column.connections, seconds=seconds)

    def answers(found: Found) -> float:
        return found.bytes / size if by_bytes else found.requests

    found, cpu_ms = spent(cell.target.pid, work, answers=answers)
    return Sample(
        round=number,
        found=found,
        cpu_ms=cpu_ms,
        memory_mib=machine.memory_mib(cell.target.pid),
        body_bytes=size,
        sequential=sequential,
    )


def _turns(cells: Sequence[Cell], number: int) -> Iterator[Cell]:
    """The cells column by column; in each, who begins moves on with the round."""
    columns: dict[str, list[Cell]] = {}
    for cell in cells:
        columns.setdefault(cell.column.key, []).append(cell)
    for members in columns.values():
        start = number % len(members)
        yield from members[start:] + members[:start]


def _say(sample: Sample) -> str:
    cpu = "" if sample.cpu_ms is None else f", {sample.cpu_ms:.3f} ms CPU"
    return f"{sample.found.requests / sample.found.seconds:,.1f}/s, p50 {sample.found.p50_ms:.2f} ms{cpu}"
