"""How old is too old, and how long to wait before asking again.

Pure arithmetic on times that are handed in. Intervals are measured on the monotonic clock, so that a wall clock
which is set back does not keep a page fresh for ever; only `Retry-After` dates need the wall clock.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from pkgindex_core.clock import Timestamp

LONGEST_RETRY_AFTER = 86_400
"""Seconds. Nobody's answer keeps us from asking for longer than a day."""

_HEADER_LIMIT = 64
_EXPONENT_LIMIT = 32


def is_fresh(checked: float | None, now: float, expiry: float) -> bool:
    """Whether what was checked at one monotonic moment needs no check at another.

    `checked` None: never in this process. An `expiry` of 0 or less: always ask.
    """
    return checked is not None and now - checked < expiry


def parse_retry_after(text: str | None, now: Timestamp) -> int | None:
    """Read a Retry-After header (RFC 9110 10.2.3): seconds, or a date, which is turned into seconds from now.

    Whole seconds, rounded up, between 0 and `LONGEST_RETRY_AFTER`; None when there is none or it cannot be read.
    """
    if text is None or len(text) > _HEADER_LIMIT:
        return None
    value = text.strip()
    if value.isascii() and value.isdigit():
        return min(int(value), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000": a date without a zone; HTTP dates are always in GMT
            moment = moment.replace(tzinfo=UTC)
        micros = int(moment.timestamp()) * 1_000_000 - now
    except (ValueError, OverflowError, IndexError, TypeError):  # what email.utils raises for dates that are none
        return None
    return min(max(-(-micros // 1_000_000), 0), LONGEST_RETRY_AFTER)


def backoff(attempt: int, randomness: float, *, first: float = 0.5, longest: float = 60.0) -> float:
    """Seconds to wait before trying again after `attempt` failures (0 for the first).

    Doubles up to `longest`. `randomness` (0 <= r < 1) spreads the upper half, so that servers which failed together do
    not return together, and nobody returns at once.
    """
    ceiling = min(longest, first * 2.0 ** min(max(attempt, 0), _EXPONENT_LIMIT))
    return ceiling / 2 + ceiling / 2 * randomness
