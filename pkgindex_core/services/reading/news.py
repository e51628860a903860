"""The news of hosted indexes: new files and yanks, from the log of commits.

The log is read once for all indexes: at first its last `_LOOKED_BACK` commits, and later only newer ones. A feed tells what is new, and the index
itself what there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.changes import Change, Commit, DropIndex, PutFile, YankFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog
from pkgindex_core.tools.single_flight import SingleFlight

MOST: Final = 50
"""The most news of an index."""
_LOOKED_BACK: Final = 10_000
_BATCH: Final = 500


class News(Struct, frozen=True, kw_only=True):
    """One event in an index."""

    serial: Serial
    at: Timestamp
    who: str
    project: ProjectName
    filename: str
    yanked: bool | str | None
    """For a yank its reason or True, and False when it was lifted. None: the file is new."""


class RecentNews:
    """Remembers the latest news of indexes."""

    def __init__(self, *, store: ChangeLog) -> None:
        self._store = store
        self._upto = Serial(0)
        """The last commit that was read."""
        self._news: dict[IndexName, deque[News]] = {}
        """The newest last."""
        self._reading: SingleFlight[Serial] = SingleFlight()

    async def soon(self, index: IndexName, *, seconds: float) -> Sequence[News]:
        """The news of an index, or none if reading the log takes longer. It is read nevertheless, for the next caller."""
        if await self._reading.join(None, self._read).wait(seconds) is None:
            return ()
        return self._latest(index)

    async def of(self, index: IndexName) -> Sequence[News]:
        """The news of an index, the newest first. The caller checks who may read them, and whether the files are still shown."""
        head = await self._store.head()
        while self._upto < head:  # a read that was under way may have begun before the commit that this caller knows
            await self._reading.get(None, self._read)
        return self._latest(index)

    def _latest(self, index: IndexName) -> Sequence[News]:
        return tuple(reversed(self._news.get(index, ())))

    async def _read(self) -> Serial:
        """Read the log up to the head."""
        head = await self._store.head()
        if head - self._upto > _LOOKED_BACK:
            self._news.clear()
            self._upto = Serial(head - _LOOKED_BACK)
        while self._upto < head:
            commits = await self._store.commits(self._upto, limit=_BATCH)
            for commit in commits:
                for change in commit.changes:
                    self._take(commit, change)
            self._upto = commits[-1].serial if commits else head
        return head

    def _take(self, commit: Commit, change: Change) -> None:
        if isinstance(change, DropIndex):
            self._news.pop(change.name, None)
        elif isinstance(change, PutFile | YankFile):
            self._news.setdefault(change.index, deque(maxlen=MOST)).append(_news(commit, change))


def _news(commit: Commit, change: PutFile | YankFile) -> News:
    filename, yanked = (change.file.filename, None) if isinstance(change, PutFile) else (change.filename, change.yanked)
    return News(
        serial=commit.serial,
        at=commit.at,
        who=commit.who,
        project=change.project,
        filename=filename,
        yanked=yanked,
    )
