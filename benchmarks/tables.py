"""Writes what was measured as Markdown: medians, the spread, CPU time, and how pkgindex compares.

The first row of a table is what the others are compared with. `3.1x` in a cell means that pkgindex did 3.1 times as many a second
in the same round (for latencies: took 3.1 times less), `0.4x` that it did less than half: the peer is faster. `CPU 2x` means that
pkgindex spent half the CPU time for an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.rounds import Series

UNITS = {
    "rate": "answers/s",
    "p50": "ms (p50)",
    "took": "ms",
    "throughput": "MB/s",
    "uploads": "uploads/s",
    "memory": "MiB",
    "count": "number",
    "kilobytes": "kB",
}


class Report(Struct, frozen=True, kw_only=True):
    """The outcome of one question."""

    question: str
    machine: Machine
    driver: str
    rounds: int
    seconds: float
    versions: dict[str, str]
    left_out: dict[str, str]
    """Servers that did not take part, and why."""
    series: list[Series]


def save(report: Report, directory: Path) -> Path:
    """Write all samples as JSON, and beside them the table of the medians. Returns the path of the JSON file."""
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / f"{report.question}.json"
    place.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    place.with_suffix(".md").write_text(markdown(report))
    return place


def saved(directory: Path) -> list[Report]:
    """The reports that were kept, in no particular order."""
    return [msgspec.json.decode(place.read_bytes(), type=Report) for place in directory.glob("*.json")]


def markdown(report: Report) -> str:
    """All tables of a report."""
    lines = [_where(report), ""]
    tables = list(dict.fromkeys(series.column.table for series in report.series))
    for table in tables:
        lines += [f"**{table}**", "", *_table([series for series in report.series if series.column.table == table]), ""]
    return "\n".join(lines)


def number(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _where(report: Report) -> str:
    where = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    text = (
        f"{where.cpu}, {where.cpus} CPUs, {where.memory_gib} GiB, {where.system}, Python {where.python}, load {where.load:.1f} before; "
        f"{report.driver}, {report.rounds} interleaved rounds of {report.seconds:g} s a cell; {versions}."
    )
    for name, why in report.left_out.items():
        text += f" Left out: {name} ({why})."
    return text


def _table(members: Sequence[Series]) -> Iterable[str]:
    columns = list({series.column.key: series.column for series in members}.values())
    rows = list(dict.fromkeys(series.row for series in members))
    found = {(series.row, series.column.key): series for series in members}
    yield "| | " + " | ".join(f"{column.title}, {UNITS[column.shows]}" for column in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for row in rows:
        cells = [_cell(found.get((row, column.key)), found.get((rows[0], column.key))) for column in columns]
        yield f"| {row} | " + " | ".join(cells) + " |"


def _cell(series: Series | None, first: Series | None) -> str:
    if series is None:
        return "-"
    low, high = min(series.values), max(series.values)
    text = f"{number(series.median)} ({number(low)}-{number(high)})"
    if series.cpu_ms is not None and series.column.shows != "p50":
        text += f", {number(series.cpu_ms)} ms CPU"
    memory = [sample.memory_mib for sample in series.samples if sample.memory_mib is not None]
    if series.column.shows in {"throughput", "took"} and memory:
        text += f", {number(max(memory))} MiB resident"
    if series.samples[0].sequential:
        text += ", one by one"
    if first is not None and first is not series:
        better = first.advantage_over(series)
        text += "" if better is None else f", **{number(better)}x**"
        cheaper = first.cheaper_than(series)
        if cheaper is not None and series.column.shows != "p50":
            text += f", CPU {number(cheaper)}x"
    return text
