"""Figures in Prometheus' text format, version 0.0.4, and as a document of JSON.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

from pkgindex_core.protocols.measuring import Figures, Histogram

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(all_figures: Sequence[Figures]) -> str:
    """The text that Prometheus reads. Meters without a value are named, so that a reader sees all of them."""
    return "".join(f"{line}\n" for figures in all_figures for line in _lines(figures))


def document(all_figures: Sequence[Figures]) -> dict[str, Any]:
    """By meter a list of its values, each with its labels."""
    return {
        figures.meter.name: [
            {"labels": dict(zip(figures.meter.labels, labels, strict=True)), **_value(value)}
            for labels, value in figures.values.items()
        ]
        for figures in all_figures
    }


def _value(value: float | Histogram) -> dict[str, Any]:
    if not isinstance(value, Histogram):
        return {"value": value}
    return {"count": sum(value.counts), "sum": value.total, "bounds": value.bounds, "counts": value.counts}


def _lines(figures: Figures) -> Iterator[str]:
    meter = figures.meter
    yield f"# HELP {meter.name} {_escaped(meter.meaning)}"
    yield f"# TYPE {meter.name} {meter.kind}"
    for values, value in figures.values.items():
        labels = [f'{name}="{_quoted(text)}"' for name, text in zip(meter.labels, values, strict=True)]
        if not isinstance(value, Histogram):
            yield f"{meter.name}{_braced(labels)} {_number(value)}"
            continue
        bounds = [*(_number(bound) for bound in value.bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(value.counts), strict=True):
            below = [*labels, f'le="{bound}"']
            yield f"{meter.name}_bucket{_braced(below)} {count}"
        yield f"{meter.name}_sum{_braced(labels)} {_number(value.total)}"
        yield f"{meter.name}_count{_braced(labels)} {sum(value.counts)}"


def _braced(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
