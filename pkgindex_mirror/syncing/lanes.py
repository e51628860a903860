"""How many transfers from one host are under way at once: as many as it takes without trouble.

A lane begins with a few, doubles the number for each round without trouble, and halves it after a failure; from then on a round adds
one. Two halvings are at least a second apart, so that one hiccup that breaks many transfers counts once. Pure.
"""

from __future__ import annotations

from typing import Final

_APART: Final = 1.0
"""Seconds between two halvings."""


class AdaptiveLimit:
    """The limit of one host."""

    def __init__(self, *, most: int, first: int = 8) -> None:
        self.limit = max(1, min(first, most))
        self._most = max(1, most)
        self._round = 0
        self._doubles = True
        self._halved = -_APART

    def succeeded(self) -> None:
        """Count a transfer that worked."""
        self._round += 1
        if self._round >= self.limit:
            self._round = 0
            self.limit = min(self._most, self.limit * 2 if self._doubles else self.limit + 1)

    def failed(self, now: float) -> None:
        """Count a transfer that shows trouble of the host. `now` is monotonic, in seconds."""
        if now - self._halved < _APART:
            return
        self._halved = now
        self._doubles = False
        self._round = 0
        self.limit = max(1, self.limit // 2)
