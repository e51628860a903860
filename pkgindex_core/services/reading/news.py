"""The news of hosted indexes: new files and yanks, from the log of commits.

The log is read once. The latest news of an index are kept, and later only newer commits are read. The first time it is read backwards, until
there is enough or `_LOOKED_BACK` commits were read: a feed tells what is new, and the index itself what there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.changes import Change, DropIndex, PutFile, YankFile
from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight

MOST: Final = 50
"""The most news of an index."""
_LOOKED_BACK: Final = 10_000
_BATCH: Final = 500
_INDEXES: Final = 200


class News(Struct, frozen=True, kw_only=True):
    """One event in an index."""

    serial: Serial
    at: Timestamp
    who: str
    project: ProjectName
    filename: str
    version: str
    """Empty for a yank: the file tells it."""
    yanked: bool | str | None
    """For a yank its reason or True, and False when it was lifted. None: the file is new."""


class _IndexNews(Struct):
    upto: Serial
    """The last commit that was read."""
    news: deque[News]
    """The newest last."""


class RecentNews:
    """Remembers the latest news of indexes."""

    def __init__(self, *, store: ChangeLog) -> None:
        self._store = store
        self._kept: BoundedCache[IndexName, _IndexNews] = BoundedCache(_INDEXES)
        self._reading: SingleFlight[Sequence[News]] = SingleFlight()

    async def soon(self, index: IndexName, *, seconds: float) -> Sequence[News]:
        """The news of an index as `of` returns them, or none if reading them takes longer. They are read nevertheless, for the next caller."""
        return await self._reading.join(index, lambda: self.of(index)).wait(seconds) or ()

    async def of(self, index: IndexName) -> Sequence[News]:
        """The news of an index, the newest first. The caller checks who may read them, and whether the files are still shown."""
        head = await self._store.head()
        known = self._kept.get(index)
        if known is None or head - known.upto > _LOOKED_BACK:
            known = await self._looked_back(index, head)
        # Another request may read the same news meanwhile, and would append them a second time.
        known = _IndexNews(known.upto, known.news.copy())
        while known.upto < head:
            commits = await self._store.commits(known.upto, limit=_BATCH)
            if not commits:
                break
            for commit in commits:
                for change in commit.changes:
                    if isinstance(change, DropIndex) and change.name == index:
                        known.news.clear()
                    elif (news := _news(index, commit.serial, commit.at, commit.who, change)) is not None:
                        known.news.append(news)
            known = _IndexNews(commits[-1].serial, known.news)
        self._kept.put(index, known)
        return tuple(reversed(known.news))

    async def _looked_back(self, index: IndexName, head: Serial) -> _IndexNews:
        """Read backwards from the head."""
        found: list[News] = []
        upto = head
        while upto > max(0, head - _LOOKED_BACK) and len(found) < MOST:
            after = Serial(max(0, upto - _BATCH))
            for commit in reversed(await self._store.commits(after, limit=upto - after)):
                for change in reversed(commit.changes):
                    if isinstance(change, DropIndex) and change.name == index:
                        return _IndexNews(head, deque(reversed(found), maxlen=MOST))
                    if (news := _news(index, commit.serial, commit.at, commit.who, change)) is not None:
                        found.append(news)
            upto = after
        return _IndexNews(head, deque(reversed(found[:MOST]), maxlen=MOST))


def _news(index: IndexName, serial: Serial, at: Timestamp, who: str, change: Change) -> News | None:
    match change:
        case PutFile(index=where, project=project, file=file) if where == index:
            return News(
                serial=serial,
                at=at,
                who=who,
                project=project,
                filename=file.filename,
                version=file.version,
                yanked=None,
            )
        case YankFile(index=where, project=project, filename=filename, yanked=yanked) if where == index:
            return News(serial=serial, at=at, who=who, project=project, filename=filename, version="", yanked=yanked)
    return None
