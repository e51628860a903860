"""Draws what was measured as SVG: for each column of a report a bar for each row, on a logarithmic scale.

The bar is the CPU time of an answer where it is known, since other work on the machine hardly changes it; otherwise it is the figure of the table.
The numbers stand at the bars.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from benchmarks.rounds import Series
from benchmarks.tables import UNITS, Report, number

_WIDTH = 900
_NAMES = 330
_LINE = 18
_STYLE = (
    "text { font: 12px sans-serif; fill: #222 } .head { font-weight: bold } rect { fill: #9ab } .own { fill: #06c }"
    " svg { background: #fff }"
)


def save(report: Report, directory: Path) -> Path:
    """Write the plot of a report, and return its path."""
    place = directory / f"{report.question}.svg"
    place.write_text(drawn(report))
    return place


def drawn(report: Report) -> str:
    """The plot as an SVG document."""
    parts: list[str] = []
    top = _LINE
    for title, members in _groups(report):
        parts.append(_text(4, top, title, "head"))
        top += 6
        values = [value for _, value in members]
        least, most = min(values) / 2, max(values)
        for series, value in members:
            length = (_WIDTH - _NAMES - 90) * math.log(value / least) / math.log(most / least)
            own = "own" if series.row.startswith("pkgindex") else "peer"
            parts.append(_text(_NAMES - 8, top + 13, series.row, "name", anchor="end"))
            parts.append(f'<rect class="{own}" x="{_NAMES}" y="{top + 2}" width="{length:.1f}" height="{_LINE - 4}"/>')
            parts.append(_text(_NAMES + length + 6, top + 13, number(value), "value"))
            top += _LINE
        top += 2 * _LINE
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" aria-label="{escape(report.question)}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>\n"])


def _groups(report: Report) -> Iterator[tuple[str, list[tuple[Series, float]]]]:
    """Titles of columns, and their rows with what is drawn of them."""
    columns = {series.column.key: series.column for series in report.series}
    for key, column in columns.items():
        members = [series for series in report.series if series.column.key == key]
        timed = [(series, series.cpu_ms) for series in members if series.cpu_ms]
        if len(timed) == len(members) and column.shows not in {"memory", "count"}:
            yield f"{column.table}: {column.title}, ms of CPU (less is better)", timed
            continue
        figures = [(series, series.median) for series in members if series.median > 0]
        better = "less" if column.less_is_better else "more"
        if figures:
            yield f"{column.table}: {column.title}, {UNITS[column.shows]} ({better} is better)", figures


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
