"""Counts what upstreams answered, by origin: answers, failures, bytes and latency. Plain numbers, changed from one event loop."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from pkgindex_core.tools.bounded_cache import BoundedCache

BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds in seconds of the latency of upstreams."""
_UPSTREAMS: Final = 1000


class UpstreamCounts:
    """The counts of one upstream, or of all other hosts together."""

    def __init__(self) -> None:
        self.answers = dict.fromkeys(("2xx", "3xx", "4xx", "5xx", "none"), 0)
        self.failures: dict[str, int] = {}
        self.received = 0
        self.latencies = [0] * (len(BOUNDS) + 1)
        self.waited = 0.0
        """The sum of all latencies in seconds."""

    def replied(self, status: int, seconds: float) -> None:
        """Count the head of an answer."""
        self.answers[f"{min(max(status // 100, 2), 5)}xx"] += 1
        self.latencies[bisect_left(BOUNDS, seconds)] += 1
        self.waited += seconds

    def failed(self, kind: str) -> None:
        """Count a failure of this kind (`upstream_answers.Failure`)."""
        self.failures[kind] = self.failures.get(kind, 0) + 1


class UpstreamsCounts:
    """The counts of upstreams by their origin. All hosts to which only pages and redirects lead share one."""

    def __init__(self) -> None:
        self._counts: BoundedCache[str, UpstreamCounts] = BoundedCache(_UPSTREAMS)
        self.others = UpstreamCounts()

    def of(self, origin: str) -> UpstreamCounts:
        """The counts of the origin of a mirror's upstream."""
        counts = self._counts.get(origin)
        if counts is None:
            counts = UpstreamCounts()
            self._counts.put(origin, counts)
        return counts
