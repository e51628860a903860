"""Lifetimes, Retry-After, back-off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.rules.freshness import (
    LONGEST_LIFETIME,
    LONGEST_RETRY_AFTER,
    backoff,
    parse_lifetime,
    parse_retry_after,
)

NOON = Timestamp(1_792_584_000_000_000)  # Wed, 21 Oct 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("", "", None),
        ("public", "", None),
        ("max-age=600, public", "", 600),
        ('Max-Age="600"', "", 600),
        ("max-age=600", "100", 500),
        ("max-age=600", "700", 0),
        ("max-age=600", "-5", 600),
        ("max-age=600, s-maxage=60", "", 60),
        ("max-age=60, max-age=600", "", 60),
        ("max-age=soon", "", 0),
        ("max-age=-1", "", 0),
        ("max-age=99999999999999999999", "", LONGEST_LIFETIME),
        ("no-store, max-age=600", "", 0),
        ("private, max-age=600", "", 0),
        ("no-cache", "", 0),
    ],
)
def test_lifetimes(cache_control: str, age: str, seconds: int | None) -> None:
    assert parse_lifetime(cache_control, age) == seconds


@given(st.text(), st.text())
def test_any_lifetime_is_read(cache_control: str, age: str) -> None:
    lifetime = parse_lifetime(cache_control, age)
    assert lifetime is None or 0 <= lifetime <= LONGEST_LIFETIME


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999999999", LONGEST_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 12:00:30 GMT", 30),
        ("Wed, 21 Oct 2026 12:00:30 -0000", 30),
        ("Wednesday, 21-Oct-26 12:00:30 GMT", 30),
        ("Wed Oct 21 12:00:30 2026", 30),
        ("Wed, 21 Oct 2026 11:00:00 GMT", 0),
        ("Wed, 21 Oct 2036 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("Wed, 41 Oct 2026 12:00:00 GMT", None),
        ("Wed, 21 Oct 0000 12:00:00 GMT", 0),
        ("1" * 65, None),
    ],
)
def test_retry_after(text: str | None, seconds: int | None) -> None:
    assert parse_retry_after(text, NOON) == seconds


def test_retry_after_rounds_up_so_that_nobody_comes_too_early() -> None:
    assert parse_retry_after("Wed, 21 Oct 2026 12:00:30 GMT", Timestamp(NOON + 1)) == 30
    assert parse_retry_after("Wed, 21 Oct 2026 12:00:30 GMT", Timestamp(NOON + 1_000_000)) == 29


@given(text=st.text(max_size=80), now=st.integers(0, 2**53))
def test_retry_after_takes_any_text(text: str, now: int) -> None:
    seconds = parse_retry_after(text, Timestamp(now))
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER


@given(attempt=st.integers(-5, 10_000), randomness=st.floats(0, 1, exclude_max=True))
def test_backoff_is_between_half_and_whole_of_a_bounded_doubling(attempt: int, randomness: float) -> None:
    ceiling = min(60.0, 0.5 * 2.0 ** min(max(attempt, 0), 20))
    assert ceiling / 2 <= backoff(attempt, randomness) <= ceiling


def test_backoff_doubles() -> None:
    assert [backoff(attempt, 0.0) for attempt in range(4)] == [0.25, 0.5, 1.0, 2.0]
    assert backoff(3, 0.5, first=1.0, longest=4.0) == 3.0
