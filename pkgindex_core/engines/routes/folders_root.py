"""`FoldersRoot`, a `Root` of the directory engine: the files of each project lie in the folder that its route names.

A request looks at the folder of its project and at no other, at most every `poll_seconds`, so that a route whose folder is a whole disk costs no
walk. Folders within the folder are not looked into, and of the files only those of the project count.

The part of the path before the first parameter has to be there: a file system that is not mounted is `Unavailable`. Behind it a folder may be
missing, which means that there is no such project.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.engines.directory.file_systems import shared_file_system
from pkgindex_core.engines.directory.listing import Entry, RootListing, project_of
from pkgindex_core.engines.directory.reading_in_place import reading_in_place
from pkgindex_core.engines.directory.root import FileMove, NewFile, Root
from pkgindex_core.engines.directory.walking import GRAIN_SECONDS, age_of, entry_at
from pkgindex_core.errors import ReadOnly, Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.route_patterns import Template
from pkgindex_core.rules.routing import KIND, IndexRoutes, base_of
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.workers import in_worker

_FINE_GRAIN: Final = 0.02
"""Seconds between two time stamps of a local file system: the kernel's tick, rounded up."""
_REMEMBERED: Final = 20_000
"""Projects whose last look is remembered, and files in remembered folders."""


class _FolderNames(Struct, frozen=True):
    """The names of the files in a folder by project, as of the folder's time of change."""

    path: str
    """Without symbolic links."""
    changed: int
    """The folder's time of change in nanoseconds. -1: the folder may change again without a new time, so its names are read again."""
    names: Mapping[ProjectName, tuple[str, ...]]
    count: int


_log = logging.getLogger(__name__)
_About = TypeVar("_About")


class FoldersRoot:
    """The folders of one index."""

    def __init__(
        self, name: str, routes: IndexRoutes, *, index: str, workers: Executor, clock: Clock, poll_seconds: float
    ) -> None:
        self.name = name
        self.listing = RootListing()
        self.is_listed = False
        self.grain = _FINE_GRAIN
        self._index = index
        self._routes = routes
        self._workers = workers
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._listed = 0.0
        self._looked: BoundedCache[ProjectName, float] = BoundedCache(_REMEMBERED)
        self._folders: BoundedCache[str, _FolderNames] = BoundedCache(_REMEMBERED, size_of=lambda each: each.count + 1)

    def is_current(self, project: ProjectName) -> bool:
        return (self._looked.get(project) or 0.0) > self._clock.monotonic() - self._poll_seconds

    async def update(self, project: ProjectName | None = None, *, again: bool = False) -> None:
        now = self._clock.monotonic()
        if project is None:
            if again or not self.is_listed or now >= self._listed + self._poll_seconds:
                found = await self._in_worker(self._every_entry, frozenset(self.listing.projects))
                self.listing.become(found)
                self.is_listed, self._listed = True, now
                for each in self.listing.projects:
                    self._looked.put(each, now)
            return
        if not again and self.is_current(project):
            return
        entries: dict[str, Entry | None] = dict.fromkeys(self.listing.paths(project))
        self._looked.drop(project)
        entries |= await self._in_worker(self._entries_of, project)
        self.listing.put(entries)
        self._looked.put(project, now)

    async def _in_worker(self, look: Callable[[_About], dict[str, Entry]], about: _About) -> dict[str, Entry]:
        try:
            return await in_worker(self._workers, look, about)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Unavailable(f"a folder of {self._index} cannot be read: {reason}") from error

    def _entries_of(self, project: ProjectName) -> dict[str, Entry]:
        where = self._routes.folder(project)
        if where is None:
            return {}
        Path(where.base).stat()
        folder = self._folder(where.path)
        return _entries(folder, folder.names.get(project, ())) if folder is not None else {}

    def _folder(self, path: str) -> _FolderNames | None:
        """The names in a folder, read again if its time has changed; None if there is no such folder."""
        try:
            real = os.path.realpath(path, strict=True)
            found = Path(real).stat()
            if not stat.S_ISDIR(found.st_mode):
                return None
            known = self._folders.get(path)
            if known is not None and (known.path, known.changed) == (real, found.st_mtime_ns):
                return known
            names: dict[ProjectName, list[str]] = {}
            with os.scandir(real) as each_in:
                for each in each_in:
                    project = project_of(each.name)
                    if project is not None:
                        names.setdefault(project, []).append(each.name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        changed = -1 if age_of(found.st_mtime) < GRAIN_SECONDS else found.st_mtime_ns
        kept = {project: tuple(each) for project, each in names.items()}
        folder = _FolderNames(real, changed, kept, sum(map(len, kept.values())))
        self.grain = GRAIN_SECONDS if shared_file_system(real) else _FINE_GRAIN
        self._folders.put(path, folder)
        return folder

    def _every_entry(self, known: Collection[ProjectName]) -> dict[str, Entry]:
        """The files for lists: of the `known` projects, and of others whose folders are found without a project's name."""
        entries: dict[str, Entry] = {}
        for project in known:
            entries |= self._entries_of(project)
        for path in {path for template in self._routes.folders for path in _candidates(template)}:
            try:
                folder = self._folder(path)
            except PermissionError:  # the projects that were seen in it were asked for above, where this is an error
                _log.warning("the folder %s may not be read, and is ignored", path)
                continue
            if folder is None:
                continue
            for project, names in folder.names.items():
                where = self._routes.folder(project)
                if where is not None and where.path == path:
                    entries |= _entries(folder, names)
        return entries

    def reading(self, entry: Entry) -> AbstractAsyncContextManager[Path]:
        return reading_in_place(self._workers, entry)

    def place(self, entry: Entry) -> Path | None:
        return Path(entry.path)

    async def put(self, new: NewFile, filename: str, *, replaces: Entry | None) -> FileMove:  # noqa: ARG002  # the role's signature
        raise ReadOnly(self._index, KIND)

    async def remove(self, entry: Entry) -> FileMove:  # noqa: ARG002  # the role's signature
        raise ReadOnly(self._index, KIND)

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("looked", self._looked), NamedCache("folders", self._folders, "files")]

    async def close(self) -> None:
        """Nothing is open."""


def _candidates(template: Template) -> Iterator[str]:
    """The folders that a template may name. Those of a template with parameters in several segments are found by requests alone."""
    if template.is_constant:
        Path(template.start).stat()
        yield template.start
        return
    base, head = base_of(template), template.start.rpartition("/")[2]
    if any("/" in literal for literal, _ in template.pieces[1:]):
        return
    with os.scandir(base) as found:
        yield from (f"{base.rstrip('/')}/{each.name}" for each in found if each.name.startswith(head) and each.is_dir())


def _entries(folder: _FolderNames, names: tuple[str, ...]) -> dict[str, Entry]:
    found = {path: entry_at(path) for path in (f"{folder.path}/{name}" for name in names)}
    return {path: entry for path, entry in found.items() if entry is not None}


if TYPE_CHECKING:
    _: type[Root] = FoldersRoot
