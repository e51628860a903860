"""How long to wait before asking again, and when to stop asking.

Pure: the caller has the clock, the dice and the sleep. A wait never goes beyond the deadline of the whole
operation: an attempt that could not begin in time is not made.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from msgspec import Struct

RETRY_AFTER_LIMIT = 86_400.0
"""An upstream that asks for more than a day is asked again after a day."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter, bounded in number and in time. Seconds."""

    attempts: int = 3
    first: float = 0.25
    longest: float = 8.0
    deadline: float = 60.0
    """For the whole operation, from its first attempt to its last byte."""

    def wait(self, attempt: int, *, elapsed: float, dice: float, retry_after: float | None = None) -> float | None:
        """Seconds to wait after the `attempt`-th failure (from 1); None: give up.

        `dice` is uniform in [0, 1). Full jitter on the upper half keeps many waiters from returning together.
        What the upstream asked for (`Retry-After`) is waited in full or not at all.
        """
        if attempt >= self.attempts:
            return None
        ceiling = min(self.first * 2.0 ** (attempt - 1), self.longest)
        pause = ceiling * (0.5 + dice / 2)
        if retry_after is not None:
            pause = max(pause, retry_after)
        return pause if elapsed + pause < self.deadline else None


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from `now`; None when it says nothing (RFC 9110 10.2.3)."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), RETRY_AFTER_LIMIT)
    try:
        moment = parsedate_to_datetime(text)
        seconds = moment.timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT)
