"""The one source of time, so that tests own it.

Wall time is stored and shown; monotonic time measures intervals. Nothing below the programs calls `time.time`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import NewType, Protocol

Timestamp = NewType("Timestamp", int)
"""Microseconds since 1970-01-01T00:00:00 UTC."""


class Clock(Protocol):
    """Tells the time. The contract suite is `pkgindex_core.testing.clocks`."""

    def now(self) -> Timestamp:
        """Read the wall clock: microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Read a clock in seconds that never goes back."""
        ...


class SystemClock:
    def now(self) -> Timestamp:
        return Timestamp(time.time_ns() // 1000)

    def monotonic(self) -> float:
        return time.monotonic()


def to_rfc3339(moment: Timestamp) -> str:
    """Write a moment as PEP 700 wants it: UTC, at most six fraction digits, `Z`.

    >>> to_rfc3339(Timestamp(1_600_000_000_000_000))
    '2020-09-13T12:26:40Z'
    """
    text = datetime.fromtimestamp(moment // 1_000_000, UTC).isoformat()[:19]  # half the time of `strftime`
    micros = moment % 1_000_000
    return f"{text}.{micros:06d}Z" if micros else f"{text}Z"


def minute_of(moment: Timestamp | None) -> str:
    """The minute of a moment in UTC, as people read it; empty for None.

    >>> minute_of(Timestamp(1_600_000_000_000_000))
    '2020-09-13 12:26'
    """
    return "" if moment is None else to_rfc3339(moment)[:16].replace("T", " ")


def from_rfc3339(text: str) -> Timestamp | None:
    """Read an upload time; None when it cannot be read. A time without a zone is taken as UTC."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError:
        return None
    return Timestamp((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)
