"""When an upstream that keeps failing is left alone.

Pure: the caller passes the time. Closed: every request is permitted. The breaker opens after `failures` in a row, or after one failure
if the host is down or asked for a rest. Open: only a probe is permitted, the first one after `first` seconds. The gap doubles up to
`interval`. A probe that succeeds closes the breaker.
"""

from __future__ import annotations


class CircuitBreaker:
    """One upstream host's state. Not persisted: a restart asks again."""

    def __init__(self, *, failures: int, interval: float, first: float | None = None) -> None:
        self._threshold = failures
        self._interval = interval
        self._first = interval if first is None else min(first, interval)
        self._gap = 0.0
        self._failed = 0
        self._probe_at = 0.0
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        return self._failed >= self._threshold

    def permits(self, now: float) -> bool:
        """Whether to ask now. An open breaker permits one request per gap, the probe."""
        if not self.is_open:
            return True
        if now < self._probe_at:
            return False
        self._probe_at = now + self._gap
        self._is_probing = True
        return True

    def remaining(self, now: float) -> float:
        """Seconds until the next probe."""
        return max(self._probe_at - now, 0.0) if self.is_open else 0.0

    def succeeded(self) -> None:
        self._failed = 0
        self._gap = self._probe_at = 0.0
        self._is_probing = False

    def failed(self, now: float, *, down: bool = False, rest: float = 0.0) -> None:
        """Count a failure. `down`: the host cannot be reached. `rest`: seconds for which the host asked not to be asked."""
        self._failed = max(self._failed + 1, self._threshold if down or rest else 0)
        if not self.is_open:
            return
        if not self._gap:
            self._gap = self._first
        elif self._is_probing:
            self._gap = min(self._gap * 2, self._interval)
        else:  # sent before the breaker opened: no news
            self._probe_at = max(self._probe_at, now + rest)
            return
        self._is_probing = False
        self._probe_at = max(self._probe_at, now + max(self._gap, rest))
