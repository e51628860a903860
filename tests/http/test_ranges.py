"""Byte ranges against a plain reading of RFC 9110, 14."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.protocols import Span
from pkgindex_http.wire.ranges import parse_range, range_applies

_TAG = '"0123abc"'
_NUMBER = st.integers(min_value=0, max_value=300)


def _oracle(first: int | None, last: int | None, size: int) -> Span | Literal["unsatisfiable"] | None:
    """The standard's words, by looking at every position."""
    if first is None:
        assert last is not None
        wanted = [position for position in range(size) if position >= size - last]
    elif last is not None and last < first:
        return None
    else:
        wanted = [position for position in range(size) if position >= first and (last is None or position <= last)]
    return Span(wanted[0], wanted[-1] + 1) if wanted else "unsatisfiable"


@given(st.none() | _NUMBER, st.none() | _NUMBER, st.integers(min_value=0, max_value=200))
def test_one_range_agrees_with_the_plain_reading(first: int | None, last: int | None, size: int) -> None:
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    expected = None if first is None and last is None else _oracle(first, last, size)
    assert parse_range(header, size) == expected
    assert parse_range(header.upper(), size) == expected


@given(st.text(max_size=40), st.integers(min_value=0, max_value=10**12))
def test_any_header_is_a_span_within_the_file_or_none(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        span = parse_range(header, size)
        if isinstance(span, Span):
            assert 0 <= span.start < span.stop <= size


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-0,5-6",
        "bytes=0-0,",
        "bytes=--5",
        "bytes=+0-5",
        "bytes=0x0-5",
        "bytes=0-5;q=1",
        "bytes 0-5",
        "items=0-5",
        "bytes=5-2",
        "bytes=٣-٤",
        "bytes=1_0-20",
        "bytes=0-" + "9" * 5000,
    ],
)
def test_what_is_not_one_range_of_bytes_is_ignored(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        (_TAG, True),
        (f" {_TAG} ", True),
        ('"other"', False),
        (f"W/{_TAG}", False),
        (formatdate(1_700_000_000, usegmt=True), True),
        (formatdate(1_700_000_001, usegmt=True), False),
        (formatdate(1_699_999_999, usegmt=True), False),
        ("Tue, 14 Nov 2023 22:13:20 -0000", True),
        ("", False),
        ("yesterday", False),
        ("Mon, 01 Jan 0001 00:00:00 -0000", False),
        ("Mon, 01 Jan 0001 00:00:00 +2359", False),
        ("Fri, 31 Dec 9999 23:59:59 -2359", False),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", False),
        ("Mon, 32 Jan 2024 00:00:00 GMT", False),
    ],
)
def test_if_range_names_these_bytes_or_the_whole_file_is_sent(if_range: str | None, applies: bool) -> None:
    assert range_applies(if_range, etag=_TAG, modified=1_700_000_000.75) is applies


def test_a_store_without_times_believes_no_date() -> None:
    assert not range_applies(formatdate(0, usegmt=True), etag=_TAG, modified=0.0)


@given(st.text(max_size=60))
def test_any_if_range_is_judged(text: str) -> None:
    assert range_applies(text, etag=_TAG, modified=1.0) in {True, False}


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_a_date_that_was_sent_comes_back_as_the_same(moment: datetime) -> None:
    seconds = moment.replace(tzinfo=UTC).timestamp()
    assert range_applies(formatdate(seconds, usegmt=True), etag=_TAG, modified=seconds)
