"""Content negotiation, row by row of the conformance table (CN), and never a crash."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.rules.negotiation import (
    HTML_V1,
    ITEM_LIMIT,
    JSON_V1,
    SIMPLE_FORMATS,
    TEXT_HTML,
    NotAcceptable,
    choose_coding,
    choose_format,
)

REFUSED = NotAcceptable(SIMPLE_FORMATS)


def test_cn_02_no_accept_is_the_same_as_anything() -> None:
    assert choose_format(None) == choose_format("*/*") == choose_format("")


def test_cn_03_anything_means_html() -> None:
    assert choose_format("*/*") == TEXT_HTML


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (f"{JSON_V1};q=0.1, text/html", TEXT_HTML),
        (f"{JSON_V1};q=0.101, text/html;q=0.1", JSON_V1),
        (f"{JSON_V1};q=0.100, text/html;q=0.101", TEXT_HTML),
        (f"{JSON_V1} ; Q=0.2 , {HTML_V1} ;q=0.3", HTML_V1),
        (f"{JSON_V1};q=0, text/html;q=0.001", TEXT_HTML),
        (f"{JSON_V1};q=0", REFUSED),
        (f"{JSON_V1};q=1.000, {HTML_V1};q=0.999", JSON_V1),
        (f"{JSON_V1};q=1., {HTML_V1};q=0.", JSON_V1),
    ],
)
def test_cn_04_weights_are_respected(accept: str, chosen: object) -> None:
    assert choose_format(accept) == chosen


@pytest.mark.parametrize("q", ["1.001", "2", "-1", "0.1234", "abc", "", ".5", "1e-1", "nan", "inf", "٠.٥"])
def test_cn_04_an_item_with_a_malformed_weight_is_absent(q: str) -> None:
    assert choose_format(f"{JSON_V1};q={q}, text/html;q=0.1") == TEXT_HTML
    assert choose_format(f"{JSON_V1};q={q}") == TEXT_HTML  # nothing is left of the header


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (f"text/html, {JSON_V1}", JSON_V1),
        (f"text/html, {HTML_V1}", HTML_V1),
        (f"{HTML_V1};q=0.5, {JSON_V1};q=0.5, text/html;q=0.5", JSON_V1),
    ],
)
def test_cn_05_equal_weights_pick_the_richest(accept: str, chosen: str) -> None:
    assert choose_format(accept) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (f"{JSON_V1};q=0, */*", TEXT_HTML),
        ("text/html;q=0, */*", JSON_V1),
        ("application/*;q=0, */*", TEXT_HTML),
        (f"application/*;q=0, {JSON_V1}, */*;q=0.1", JSON_V1),
        (f"*/*;q=0, {HTML_V1};q=0.1", HTML_V1),
        ("application/*", JSON_V1),
        ("application/*;q=0.5, text/*", TEXT_HTML),
        ("text/*", TEXT_HTML),
        ("text/*;q=0.1, application/*;q=0", TEXT_HTML),
        (f"{JSON_V1}, */*;q=0.1", JSON_V1),  # poetry
        (f"{HTML_V1};q=0.5, application/*", JSON_V1),
    ],
)
def test_cn_06_the_more_specific_range_decides(accept: str, chosen: str) -> None:
    assert choose_format(accept) == chosen


def test_cn_07_latest_is_answered_with_the_version_it_is() -> None:
    assert choose_format("application/vnd.pypi.simple.latest+json") == JSON_V1
    assert choose_format("application/vnd.pypi.simple.latest+html") == HTML_V1
    assert choose_format("application/vnd.pypi.simple.latest+html;q=0.9, text/html;q=0.1") == HTML_V1


@pytest.mark.parametrize("accept", ["application/xml", "text/plain, image/*", "application/json;q=0", "text/html2"])
def test_cn_08_nothing_acceptable_is_said(accept: str) -> None:
    assert choose_format(accept) == REFUSED


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("application/json", JSON_V1),
        ("application/json;q=0.1, image/png", JSON_V1),
        ("application/json, text/html;q=0.1", TEXT_HTML),
        ("application/json, */*;q=0.1", TEXT_HTML),
        (f"application/json, {JSON_V1};q=0", REFUSED),
    ],
)
def test_plain_json_is_the_simple_json_where_nothing_else_would_do(accept: str, chosen: object) -> None:
    assert choose_format(accept) == chosen


def test_cn_09_a_refusal_names_what_is_supported() -> None:
    assert REFUSED.supported == (JSON_V1, HTML_V1, TEXT_HTML)
    assert choose_format("image/png", offered=["text/html"]) == NotAcceptable(("text/html",))


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        (JSON_V1, JSON_V1),
        (JSON_V1.replace("+", " "), JSON_V1),
        (HTML_V1.upper(), HTML_V1),
        ("text/html", TEXT_HTML),
        ("application/vnd.pypi.simple.latest json", JSON_V1),
        ("*/*", REFUSED),
        ("application/*", REFUSED),
        ("text/html;q=1", REFUSED),
        (f"{JSON_V1},text/html", REFUSED),
        ("json", REFUSED),
        ("", REFUSED),
    ],
)
def test_cn_10_the_query_outranks_the_header(query: str, chosen: object) -> None:
    assert choose_format("text/html", query) == chosen
    assert choose_format("application/xml", query) == chosen
    assert choose_format(None, query) == chosen


def test_cn_14_case_and_foreign_parameters_are_ignored() -> None:
    assert choose_format("Application/Vnd.PyPI.Simple.v1+JSON") == JSON_V1
    assert choose_format("application/vnd.pypi.simple.v1+json;charset=utf-8;q=0.5, text/html;q=0.4") == JSON_V1
    assert choose_format("text/html;level=1;charset=utf-8") == TEXT_HTML


@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8,"
            "application/signed-exchange;v=b3;q=0.7"
        ),
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "text/html, */*",
    ],
)
def test_cn_15_people_see_html(accept: str) -> None:
    assert choose_format(accept) == TEXT_HTML


def test_cn_16_only_so_many_items_are_looked_at() -> None:
    filler = ", ".join(f"a/{number}" for number in range(ITEM_LIMIT - 1))
    assert choose_format(f"{filler}, {JSON_V1}") == JSON_V1
    assert choose_format(f"{filler}, a/b, {JSON_V1}") == REFUSED


def test_cn_16_only_so_many_bytes_are_looked_at() -> None:
    assert choose_format(f"{JSON_V1},{'x' * 100_000}") == JSON_V1
    assert choose_format("x" * 100_000) == TEXT_HTML
    assert choose_format(f"text/html;q=0.1,{' ' * 9000}{JSON_V1}") == TEXT_HTML


def test_cn_16_long_headers_cost_little() -> None:
    started = time.perf_counter()
    for number in range(20):
        for shape in ("," * 100_000, ";q=" * 30_000, '"\\' * 50_000, "a/b;" * 25_000, f"{number}" * 99_999):
            choose_format(shape)
            choose_coding(shape)
    assert time.perf_counter() - started < 5  # 200 headers of 100 kB; takes some 50 ms


@pytest.mark.parametrize(
    ("client", "accept", "chosen"),
    [
        ("pip", f"{JSON_V1}, {HTML_V1}; q=0.1, text/html; q=0.01", JSON_V1),
        ("uv", f"{JSON_V1}, {HTML_V1};q=0.2, text/html;q=0.01", JSON_V1),
        ("poetry", f"{JSON_V1}, */*;q=0.1", JSON_V1),
        ("pipenv", "*/*", TEXT_HTML),
        ("devpi as a mirror", f"{HTML_V1};q=0.2, {JSON_V1}, text/html;q=0.01", JSON_V1),
        ("pip of 2020", "text/html", TEXT_HTML),
    ],
)
def test_what_real_clients_send(client: str, accept: str, chosen: str) -> None:
    assert choose_format(accept) == chosen, client


def test_a_default_that_is_not_offered_gives_way_to_the_richest() -> None:
    offered = ("application/vnd.pypi.integrity.v1+json", "application/json")
    assert choose_format(None, offered=offered) == offered[0]
    assert choose_format("*/*", offered=offered) == offered[0]
    assert choose_format("application/json", offered=offered) == "application/json"
    assert choose_format(None, offered=()) == NotAcceptable(())


media_ranges = st.sampled_from(
    [*SIMPLE_FORMATS, "*/*", "application/*", "text/*", "a/b", "*", "", "application/vnd.pypi.simple.latest+json"]
)
weights = st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=x", ";charset=utf-8", ';a="b,c";q=0.3', ";q=0.999"])
likely = st.lists(st.tuples(media_ranges, weights).map("".join), max_size=80).map(",".join)
headers = st.one_of(st.text(max_size=200), likely, st.binary(max_size=100).map(lambda raw: raw.decode("latin-1")))


@given(accept=st.none() | headers, query=st.none() | st.text(max_size=60))
def test_no_header_crashes_and_every_answer_was_offered(accept: str | None, query: str | None) -> None:
    chosen = choose_format(accept, query)
    assert chosen == REFUSED or chosen in SIMPLE_FORMATS


@given(accept=likely)
def test_an_answer_does_not_depend_on_the_order_of_distinct_items(accept: str) -> None:
    items = accept.split(",")[:ITEM_LIMIT]
    if '"' not in accept:
        assert choose_format(",".join(items)) == choose_format(",".join(reversed(items)))


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        (None, "identity"),
        ("", "identity"),
        ("identity", "identity"),
        ("gzip, deflate", "gzip"),  # pip
        ("gzip, deflate, zstd", "zstd"),  # uv, poetry
        ("zstd,gzip,deflate", "zstd"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip;q=0.8, zstd;q=0.5", "gzip"),
        ("gzip;q=0, zstd;q=0", "identity"),
        ("gzip;q=0.5, identity", "identity"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0.5, gzip;q=1", "gzip"),
        ("br, deflate", "identity"),
        ("br, gzip;q=0.1", "gzip"),
        ("*", "gzip"),
        ("*;q=0", "identity"),
        ("gzip;q=0, *", "identity"),
        ("identity;q=0", "identity"),
        ("identity;q=0, br", "identity"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("gzip;q=2", "identity"),
        ("\x00\xff,;=;,", "identity"),
    ],
)
def test_codings(accept_encoding: str | None, coding: str) -> None:
    assert choose_coding(accept_encoding) == coding


def test_only_codings_that_are_offered_are_chosen() -> None:
    assert choose_coding("gzip, zstd", ["gzip"]) == "gzip"
    assert choose_coding("gzip, zstd", []) == "identity"


@given(header=headers)
def test_no_accept_encoding_crashes(header: str) -> None:
    assert choose_coding(header) in {"identity", "gzip", "zstd"}
