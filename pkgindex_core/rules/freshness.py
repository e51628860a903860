"""How long answers may be used, and how long to wait before the next attempt.

Pure arithmetic on given times. Intervals are measured on the monotonic clock, so that a wall clock that is set back does
not keep a page fresh for ever. Only `Retry-After` dates need the wall clock.
"""

from __future__ import annotations

from datetime import UTC

from pkgindex_core.clock import Timestamp

LONGEST_RETRY_AFTER = 86_400
"""The longest time in seconds for which a `Retry-After` is respected."""

LONGEST_LIFETIME = 31_536_000
"""The longest lifetime in seconds, a year. A longer one is read as this."""

_HEADER_LIMIT = 64
_CACHE_CONTROL_LIMIT = 512
_EXPONENT_LIMIT = 32


def parse_lifetime(cache_control: str, age: str) -> int | None:
    """Read from `Cache-Control` and `Age` how many seconds a shared cache may use an answer without asking again (RFC 9111 4.2, 5.2.2).

    `s-maxage` counts more than `max-age`. `no-store`, `no-cache`, `private` and unreadable seconds are 0. None: the answer does not say.
    """
    directives: dict[str, str] = {}
    for part in cache_control[:_CACHE_CONTROL_LIMIT].lower().split(","):
        name, _, value = part.strip().partition("=")
        directives.setdefault(name.strip(), value.strip().strip('"'))
    if directives.keys() & {"no-store", "no-cache", "private"}:
        return 0
    stated = directives.get("s-maxage", directives.get("max-age"))
    if stated is None:
        return None
    return max(_seconds(stated) - _seconds(age.strip()[:_HEADER_LIMIT]), 0)


def _seconds(text: str) -> int:
    return min(int(text), LONGEST_LIFETIME) if text.isascii() and text.isdigit() else 0


def parse_retry_after(text: str | None, now: Timestamp) -> int | None:
    """Read a Retry-After header (RFC 9110 10.2.3): seconds, or a date, which is converted to seconds from now.

    Returns whole seconds, rounded up, from 0 to `LONGEST_RETRY_AFTER`; None when the header is missing or unreadable.
    """
    if text is None or len(text) > _HEADER_LIMIT:
        return None
    value = text.strip()
    if value.isascii() and value.isdigit():
        return min(int(value), LONGEST_RETRY_AFTER)
    from email.utils import parsedate_to_datetime  # ten modules, for a form that few servers send

    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # "-0000": a date without a zone; HTTP dates are always in GMT
            moment = moment.replace(tzinfo=UTC)
        micros = int(moment.timestamp()) * 1_000_000 - now
    except (ValueError, OverflowError, IndexError, TypeError):  # email.utils raises these for text that is not a date
        return None
    return min(max(-(-micros // 1_000_000), 0), LONGEST_RETRY_AFTER)


def backoff(attempt: int, randomness: float, *, first: float = 0.5, longest: float = 60.0) -> float:
    """Seconds to wait before trying again after `attempt` failures (0 for the first).

    Doubles up to `longest`. `randomness` (0 <= r < 1) moves the delay within its upper half, so that servers which failed
    together do not return together, and none returns at once.
    """
    ceiling = min(longest, first * 2.0 ** min(max(attempt, 0), _EXPONENT_LIMIT))
    return ceiling / 2 + ceiling / 2 * randomness
