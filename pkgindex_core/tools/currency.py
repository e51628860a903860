"""Tells whether a kept result is still current: nothing that it depends on was touched since it was made.

    moment = currency.moment()          # before anything is read
    …                                   # read, decide, keep the result with its moment
    await currency.catch_up()           # later: learn of new commits, if there are any
    currency.holds(moment, keys=…)      # whether the result's dependencies were not touched after that moment

Moments are local to the process. A process learns of a commit after it was made. A commit between the moment and the read
therefore counts as later than the moment: a result may be dropped without need, but an outdated one is never kept. The number
of remembered touches is bounded. The oldest ones are forgotten first, and everything that is not remembered counts as touched
at the moment of the last forgotten touch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, NewType, TypeAlias, TypeVar

from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, Touched
from pkgindex_core.tools.single_flight import SingleFlight

Moment = NewType("Moment", int)
"""A point in the life of one `Currency`; later is larger."""

Holds: TypeAlias = Callable[[], bool]
"""Tells whether an earlier result would be the same now. Never waits; False also means that this is not known without waiting.
It is asked only while `Currency.known` returns a serial."""

Holding: TypeAlias = Callable[[], Holds | None]
"""Makes the `Holds` of a result that was just reached; None if nothing can tell."""

Key = TypeVar("Key", bound=Hashable)

_REMEMBERED: Final = 20_000
"""The number of remembered projects; they take some megabytes."""


class Currency:
    """Remembers the latest touches in one store. Used in one event loop and shared by all caches."""

    def __init__(self, store: ChangeLog, *, remembered: int = _REMEMBERED) -> None:
        """`remembered`: the number of projects, and of indexes, whose touches are remembered."""
        self._store = store
        self._upto = store.seen()
        self._now = Moment(0)
        self._tree = Moment(0)
        self._identities = Moment(0)
        self._projects: _Latest[tuple[IndexName, ProjectName]] = _Latest(remembered)
        # Touches of a whole index, with all its projects; and touches of any part of an index.
        self._wholes: _Latest[IndexName] = _Latest(remembered)
        self._parts: _Latest[IndexName] = _Latest(remembered)
        self._hearing: SingleFlight[None] = SingleFlight()
        self._shown: set[Serial] = set()
        """Commits that this process has not heard of yet, and that changed none of its reads."""

    def moment(self) -> Moment:
        """The present moment. Take it before the first read for a result."""
        return self._now

    async def catch_up(self) -> None:
        """Learn of every commit that was acknowledged before, by any process. Does not wait if there are none and the store is never behind.

        Concurrent callers share one read of the store. Raises the errors of the store; then nothing was learned.
        """
        if self._store.lag:
            await self._store.head()
        seen = self._store.seen()
        while self._upto < seen:  # a read that was under way may have begun before the commit that this caller knows
            await self._hearing.get(None, self._hear)

    def known(self) -> Serial | None:
        """The newest commit that the store sees; None if only `catch_up` can tell it. Raises the errors of the store."""
        if self._store.lag:
            return None
        seen = self._store.seen()
        return seen if self._upto >= seen else None

    def holds(
        self,
        moment: Moment,
        *,
        tree: bool = True,
        identities: bool = False,
        keys: Iterable[tuple[IndexName, ProjectName]] = (),
        indexes: Iterable[IndexName] = (),
    ) -> bool:
        """Whether none of these things was touched after a moment, by the commits learned so far.

        `tree`: the indexes and their options. `identities`: users and tokens. `keys`: projects in indexes. `indexes`: everything in
        these indexes, with their lists of names.
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
        """Record that a project reads differently from now on, without a commit.

        Call it together with the change that causes this, without an `await` in between.
        """
        self._touch_projects([(index, project)], self._next())

    def shown_before(self, serial: Serial) -> None:
        """Record that the commit with this serial changes nothing for this process, which showed all of it before (`Learning.listen`).

        A process that hears of the commit earlier takes it for any other.
        """
        if serial > self._upto:
            self._shown.add(serial)

    async def _hear(self) -> None:
        seen = self._store.seen()
        touched = await self._store.touched(self._upto)
        if isinstance(touched, Touched):
            commits = range(self._upto + 1, touched.upto + 1)
            self._upto = max(self._upto, touched.upto)
            if not self._shown.issuperset(commits):
                self._touch(touched, self._next())
        else:
            now = self._next()
            self._upto = max(self._upto, seen)
            self._tree = self._identities = now
            for latest in (self._projects, self._wholes, self._parts):
                latest.set_all(now)
        self._shown = {serial for serial in self._shown if serial > self._upto}

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
    """The moment at which each key was last touched; for other keys, `floor` or earlier."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.moments: dict[Key, Moment] = {}
        """Ordered by moment, the oldest first."""
        self.floor = Moment(0)

    def set(self, key: Key, moment: Moment) -> None:
        self.moments.pop(key, None)
        self.moments[key] = moment
        if len(self.moments) > self._most:
            self.floor = self.moments.pop(next(iter(self.moments)))

    def set_all(self, moment: Moment) -> None:
        self.moments.clear()
        self.floor = moment
