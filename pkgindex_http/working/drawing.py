"""Draws plots as SVG, for a page that has their numbers in a table too.

Pure. Bars, since days without a value are common. A series is told by its shape and its name in the plot, never by colour alone: the first is
filled, the second has an outline and lies in front. Colours come from the style sheet of the page, by class; there is no style in the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from msgspec import Struct

WIDTH: Final = 720
HEIGHT: Final = 180
_LEFT: Final = 56
_BOTTOM: Final = 28
_TOP: Final = 10


class Series(Struct, frozen=True, kw_only=True):
    """Values of one kind, one for each label."""

    name: str
    values: tuple[float, ...]


def drawn(title: str, labels: Sequence[str], series: Sequence[Series], *, unit: str = "") -> str:
    """The plot of at most two series as an `svg` element. `labels` stand below the first and last bar."""
    highest = max((value for each in series for value in each.values), default=0)
    top = _round_up(highest)
    plot = HEIGHT - _TOP - _BOTTOM
    step = (WIDTH - _LEFT) / max(1, len(labels))
    told = f"{title}, {labels[0]} to {labels[-1]}. The highest value is {_number(highest, unit)}." if labels else title
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">',
        *_scale(top, plot, unit),
    ]
    for number, each in enumerate(series[:2]):
        share = 0.8 if number == 0 else 0.5
        for position, value in enumerate(each.values):
            if value <= 0:
                continue
            height = max(1.0, plot * value / top)
            x = _LEFT + step * position + step * (1 - share) / 2
            title_of_bar = f"{labels[position]}: {_number(value, unit)} {each.name}"
            parts.append(
                f'<rect class="bar-{number + 1}" x="{x:.1f}" y="{_TOP + plot - height:.1f}" width="{max(1.0, step * share):.1f}"'
                f' height="{height:.1f}"><title>{escape(title_of_bar)}</title></rect>'
            )
    if labels:
        y = HEIGHT - 5
        parts.append(f'<text x="{_LEFT}" y="{y}">{escape(labels[0])}</text>')
        parts.append(f'<text x="{WIDTH}" y="{y}" text-anchor="end">{escape(labels[-1])}</text>')
    return "\n".join([*parts, "</svg>"])


def _scale(top: float, plot: int, unit: str) -> list[str]:
    lines = []
    for value in (0.0, top / 2, top):
        y = _TOP + plot - plot * value / top
        lines.append(f'<line class="scale" x1="{_LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(_number(value, unit))}</text>')
    return lines


def _round_up(value: float) -> float:
    """The next of 2, 4, 10, 20, 40, 100 …"""
    power = 1.0
    while True:
        for step in (2, 4, 10):
            if value <= power * step:
                return power * step
        power *= 10


def _number(value: float, unit: str = "") -> str:
    """The number with a sign for thousands and more, and its unit: `20`, `1.5k`, `10 kB`."""
    size, sign = next(
        (each for each in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= each[0]), (1.0, "")
    )
    return f"{value / size:.3g}{' ' if unit else ''}{sign}{unit}"
