"""What recent commits touched: this process's own from memory, those of other processes from the log.

The writer's thread notes a commit after it is durable, so nothing is noted that the log does not have. A commit that is
not in memory (another process made it, or it was forgotten) is read and decoded; a long one is not worth that.
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
"""So much of the log, as it is stored, is decoded for one answer: two thousand files of a mirror, 2 ms."""
KEYS_KEPT: Final = 20_000
"""Projects named by the commits that are kept in memory: some megabytes."""


class Touches:
    """Answers for one `SqliteIndex`."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        # By serial, oldest first. Only the writer's thread changes it; the event loop's takes single values out.
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
        """What the commits behind `after` touched, `upto` included."""
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
        # Its length is known without reading the value.
        size = reader.row("SELECT length(changes) FROM commits WHERE serial = ?", (serial,))
        if size is None or (left := left - size[0]) < 0:
            return EVERYTHING
        for packed, data in reader.rows("SELECT packed, changes FROM commits WHERE serial = ?", (serial,)):
            found.append(touched_by(changes_of(packed, data), serial))
    return together(found, serials[-1])
