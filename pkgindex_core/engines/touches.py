"""The things that recent commits touched: from memory for this process, from the log for others.

The writer records a commit after it is durable. A commit that is not in memory (of another process, or forgotten) is read
from the log and decoded. If that is too long, the answer is `Everything`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pkgindex_core.changes import Commit
from pkgindex_core.models import Serial
from pkgindex_core.protocols.index_store import EVERYTHING, Everything, Touched
from pkgindex_core.rules.touching import MOST_COMMITS, together, touched_by

LOG_BYTES: Final = 256 * 1024
"""Most stored bytes of the log that are decoded for one answer: two thousand files of a mirror, 2 ms."""
KEYS_KEPT: Final = 20_000
"""Most projects that the commits in memory name: some megabytes."""


class Touches:
    """Answers for one store."""

    def __init__(self, read: Callable[[Sequence[Serial]], Awaitable[Touched | Everything]]) -> None:
        """`read` looks into the log, at commits in order. It decodes at most `LOG_BYTES`."""
        self._read = read
        # By serial, oldest first. Only the writer changes it, in SQLite its thread; the event loop's thread reads single values.
        self._own: dict[Serial, Touched] = {}
        self._keys = 0

    def note(self, commit: Commit) -> None:
        """Keep what a commit of this process touched. Called by the writer."""
        touched = touched_by(commit.changes, commit.serial)
        self._own[commit.serial] = touched
        self._keys += _size(touched)
        while self._keys > KEYS_KEPT or len(self._own) > MOST_COMMITS:
            self._keys -= _size(self._own.pop(next(iter(self._own))))

    async def between(self, after: Serial, upto: Serial) -> Touched | Everything:
        """The things that the commits after `after`, up to and with `upto`, touched."""
        if upto - after > MOST_COMMITS:
            return EVERYTHING
        found: list[Touched] = []
        unknown: list[Serial] = []
        for serial in map(Serial, range(max(after, 0) + 1, upto + 1)):
            own = self._own.get(serial)
            if own is not None:
                found.append(own)
            else:
                unknown.append(serial)
        if unknown:
            read = await self._read(unknown)
            if not isinstance(read, Touched):
                return EVERYTHING
            found.append(read)
        return together(found, upto)


def _size(touched: Touched) -> int:
    return len(touched.projects)
