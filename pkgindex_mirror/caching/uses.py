"""The times at which files were last given to clients: exact in memory, and to a minute in notes.

Notes are written in batches, some seconds later. A kill loses the uses that were not written. Then a file may be removed before another one
that was used less recently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.storing import Storing
from pkgindex_mirror.caching.notes import CacheNotes

LINGER: Final = 5.0
"""Seconds in which uses gather before they are written together."""
GRAIN: Final = 60_000_000
"""Microseconds after which another use of the same file is written."""
_MOST: Final = 2_000
"""Number of uses that may wait to be written. Further ones are only in memory."""
_REMEMBERED: Final = 50_000


class Uses:
    """The last uses, as this process saw them."""

    def __init__(self, notes: CacheNotes, clock: Clock) -> None:
        self._notes = notes
        self._clock = clock
        self._last: BoundedCache[Sha256, Timestamp] = BoundedCache(_REMEMBERED)
        self._written: BoundedCache[Sha256, Timestamp] = BoundedCache(_REMEMBERED)
        self._watched: set[Sha256] | None = None
        self._waiting: dict[Sha256, Timestamp] = {}
        self._storing = Storing(self._store, what="times of use of mirrored files", limit=_MOST, linger=LINGER)

    def note(self, key: Sha256) -> None:
        """Note that a file is used now."""
        now = self._clock.now()
        self._last.put(key, now)
        if self._watched is not None:
            self._watched.add(key)
        if now - (self._written.get(key) or 0) < GRAIN or (key not in self._waiting and len(self._waiting) >= _MOST):
            return
        self._written.put(key, now)
        if key not in self._waiting:
            self._storing.added(1)
        self._waiting[key] = now

    def last(self, key: Sha256) -> Timestamp:
        """The last use in this process; 0 when none is known."""
        return self._last.get(key) or Timestamp(0)

    @contextmanager
    def watched(self) -> Iterator[set[Sha256]]:
        """The files that are used inside the context. One context at a time."""
        self._watched = set()
        try:
            yield self._watched
        finally:
            self._watched = None

    async def settle(self) -> None:
        """Write the waiting uses now."""
        await self._storing.settle()

    async def close(self) -> None:
        await self._storing.close()

    async def _store(self) -> None:
        batch = dict(self._waiting)
        await self._notes.put_used(batch)
        for key, moment in batch.items():
            if self._waiting[key] == moment:
                del self._waiting[key]
                self._storing.gone(1)
