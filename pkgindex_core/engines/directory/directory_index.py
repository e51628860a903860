"""One index of the type `directory`: its roots, and which of its projects are settled.

A project is settled when its stored files equal its files in the roots. A request for a project settles it if one of its files may have changed.
The first request also starts a task that settles all other projects, and later changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final
from weakref import WeakValueDictionary

from pkgindex_core.engines.directory.root import Root
from pkgindex_core.engines.directory.settling import ProjectSettling, Settled, Store
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Serial, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.single_flight import Flight, SingleFlight
from pkgindex_core.tools.tasks import Tasks

_BEHIND: Final = 8
"""Projects that are settled at once in the background: their commits can share one sync."""
_TURNS: Final = 5
_ABSENT: Final = 10_000
"""Names to remember that are in no root: anybody can ask for any number of them."""
_log = logging.getLogger(__name__)


class DirectoryIndex:
    """A new one is made when the roots of the index change."""

    def __init__(
        self, config: IndexConfig, roots: Sequence[Root], *, store: Store, settling: ProjectSettling, tasks: Tasks
    ) -> None:
        self.config = config
        self.roots = roots
        self._store = store
        self._settling = settling
        self._tasks = tasks
        self._settled: dict[ProjectName, Settled] = {}
        self._absent: BoundedCache[ProjectName, Settled] = BoundedCache(_ABSENT)
        """Settled too, but without files since the roots were opened."""
        self._settlings = 0
        """How often `_settled` changed."""
        self._names: tuple[tuple[int, ...], Sequence[ProjectRow]] = (), ()
        self._flights: SingleFlight[Settled] = SingleFlight(tasks)
        self._locks: WeakValueDictionary[ProjectName, asyncio.Lock] = WeakValueDictionary()
        self._waiting = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._silent: Flight[bool] | None = None
        """The last update that took too long."""
        self._heard = asyncio.Event()
        self._follows = False

    def is_current(self, project: ProjectName, standing: Standing) -> bool:
        """Whether the stored files equal the files in the roots. A change that a root has not noticed yet does not count."""
        known = self._known(project)
        if known is None or (known.stamp, known.holds) != (standing.stamp, standing.holds):
            return False
        return all(root.is_current(project) for root in self.roots) and self._is_as_settled(project, known)

    def _is_as_settled(self, project: ProjectName, known: Settled | None) -> bool:
        return known is not None and known.versions == self._versions(project)

    def _versions(self, project: ProjectName) -> tuple[int, ...]:
        return tuple(root.listing.version(project) for root in self.roots)

    async def update(
        self, project: ProjectName | None = None, *, again: bool = False, wait: float | None = None
    ) -> None:
        """Update the listings of the roots. `Unavailable` when a root cannot be read, or gives no answer within `wait` seconds, as a server
        of NFS that is down. While it gives none, later calls do not wait.
        """
        if wait is None:
            await self._update(project, again=again)
            return
        if self._silent is not None and not self._silent.done:
            raise self._no_answer()
        flight = Flight(self._tasks.start(lambda: self._update(project, again=again)))
        if await flight.wait(wait) is None:
            self._silent = flight
            raise self._no_answer()

    def _no_answer(self) -> Unavailable:
        return Unavailable(f"a directory of {self.config.name} gives no answer")

    async def _update(self, project: ProjectName | None, *, again: bool) -> bool:
        for root in self.roots:
            await root.update(project, again=again)
        if not self._follows:
            self._follows = True
            self._heard.set()
            self._tasks.start(self._follow, name=f"follow {self.config.name}")
        return True

    async def settle(self, project: ProjectName, standing: Standing, *, wait: float) -> Settled:
        """Make the stored files of a project equal to those in the roots. `Unavailable` when that takes longer than `wait` seconds."""
        known = self._known(project)
        if known is not None and self.is_current(project, standing):
            return known
        for _ in range(_TURNS):
            flight = self._flights.join(project, lambda: self._settle(project), name=f"settle {project}")
            with self._waited_for():
                known = await flight.wait(wait)
            if known is None:
                raise Unavailable(f"new files of {project} in {self.config.name} are being read")
            if self._is_as_settled(project, known):
                break  # otherwise the flight began before the change that this caller knows of
        assert known is not None
        return known

    @contextmanager
    def _waited_for(self) -> Iterator[None]:
        """Pause the background task: a request waits."""
        self._waiting += 1
        self._nobody_waits.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._nobody_waits.set()

    async def _settle(self, project: ProjectName) -> Settled:
        async with self._lock(project):
            settled = await self._settling.settle(self.config, self.roots, project)
        if settled.holds or any(settled.versions):
            self._settled[project] = settled
            self._settlings += 1
        else:
            self._settlings += self._settled.pop(project, None) is not None
            self._absent.put(project, settled)
        return settled

    def _known(self, project: ProjectName) -> Settled | None:
        return self._settled.get(project) or self._absent.get(project)

    @asynccontextmanager
    async def held(self, projects: Iterable[ProjectName]) -> AsyncIterator[None]:
        """Settle none of these projects meanwhile, so that an upload is committed before its file is found in the root."""
        async with AsyncExitStack() as stack:
            for project in sorted(projects):
                await stack.enter_async_context(self._lock(project))
            yield

    def _lock(self, project: ProjectName) -> asyncio.Lock:
        return self._locks.setdefault(project, asyncio.Lock())

    async def names(self) -> Sequence[ProjectRow]:
        """The projects of the index. The rows are kept while nothing changes."""
        state = (self._store.seen(), self._settlings, *(root.listing.changes for root in self.roots))
        kept, rows = self._names
        if kept != state:
            rows = self._named(await self._store.projects(self.config.name))
            self._names = state, rows
        return rows

    def _named(self, stored: Iterable[ProjectRow]) -> list[ProjectRow]:
        """The projects that are stored or have files in a root, in order. Their files need not have been read.

        A project is left out if its files were read and none is a distribution (yet): it has no page.
        """
        rows = {row.name: row for row in stored}
        for root in self.roots:
            for project in root.listing.projects:
                known = self._settled.get(project)
                if known is None or known.holds or not self._is_as_settled(project, known):
                    rows.setdefault(project, ProjectRow(project, project, Serial(0)))
        return [rows[name] for name in sorted(rows) if not self._is_gone(name)]

    def _is_gone(self, project: ProjectName) -> bool:
        """Whether all files of the project were removed from the roots, and the store still has them."""
        if any(root.listing.paths(project) for root in self.roots):
            return False
        known = self._settled.get(project)
        return any(self._versions(project)) and not (
            self._is_as_settled(project, known) and known is not None and known.holds
        )

    def hear(self) -> None:
        """Wake the background task: a root has changed."""
        self._heard.set()

    def forget(self, project: ProjectName) -> None:
        """Settle a project again."""
        self._settled.pop(project, None)
        self._settlings += 1
        self._heard.set()

    async def _follow(self) -> None:
        while True:
            await self._heard.wait()
            self._heard.clear()
            try:
                await self._settle_all()
            except PkgIndexError as error:
                _log.info("the index %s cannot be updated: %s", self.config.name, error.message)

    async def _settle_all(self) -> None:
        await self.update()
        stored = {row.name for row in await self._store.projects(self.config.name)}
        projects = stored.union(*(root.listing.projects for root in self.roots))

        async def settle(project: ProjectName) -> None:
            await self._nobody_waits.wait()
            try:
                await self._flights.get(project, lambda: self._settle(project))
            except PkgIndexError as error:
                _log.info("%s in %s cannot be updated: %s", project, self.config.name, error.message)
            except Exception:  # the others must not wait for this one
                _log.exception("%s in %s cannot be updated", project, self.config.name)

        unsettled = [each for each in sorted(projects) if not self._is_as_settled(each, self._settled.get(each))]
        await side_by_side(unsettled, settle, at_once=_BEHIND)
