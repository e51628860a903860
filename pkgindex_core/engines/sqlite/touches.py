"""The things that recent commits touched: from memory for this process, from the log for others.

The writer's thread records a commit after it is durable. A commit that is not in memory (of another process, or forgotten) is read
from the log and decoded. If that is too long, the answer is `Everything`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from pkgindex_core.changes import Commit
from pkgindex_core.engines.sqlite.queries import Reader, changes_of
from pkgindex_core.engines.sqlite.readers import Readers
from pkgindex_core.models import Serial
from pkgindex_core.protocols.index_store import EVERYTHING, Everything, Touched
from pkgindex_core.rules.touching import MOST_COMMITS, together, touched_by

LOG_BYTES: Final = 256 * 1024
"""Most stored bytes of the log that are decoded for one answer: two thousand files of a mirror, 2 ms."""
KEYS_KEPT: Final = 20_000
"""Most projects that the commits in memory name: some megabytes."""


class Touches:
    """Answers for one `SqliteIndex`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        # By serial, oldest first. Only the writer's thread changes it; the event loop's thread reads single values.
        self._own: dict[Serial, Touched] = {}
        self._keys = 0

    def note(self, commit: Commit) -> None:
        """Keep what a commit of this process touched. Called in the writer's thread."""
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
            read = await self._readers.in_thread(partial(_read, serials=unknown))
            if not isinstance(read, Touched):
                return EVERYTHING
            found.append(read)
        return together(found, upto)


def _size(touched: Touched) -> int:
    return len(touched.projects)


def _read(reader: Reader, serials: Sequence[Serial]) -> Touched | Everything:
    left = LOG_BYTES
    found = []
    for serial in serials:
        # SQLite knows the length without reading the value.
        size = reader.row("SELECT length(changes) FROM commits WHERE serial = ?", (serial,))
        if size is None or (left := left - size[0]) < 0:
            return EVERYTHING
        for packed, data in reader.rows("SELECT packed, changes FROM commits WHERE serial = ?", (serial,)):
            found.append(touched_by(changes_of(packed, data), serial))
    return together(found, serials[-1])
