"""Figures in Prometheus' text format."""

from __future__ import annotations

from pkgindex_core.formats.exposition import document, exposition
from pkgindex_core.protocols.measuring import Figures, Histogram, Meter

PAGES = Meter("pkgindex_pages_total", "counter", ("index", "answer"), "Requests.\nBy what they got: \\ and more.")
WAITING = Meter("pkgindex_waiting", "gauge", (), "Requests that wait.")
LATENCY = Meter("pkgindex_seconds", "histogram", ("upstream",), "Seconds.")


def test_a_value_is_a_line_with_its_labels() -> None:
    figures = [Figures(PAGES, {("root/pypi", "hit"): 3, ("root/pypi", "miss"): 0}), Figures(WAITING, {(): 1.5})]
    assert exposition(figures).splitlines() == [
        r"# HELP pkgindex_pages_total Requests.\nBy what they got: \\ and more.",
        "# TYPE pkgindex_pages_total counter",
        'pkgindex_pages_total{index="root/pypi",answer="hit"} 3',
        'pkgindex_pages_total{index="root/pypi",answer="miss"} 0',
        "# HELP pkgindex_waiting Requests that wait.",
        "# TYPE pkgindex_waiting gauge",
        "pkgindex_waiting 1.5",
    ]


def test_a_label_cannot_end_its_quotes() -> None:
    hostile = 'a"} 1\nb\\'
    (line,) = exposition([Figures(PAGES, {(hostile, "hit"): 1})]).splitlines()[2:]
    assert line == r'pkgindex_pages_total{index="a\"} 1\nb\\",answer="hit"} 1'


def test_buckets_of_a_histogram_add_up() -> None:
    figures = [Figures(LATENCY, {("https://h:443",): Histogram((0.1, 1.0), (2, 0, 1), 4.25)})]
    assert exposition(figures).splitlines()[2:] == [
        'pkgindex_seconds_bucket{upstream="https://h:443",le="0.1"} 2',
        'pkgindex_seconds_bucket{upstream="https://h:443",le="1"} 2',
        'pkgindex_seconds_bucket{upstream="https://h:443",le="+Inf"} 3',
        'pkgindex_seconds_sum{upstream="https://h:443"} 4.25',
        'pkgindex_seconds_count{upstream="https://h:443"} 3',
    ]


def test_a_meter_without_values_is_named() -> None:
    assert exposition([Figures(PAGES, {})]).count("\n") == 2
    assert document([Figures(PAGES, {})]) == {"pkgindex_pages_total": []}


def test_a_document_has_the_same_values() -> None:
    figures = [
        Figures(PAGES, {("root/pypi", "hit"): 3}),
        Figures(LATENCY, {("h",): Histogram((0.1,), (2, 1), 4.25)}),
    ]
    assert document(figures) == {
        "pkgindex_pages_total": [{"labels": {"index": "root/pypi", "answer": "hit"}, "value": 3}],
        "pkgindex_seconds": [
            {"labels": {"upstream": "h"}, "count": 3, "sum": 4.25, "bounds": (0.1,), "counts": (2, 1)}
        ],
    }
