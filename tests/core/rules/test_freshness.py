"""Ages, Retry-After, back-off."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.clock import Timestamp
from pkgindex_core.rules.freshness import LONGEST_RETRY_AFTER, backoff, is_fresh, parse_retry_after

NOON = Timestamp(1_792_584_000_000_000)  # Wed, 21 Oct 2026 12:00:00 GMT


def test_fresh_until_the_expiry_and_not_at_it() -> None:
    assert is_fresh(100.0, 100.0, 30)
    assert is_fresh(100.0, 129.9, 30)
    assert not is_fresh(100.0, 130.0, 30)


def test_what_was_never_checked_is_not_fresh() -> None:
    assert not is_fresh(None, 0.0, 1800)


def test_an_expiry_of_zero_asks_always() -> None:
    assert not is_fresh(100.0, 100.0, 0)


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
