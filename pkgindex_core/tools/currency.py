"""Whether an answer that was reached earlier is still current: nothing that it was reached from was touched since.

    moment = currency.moment()          # before anything is read
    …                                   # read, decide, keep the answer with its moment
    await currency.catch_up()           # later: hear of the commits since, if there are any
    currency.holds(moment, keys=…)      # nothing that the answer depends on was touched after that moment

A moment counts what this process has heard, and means nothing elsewhere. A commit is heard of after it is made, so one that falls
between taking the moment and reading is later than the moment: the answer is given up although it may have seen the commit, and
never the other way round. What is remembered is bounded: what was touched longest ago is forgotten first, and from then on
everything that is not remembered counts as touched at that moment.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, NewType, TypeVar

from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, Touched
from pkgindex_core.tools.single_flight import SingleFlight

Moment = NewType("Moment", int)
"""A point in the life of one `Currency`; later is larger."""

Key = TypeVar("Key", bound=Hashable)

_REMEMBERED: Final = 20_000
"""Projects; some megabytes."""


class Currency:
    """What was touched lately in one store. Used from one event loop; one for all that keep answers."""

    def __init__(self, store: ChangeLog, *, remembered: int = _REMEMBERED) -> None:
        """`remembered`: how many projects, and how many indexes, touches are remembered of."""
        self._store = store
        self._upto = store.seen()
        self._now = Moment(0)
        self._tree = Moment(0)
        self._identities = Moment(0)
        self._projects: _Latest[tuple[IndexName, ProjectName]] = _Latest(remembered)
        # An index as a whole, which touches each of its projects; and any part of an index, one of its projects for instance.
        self._wholes: _Latest[IndexName] = _Latest(remembered)
        self._parts: _Latest[IndexName] = _Latest(remembered)
        self._hearing: SingleFlight[None] = SingleFlight()

    def moment(self) -> Moment:
        """Now. Taken before the first read of what is going to be kept."""
        return self._now

    async def catch_up(self) -> None:
        """Hear of every commit that the store sees by now. Without news nothing is awaited.

        All who call meanwhile share one question to the store. Raises what the store raises; then nothing was heard.
        """
        seen = self._store.seen()
        while self._upto < seen:  # a question that was under way may be older than what this caller has seen
            await self._hearing.get(None, self._hear)

    def holds(
        self,
        moment: Moment,
        *,
        tree: bool = True,
        identities: bool = False,
        keys: Iterable[tuple[IndexName, ProjectName]] = (),
        indexes: Iterable[IndexName] = (),
    ) -> bool:
        """Whether nothing of this was touched after a moment, as far as was heard.

        `tree`: the indexes and their options. `identities`: users and tokens. `keys`: projects in indexes. `indexes`: all that is in
        these, their projects and lists of names.
        """
        if moment >= self._now:
            return True
        if (tree and self._tree > moment) or (identities and self._identities > moment):
            return False
        projects, wholes = self._projects, self._wholes
        for key in keys:
            if projects.moments.get(key, projects.floor) > moment or wholes.moments.get(key[0], wholes.floor) > moment:
                return False
        parts = self._parts
        return all(parts.moments.get(index, parts.floor) <= moment for index in indexes)

    def touch(self, index: IndexName, project: ProjectName) -> None:
        """Something of a project reads differently from now on, although nothing was committed.

        Called when it does, in one step with what makes it so: nothing is awaited in between.
        """
        self._touch_projects([(index, project)], self._next())

    async def _hear(self) -> None:
        seen = self._store.seen()
        touched = await self._store.touched(self._upto)
        now = self._next()
        if isinstance(touched, Touched):
            self._upto = max(self._upto, touched.upto)
            self._touch(touched, now)
        else:
            self._upto = max(self._upto, seen)
            self._tree = self._identities = now
            for latest in (self._projects, self._wholes, self._parts):
                latest.set_all(now)

    def _next(self) -> Moment:
        self._now = Moment(self._now + 1)
        return self._now

    def _touch(self, touched: Touched, now: Moment) -> None:
        if touched.tree:
            self._tree = now
        if touched.identities:
            self._identities = now
        self._touch_projects(touched.projects, now)
        for index in touched.indexes:
            self._wholes.set(index, now)
        for index in touched.indexes | touched.names:
            self._parts.set(index, now)

    def _touch_projects(self, keys: Iterable[tuple[IndexName, ProjectName]], now: Moment) -> None:
        for key in keys:
            self._projects.set(key, now)
            self._parts.set(key[0], now)


class _Latest(Generic[Key]):
    """The moment at which each key was touched last; of a key that is not there, `floor` at the latest."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.moments: dict[Key, Moment] = {}
        """The one that was touched longest ago comes first."""
        self.floor = Moment(0)

    def set(self, key: Key, moment: Moment) -> None:
        self.moments.pop(key, None)
        self.moments[key] = moment
        if len(self.moments) > self._most:
            self.floor = self.moments.pop(next(iter(self.moments)))

    def set_all(self, moment: Moment) -> None:
        self.moments.clear()
        self.floor = moment
