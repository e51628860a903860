"""`LocalRoot`, a `Root` on a file system of this machine: watched with inotify, or checked every few seconds where inotify does not work.

    walked once ─► events of inotify name the changed paths, which are read again    (local file systems of Linux)
                └► the times of directories are compared every few seconds,          (NFS, SMB, FUSE …, and other systems)
                   and those of a project's files when it is requested

Lost events and changes of the root itself lead to another walk. There is no event when a directory above is renamed, a link is changed, or a file
system is mounted over the root, so the root is compared every few seconds with the one that was walked. If an empty directory replaces a root
that had files, the root is unavailable and not empty: an unmounted file system leaves an empty directory.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Clock
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.directory.file_systems import shared_file_system
from pkgindex_core.engines.directory.inotify import Happening, Inotify
from pkgindex_core.engines.directory.journal import Journal
from pkgindex_core.engines.directory.listing import Entry, RootListing
from pkgindex_core.engines.directory.local_moves import hide_file, put_file
from pkgindex_core.engines.directory.reading_in_place import reading_in_place
from pkgindex_core.engines.directory.root import FileMove, Heard, NewFile, Root
from pkgindex_core.engines.directory.walking import (
    GRAIN_SECONDS,
    Walked,
    changed_directories,
    entry_at,
    is_hidden,
    walk,
)
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.bounded_cache import BoundedCache, NamedCache
from pkgindex_core.tools.single_flight import Flight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker

_FINE_GRAIN: Final = 0.02
"""Seconds between two time stamps of a local file system: the kernel's tick, rounded up."""
_REMEMBERED: Final = 20_000
"""Projects whose last look is remembered. Anybody can ask for any name."""

_log = logging.getLogger(__name__)


class LocalRoot:
    """One directory."""

    def __init__(
        self, name: str, *, workers: Executor, clock: Clock, journal: Journal, poll_seconds: float, heard: Heard
    ) -> None:
        self.name = name
        self.listing = RootListing()
        self.is_listed = False
        self.grain = _FINE_GRAIN
        self._path = name
        self._workers = workers
        self._clock = clock
        self._journal = journal
        self._poll_seconds = poll_seconds
        self._heard = heard
        self._tasks = Tasks()
        self._lock = asyncio.Lock()
        self._watch: Inotify | None = None
        self._directories: dict[str, int] = {}
        self._walked = False
        self._touched: set[Happening] = set()
        self._looking = False
        """Whether changes of `_touched` are being read."""
        self._polled = 0.0
        """When the root was last compared with the walked one; without inotify, its directories too."""
        self._identity = ""
        self._trouble = ""
        """Why the root cannot be read; empty if it can."""
        self._looked: BoundedCache[ProjectName, float] = BoundedCache(_REMEMBERED)

    def is_current(self, project: ProjectName) -> bool:
        self._hear()
        if not self._walked or self._touched or self._looking or self._is_due():
            return False
        return (
            self._watch is not None or (self._looked.get(project) or 0.0) > self._clock.monotonic() - self._poll_seconds
        )

    def _is_due(self) -> bool:
        return self._clock.monotonic() >= self._polled + self._poll_seconds

    async def update(self, project: ProjectName | None = None, *, again: bool = False) -> None:
        # In its own task: if the caller is cancelled, the events that are not read yet must not be lost.
        await Flight(self._tasks.start(lambda: self._update(project, again=again))).result()

    async def _update(self, project: ProjectName | None, *, again: bool) -> None:
        async with self._lock:
            try:
                self._hear()
                if again or self._is_due():
                    await self._poll()
                if self._walked and self._touched:
                    await self._look_at_touched()
                if not self._walked:
                    await self._walk()
                if project is not None and (again or self._watch is None):
                    await self._look_at(project)
            except OSError as error:
                self._walked = False
                reason = os.strerror(error.errno) if error.errno else str(error)
                if reason != self._trouble:  # each request tries again
                    _log.warning("the directory %s cannot be read: %s", self._path, error)
                self._trouble = reason
                raise Unavailable(f"a directory of the index cannot be read: {reason}") from error

    async def _walk(self) -> None:
        self._unwatch()
        self._touched.clear()
        self._looked = BoundedCache(_REMEMBERED)
        now = self._clock.monotonic()
        walked, watch = await in_worker(self._workers, self._walk_whole)
        self._watch = watch
        self._directories = walked.directories
        self.listing.become({path: entry for path, entry in walked.entries.items() if entry is not None})
        self._walked = self.is_listed = True
        self._trouble = ""
        self._polled = now
        if watch is not None:
            asyncio.get_running_loop().add_reader(watch.descriptor, self._hear)

    def _walk_whole(self) -> tuple[Walked, Inotify | None]:
        real = os.path.realpath(self.name, strict=True)
        watch: Inotify | None = None
        kind = shared_file_system(real)
        self.grain = GRAIN_SECONDS if kind else _FINE_GRAIN
        if kind:
            _log.info("%s is checked every %g s: its file system is %s", self.name, self._poll_seconds, kind)
        else:
            try:
                watch = Inotify()
            except OSError as error:
                _log.warning("%s is checked every %g s: %s", self.name, self._poll_seconds, error)
        self._path = real
        try:
            walked = walk(real, real, watch.watch if watch is not None else _nothing, self._journal.has_below)
            self._identify(real, walked)
        except OSError as error:
            if watch is None:
                raise
            watch.close()
            if error.errno != errno.ENOSPC:
                raise
            _log.warning(
                "%s is checked every %g s: there are no more watches, raise fs.inotify.max_user_watches",
                self.name,
                self._poll_seconds,
            )
            watch = None
            walked = walk(real, real, _nothing, self._journal.has_below)
            self._identify(real, walked)
        return walked, watch

    def _identify(self, real: str, walked: Walked) -> None:
        """Note which directory the root is. An empty directory that replaces one with files is refused."""
        found = os.lstat(real)
        identity = _identity_of(found)
        self._identity = identity
        before = self._journal.mark(f"{self.name}/")
        if walked.entries:
            self._journal.note(f"{self.name}/", identity, sha256_of(b""))
        elif before not in {"", identity}:
            raise OSError("another, empty directory has replaced it: is its file system mounted?")

    def _hear(self) -> None:
        """Take the events of inotify, without waiting."""
        if self._watch is None:
            return
        heard = [each for each in self._watch.read() if not each.name.startswith(".")]
        if any(not each.directory or not each.name for each in heard):
            self._walked = False
        self._touched.update(heard)
        if heard:
            self._heard()

    async def _look_at_touched(self) -> None:
        touched, self._touched, self._looking = self._touched, set(), True
        try:
            walked = await in_worker(self._workers, self._look_at_all, touched)
        except OSError as error:
            self._touched |= touched
            if error.errno != errno.ENOSPC:
                raise
            self._walked = False  # no watch is left for a new folder: the next walk uses no inotify
            return
        except BaseException:
            self._touched |= touched
            raise
        finally:
            self._looking = False
        self._take(walked)

    def _look_at_all(self, touched: set[Happening]) -> Walked:
        all_of_it = Walked()
        enter = self._watch.watch if self._watch is not None else _nothing
        for each in touched:
            path = f"{each.directory}/{each.name}"
            if not each.is_directory:
                all_of_it.entries[path] = entry_at(path)
                continue
            self._look_into(path, all_of_it, enter)
        return all_of_it

    def _look_into(self, directory: str, all_of_it: Walked, enter: Callable[[str], None]) -> None:
        """Walk through a directory again. Entries below it that are not found are removed."""
        walked = (
            Walked()
            if is_hidden(self._path, directory)
            else walk(self._path, directory, enter, self._journal.has_below)
        )
        gone: dict[str, Entry | None] = dict.fromkeys(self.listing.below(directory))
        all_of_it.entries |= {**gone, **walked.entries}
        all_of_it.directories |= walked.directories

    async def _poll(self) -> None:
        if not self._walked:
            return
        now = self._clock.monotonic()
        if _identity_of(await in_worker(self._workers, os.stat, self.name)) != self._identity:
            self._walked = False
        elif self._watch is None:
            await self._look_at_changed()
        self._polled = now

    async def _look_at_changed(self) -> None:
        known = self._directories

        def look() -> tuple[set[str], Walked]:
            changed = set(changed_directories(known))
            all_of_it = Walked()
            for directory in changed:
                self._look_into(directory, all_of_it, _nothing)
            if self._path in changed:
                self._identify(self._path, all_of_it)
            return changed, all_of_it

        changed, walked = await in_worker(self._workers, look)
        for directory in changed:
            self._directories.pop(directory, None)
        self._take(walked)

    async def _look_at(self, project: ProjectName) -> None:
        now = self._clock.monotonic()
        paths = list(self.listing.paths(project))

        def look() -> Walked:
            return Walked(entries={path: entry_at(path) for path in paths})

        self._take(await in_worker(self._workers, look))
        if self._watch is None:
            self._looked.put(project, now)

    def _take(self, walked: Walked) -> None:
        self._directories |= walked.directories
        self.listing.put(walked.entries)

    def reading(self, entry: Entry) -> AbstractAsyncContextManager[Path]:
        return reading_in_place(self._workers, entry)

    def place(self, entry: Entry) -> Path | None:
        return Path(entry.path)

    async def put(self, new: NewFile, filename: str, *, replaces: Entry | None) -> FileMove:
        target = Path(replaces.path) if replaces is not None else Path(self._path) / filename

        def noted(mark: str) -> None:
            self._journal.note(str(target), mark, new.sha256)

        moved = await put_file(self._workers, new, target, replaces=replaces is not None, noted=noted)
        self._touched.add(Happening(str(target.parent), target.name))
        failpoint("directory.placed")
        return moved

    async def remove(self, entry: Entry) -> FileMove:
        target = Path(entry.path)
        moved = await hide_file(self._workers, target)
        self._touched.add(Happening(str(target.parent), target.name))
        failpoint("directory.hidden")
        return moved

    def _unwatch(self) -> None:
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.descriptor)
            self._watch.close()
            self._watch = None

    def caches(self) -> Sequence[NamedCache]:
        return [NamedCache("looked", self._looked)]

    async def close(self) -> None:
        await self._tasks.close(grace=1.0)
        self._unwatch()


def _identity_of(found: os.stat_result) -> str:
    return f"{found.st_dev}-{found.st_ino}"


def _nothing(_directory: str) -> None:
    """Nothing is watched."""


if TYPE_CHECKING:
    _: type[Root] = LocalRoot
