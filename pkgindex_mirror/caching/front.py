"""The front of the order in memory: the entries of the files that are removed next.

Other processes change the order too, so the front is forgotten now and then (`clear`). If another process has put a file into this part of the
order since, this process removes it later than it should. That does no harm.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Awaitable, Callable, Sequence

from pkgindex_mirror.caching.notes import Entry

Read = Callable[[Entry | None], Awaitable[Sequence[Entry]]]
"""Reads some of the entries behind the given one, or the first ones for None. Returns none when there are no more."""


class Front:
    """All entries of the order up to the last one that was read."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._entries: list[Entry] = []
        self._end: Entry | None = None

    async def after(self, last: Entry | None) -> Entry | None:
        """The next entry behind `last`, or the first one for None. Returns None when there are no more."""
        while (start := bisect_right(self._entries, last) if last is not None else 0) == len(self._entries):
            more = await self._read(self._end)
            if not more:
                return None
            self._entries += more
            self._end = more[-1]
        return self._entries[start]

    def add(self, entry: Entry) -> None:
        """Add an entry that was written."""
        if self._end is not None and entry <= self._end:
            insort(self._entries, entry)

    def drop(self, entry: Entry) -> None:
        """Drop an entry that was removed."""
        place = bisect_left(self._entries, entry)
        if self._entries[place : place + 1] == [entry]:
            del self._entries[place]

    def clear(self) -> None:
        """Forget what was read."""
        self._entries.clear()
        self._end = None
