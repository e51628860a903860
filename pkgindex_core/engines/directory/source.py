"""`DirectorySource`, the `Source` of indexes of the type `directory`: such an index has the files in its roots.

Its names and files are treated like uploaded ones: the names are protected against mirrors, changes are recorded, and files are yanked, deleted and
documented in the same way. Only the files come from another place and stay there.

If a root cannot be read, nothing becomes absent: a stored page is served as stale, anything else is `Unavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pkgindex_core.changes import Change, Commit, DropFile, DropProject, PutFile, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory.directory_index import DirectoryIndex
from pkgindex_core.engines.directory.files import DirectoryFiles
from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.local_root import LocalRoot
from pkgindex_core.engines.directory.placing import Placing
from pkgindex_core.engines.directory.root import Root
from pkgindex_core.engines.directory.roots import is_local, roots_of
from pkgindex_core.engines.directory.settings import DirectorySettings
from pkgindex_core.engines.directory.settling import ProjectSettling, Settled
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig, ProjectRow, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob, Freshness, Names, OnDisk, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED, Examiner
from pkgindex_core.tools.bounded_cache import Caching, NamedCache
from pkgindex_core.tools.single_flight import Flight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker


class DirectorySource:
    """Owns the roots of all indexes of its type; `close` ends its tasks and closes the roots."""

    JOURNAL: ClassVar[str] = "directories.journal"
    """The name of the journal's file in the data directory."""

    def __init__(self, context: Context, settings: DirectorySettings) -> None:
        assert context.index_store is not None
        assert context.blob_store is not None
        self._context = context
        self._settings = settings
        self._store = context.index_store
        self._journal = Journal(context.data / self.JOURNAL)
        self._tasks = Tasks()
        self._roots: dict[str, Root] = {}
        self._indexes: dict[IndexName, DirectoryIndex] = {}
        self.settling = ProjectSettling(
            store=self._store,
            journal=self._journal,
            clock=context.clock,
            workers=context.workers,
            later=self._look_later,
        )
        self._files = DirectoryFiles(
            blobs=context.blob_store, journal=self._journal, workers=context.workers, tasks=self._tasks
        )
        self._placing = Placing(
            store=self._store,
            blobs=context.blob_store,
            workers=context.workers,
            is_damaged=self.settling.is_damaged,
        )

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        known = self._indexes.get(index.name)
        return known is not None and known.config is index and known.is_current(project, standing)

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        try:
            settled = await self._settle(index, project, standing, again=again)
        except Unavailable as error:
            if not standing.holds:
                raise
            return Freshness(state="stale", reason=error.message)
        return Freshness(state="fresh" if settled.holds else "absent", checked=self._context.clock.now())

    async def _settle(self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool) -> Settled:
        wait = self._settings.stale_wait if standing.holds else self._settings.wait
        directory = await self._looked_at(index, project, again=again, wait=wait)
        return await directory.settle(project, standing, wait=wait)

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        freshness = Freshness(state="fresh")
        is_whole = False
        rows: Sequence[ProjectRow]
        try:
            directory = await (self._looked_at(index) if ask else self._index(index))
            rows = await directory.names()
            is_whole = all(root.is_listed for root in directory.roots)
        except Unavailable as error:
            rows = await self._store.projects(index.name)
            if not rows:
                raise
            freshness, is_whole = Freshness(state="stale", reason=error.message), True

        async def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            yield [row for row in rows if row.name > after] if after else rows

        return Names(read=read, freshness=freshness, is_whole=is_whole)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> OnDisk:
        looked_at = partial(self._roots_looked_at, index, project)
        return await self._files.open(index, looked_at, project, file, elsewhere=elsewhere)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        return await self._files.metadata(index, partial(self._roots_looked_at, index, project), project, file)

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],
        *,
        who: str,
        require: Iterable[Requirement] = (),
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,
    ) -> Commit | None:
        directory = await self._looked_at(index)
        for project in _projects_of(changes):  # a file that was just put into the directory must be stored first
            (standing,) = await self._store.standings(project, [index.name])
            await directory.settle(project, standing, wait=self._settings.wait)
        # In its own task: if the caller is cancelled, the change must not stay half done.
        work = partial(self._put, directory, changes, who=who, require=tuple(require), spooled=spooled)
        return await Flight(self._tasks.start(work)).result()

    async def _put(
        self,
        directory: DirectoryIndex,
        changes: Sequence[Change],
        *,
        who: str,
        require: Sequence[Requirement],
        spooled: Mapping[Sha256, Path],
    ) -> Commit | None:
        async with directory.held(_projects_of(changes)):
            return await self._placing.put(directory.roots, changes, who=who, require=require, spooled=spooled)

    async def examine(self, index: IndexConfig) -> str:
        try:
            await self._looked_at(index)
        except Unavailable as error:
            return error.message
        return ""

    async def _roots_looked_at(self, index: IndexConfig, project: ProjectName) -> Sequence[Root]:
        directory = await self._index(index)
        if not all(root.is_current(project) for root in directory.roots):
            await directory.update(project, wait=self._settings.wait)
        return directory.roots

    async def _looked_at(
        self,
        index: IndexConfig,
        project: ProjectName | None = None,
        *,
        again: bool = False,
        wait: float | None = None,
    ) -> DirectoryIndex:
        directory = await self._index(index)
        await directory.update(project, again=again, wait=self._settings.wait if wait is None else wait)
        return directory

    async def _index(self, config: IndexConfig) -> DirectoryIndex:
        """The `DirectoryIndex` of a configuration; a new one if its roots have changed."""
        known = self._indexes.get(config.name)
        if known is not None and known.config == config:
            known.config = config
            return known
        names = self._roots_of(config)
        if known is None:
            await in_worker(self._context.workers, self._journal.load)
        known = self._indexes.get(config.name)
        if known is None or tuple(root.name for root in known.roots) != names:
            known = DirectoryIndex(
                config,
                [self._roots.get(name) or self._make_root(name, config) for name in names],
                store=self._store,
                settling=self.settling,
                tasks=self._tasks,
            )
            self._indexes[config.name] = known
        known.config = config
        return known

    def _roots_of(self, config: IndexConfig) -> tuple[str, ...]:
        """The names of the roots of an index. A subclass may have other roots."""
        return roots_of(config)

    def _make_root(self, name: str, config: IndexConfig) -> Root:  # noqa: ARG002  # for subclasses
        workers, clock, data = self._context.workers, self._context.clock, self._context.data
        root: Root
        if is_local(name):
            poll_seconds = self._settings.poll_seconds
            root = LocalRoot(
                name, workers=workers, clock=clock, journal=self._journal, poll_seconds=poll_seconds, heard=self._heard
            )
        else:
            from pkgindex_core.engines.directory.remote_root import RemoteRoot  # which imports fsspec

            root = RemoteRoot(
                name,
                workers=workers,
                clock=clock,
                scratch=data / "directories.scratch",
                list_seconds=self._settings.list_seconds,
                storage_options=self._settings.storage_options.get(name.partition("://")[0], {}),
            )
        self._roots[name] = root
        return root

    def _heard(self) -> None:
        for directory in self._indexes.values():
            directory.hear()

    def _look_later(self, index: IndexName, project: ProjectName, seconds: float) -> None:
        directory = self._indexes[index]
        asyncio.get_running_loop().call_later(seconds, directory.forget, project)

    def caches(self) -> Sequence[NamedCache]:
        return [
            NamedCache("unfinished_files", self.settling._unfinished),
            *(NamedCache("absent_names", each._absent) for each in self._indexes.values()),
            *(cache for root in self._roots.values() if isinstance(root, Caching) for cache in root.caches()),
        ]

    async def close(self) -> None:
        await self._tasks.close(grace=0.0)
        for root in self._roots.values():
            await root.close()


def _projects_of(changes: Sequence[Change]) -> set[ProjectName]:
    """The projects of which files come or go."""
    return {change.project for change in changes if isinstance(change, PutFile | DropFile | DropProject)}


if TYPE_CHECKING:
    _: type[Source] = DirectorySource
    _also: type[Examiner] = DirectorySource
