"""Whether to ask again, and after how long.

Pure: the caller reads the clock, draws the random number and sleeps. No wait goes beyond the deadline of the whole operation.
"""

from __future__ import annotations

import math

from msgspec import Struct

from pkgindex_core.rules.freshness import backoff


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """Bounds of the attempts of one operation. Times in seconds."""

    attempts: int = 3
    first: float = 0.25
    longest: float = 8.0
    deadline: float = 60.0
    """For the whole operation, from its first attempt to its last byte."""
    patience: float = math.inf
    """The longest `Retry-After` that is waited for. After a longer one the operation fails."""

    def wait(self, attempt: int, *, elapsed: float, dice: float, retry_after: float | None = None) -> float | None:
        """Seconds to wait after the `attempt`-th failure (from 1); None: give up. `dice` is uniform in [0, 1).

        A `Retry-After` is waited in full or not at all.
        """
        if attempt >= self.attempts:
            return None
        pause = backoff(attempt - 1, dice, first=self.first, longest=self.longest)
        if retry_after is not None:
            if retry_after > self.patience:
                return None
            pause = max(pause, retry_after)
        return pause if elapsed + pause < self.deadline else None
