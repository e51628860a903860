"""When an upstream that keeps failing is left alone.

Pure: the caller passes the time. Closed: everything is asked. After `failures` in a row it is open: nothing is asked, what is known is
served at once, and one probe per `interval` is let through. A probe that succeeds closes it again.
"""

from __future__ import annotations


class CircuitBreaker:
    """One upstream host's state. Not persisted: a restart asks again."""

    def __init__(self, *, failures: int, interval: float) -> None:
        self._threshold = failures
        self._interval = interval
        self._failed = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._failed >= self._threshold

    def permits(self, now: float) -> bool:
        """Whether to ask. When open, True is given once per interval: the caller is the probe."""
        if not self.is_open:
            return True
        if now < self._probe_at:
            return False
        self._probe_at = now + self._interval
        return True

    def remaining(self, now: float) -> float:
        """Seconds until the next probe."""
        return max(self._probe_at - now, 0.0) if self.is_open else 0.0

    def succeeded(self) -> None:
        self._failed = 0

    def failed(self, now: float, *, retry_after: float | None = None) -> None:
        """Count a failure. A `retry_after` beyond the interval is respected once the breaker is open."""
        self._failed += 1
        if self.is_open:
            self._probe_at = max(self._probe_at, now + max(self._interval, retry_after or 0.0))
