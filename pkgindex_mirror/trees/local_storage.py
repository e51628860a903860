"""A mirror's tree in a local directory.

    DIRECTORY/.lock                    locked while a run works; bandersnatch locks the same file
    DIRECTORY/.pkgindex/mirror.db      the rows
    DIRECTORY/.pkgindex/new/…          files that are moved to their places when they are whole
    DIRECTORY/.pkgindex/arriving/…     parts of large files, named after their digests, with which the next run goes on

An object is seen whole or not at all (`local_writing`). Before pages are seen, everything they name and they themselves are synchronised,
all of a batch together (`syncing_disk`). Directories below `web` may be links to other file systems.

A web server runs as another user, so files get the mode 0644 and directories 0755.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import Conflict, Missing, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.emptied_directories import remove_emptied
from pkgindex_mirror.syncing.targets import Access, FileSink
from pkgindex_mirror.trees.layout import DATABASE, DOCUMENT_COPIES, DOCUMENTS, LOCK, OWN, PACKAGES, SIMPLE, WEB
from pkgindex_mirror.trees.local_writing import LocalWriting, staged
from pkgindex_mirror.trees.records import RecordedFile
from pkgindex_mirror.trees.sinks import SinkPlaces, opened_sink
from pkgindex_mirror.trees.small_files import READABLE, SmallFiles
from pkgindex_mirror.trees.storage import Asked, Kept, PageBatch, StoredObject, TreeStorage, content_of, digest_of
from pkgindex_mirror.trees.syncing_disk import sync_places, syncs_all

Result = TypeVar("Result")

_PLACE: Final = "the mirror's directory"

_BATCH: Final = 4000
_FEW: Final = 40
"""Paths that are looked up in the event loop, as long as the disk is quick."""
_PART_DAYS: Final = 14
"""After so many days a part of a file is removed: its file may not be wanted any more."""


class LocalStorage:
    """A `TreeStorage` in a directory. Construct, then `open`."""

    def __init__(self, root: Path, *, workers: Executor, clock: Clock, manage_permissions: bool = True) -> None:
        self._root = root
        self._new = root / OWN / "new"
        self._arriving = root / OWN / "arriving"
        self._workers = workers
        self._clock = clock
        self._small = SmallFiles(root, manage_permissions=manage_permissions)
        self._writing = LocalWriting(root, self._new, self._small, manage_permissions=manage_permissions)
        self._operations = FileOperations()
        self._unsettled: set[str] = set()
        self._base = str(root)

    async def open(self, access: Access = "make") -> None:
        """Make what is not there, as far as `access` permits. `Refused` when the directory cannot be one, `Missing` when it is not there."""

        def make() -> None:
            if self._root.exists() and not self._root.is_dir():
                raise Refused(f"{self._root} is no directory", hint="name a directory for the mirror")
            if access != "make" and not self._root.exists():
                raise missing_directory(self._root)
            if access == "read":
                return
            for directory in (self._new, self._arriving):
                directory.mkdir(parents=True, exist_ok=True)
            for path in (WEB, SIMPLE, PACKAGES):
                self._writing.make_directory(self._root / path)

        await self._do("making the tree", make)

    @property
    def database(self) -> Path:
        return self._root / DATABASE

    @property
    def root(self) -> Path:
        return self._root

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        descriptor = await self._do(
            "locking the tree", partial(os.open, self._root / LOCK, os.O_RDWR | os.O_CREAT, READABLE)
        )
        try:
            if not self._operations.lock(descriptor, wait=False):
                raise Conflict(f"another run works on {self._root} now", hint="wait until it has ended")
            await self._do("tidying the tree", self._sweep)
            yield
        finally:
            os.close(descriptor)

    async def read(self, path: str) -> bytes | None:
        return (await self.read_many([path]))[0]

    async def read_many(self, paths: Sequence[str]) -> Sequence[bytes | None]:
        def read(path: str) -> bytes | None:
            with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return content_of(f"{self._base}/{path}")
            return None

        return await self._do("reading the tree", lambda: [read(path) for path in paths])

    async def write(self, batch: PageBatch) -> None:
        await self._do("writing the tree", partial(self._write, batch))

    async def stat(self, paths: Sequence[str]) -> Sequence[StoredObject | None]:
        if not 0 < len(paths) <= _FEW or not self._small.is_quick:
            return await self._do("reading the tree", lambda: [self._stat(path) for path in paths])
        # As for small files, a few calls take less time than handing them to a worker.
        begun = perf_counter()
        found = [self._stat(path) for path in paths]
        self._small.took((perf_counter() - begun) / len(paths))
        return found

    async def digests(self, asked: Sequence[Asked]) -> Sequence[str | None]:
        def digest(path: str, algorithm: str) -> str | None:
            with suppress(FileNotFoundError):
                return digest_of(f"{self._base}/{path}", algorithm)
            return None

        return await self._do("reading the tree", lambda: [digest(*each) for each in asked])

    async def place(self, path: str, data: bytes, modified: Timestamp) -> StoredObject | None:
        doing = "writing a file"
        if self._small.is_quick:
            try:
                status = self._small.place(path, data, modified)
            except OSError as error:
                raise storage_failure(error, doing, place=_PLACE) from error
        else:
            status = await self._do(doing, partial(self._small.place, path, data, modified))
        if status is None:
            return None
        failpoint("tree.file_placed")
        self._unsettled.add(path)
        return _stored(status)

    def sink(self, file: File, path: str, kept: Kept) -> AbstractAsyncContextManager[FileSink]:
        target = self._root / path

        def place(whole: Path | bytearray, modified: Timestamp) -> StoredObject:
            if isinstance(whole, Path):
                self._writing.place(whole, target, modified)
            else:
                self._writing.place_bytes(path, whole, modified)
            failpoint("tree.file_placed")
            return _stored(target.stat())

        def done(path: str, record: RecordedFile) -> None:
            self._unsettled.add(path)
            kept(path, record)

        places = SinkPlaces(new=self._new, parts=self._arriving, place=place, send=None, clock=self._clock)
        return opened_sink(file, path, places, done, workers=self._workers)

    async def adopt(self, path: str, modified: Timestamp) -> StoredObject | None:
        def adopt() -> StoredObject | None:
            with suppress(OSError):  # of another owner: its time stays
                os.utime(self._root / path, ns=(modified * 1000, modified * 1000))
            return self._stat(path)

        return await self._do("reading the tree", adopt)

    async def remove(self, paths: Iterable[str]) -> None:
        await self._do("tidying the tree", partial(self._remove, tuple(paths)))

    async def names(self, directory: str) -> Sequence[str]:
        def names() -> list[str]:
            with suppress(FileNotFoundError, NotADirectoryError):
                return sorted(entry.name for entry in (self._root / directory).iterdir())
            return []

        return await self._do("reading the tree", names)

    async def walk(self, directory: str) -> AsyncIterator[Sequence[str]]:
        found = self._walk(directory)
        while batch := await self._do("reading the tree", lambda: list(islice(found, _BATCH))):
            yield batch

    async def settle(self) -> None:
        unsettled, self._unsettled = self._unsettled, set()
        if unsettled:
            await self._do("writing the tree", partial(self._settle, unsettled))

    async def fetch_rows(self) -> None:
        """Return at once: the rows are in the directory."""

    def rows_are_due(self) -> bool:
        return False

    async def save_rows(self) -> None:
        """Return at once: the rows are in the directory."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, batch: PageBatch) -> None:
        staged: dict[str, Path] = {}
        try:
            for path, data in batch.written.items():
                staged[path] = self._writing.stage(self._root / path, data)
            for path, original in batch.copies.items():
                staged[path] = self._writing.stage_copy(self._root / path, staged[original])
            self._sync(staged.values())
            for path, original in batch.links.items():
                staged[path] = self._writing.stage_link(self._root / path, self._root / original)
            failpoint("tree.pages_written")
            for path, new in staged.items():
                new.replace(self._root / path)
                failpoint("tree.page_moved")
        except BaseException:
            for new in staged.values():
                new.unlink(missing_ok=True)
            raise
        self._sync({(self._root / path).parent for path in staged})

    def _settle(self, paths: set[str]) -> None:
        if syncs_all(len(paths)):  # a million paths need not be looked at
            sync_places((), self._roots(), everything=True)
        else:
            self._sync(self._root / path for path in paths)

    def _sync(self, places: Iterable[Path]) -> None:
        """Synchronise files, and the directories that have their names, up to the root."""
        wanted = set(places)
        # Many are synchronised together with all that the file system has, directories included.
        for place in () if syncs_all(len(wanted)) else [*wanted]:
            for directory in place.parents:
                if directory in wanted or not directory.is_relative_to(self._root):
                    break
                wanted.add(directory)
        sync_places(wanted, self._roots())

    def _roots(self) -> Iterator[Path]:
        """The directories that may be links to other file systems."""
        yield self._root
        for path in (WEB, SIMPLE, PACKAGES, DOCUMENTS, DOCUMENT_COPIES):
            if (self._root / path).is_dir():
                yield self._root / path

    def _stat(self, path: str) -> StoredObject | None:
        try:
            status = os.stat(f"{self._base}/{path}")  # noqa: PTH116 - a `Path` costs more than the call
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _stored(status) if S_ISREG(status.st_mode) else None

    def _walk(self, directory: str) -> Iterator[str]:
        try:
            with os.scandir(self._root / directory) as scanned:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in scanned]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name, is_directory in entries:
            path = f"{directory}/{name}"
            if is_directory:
                yield from self._walk(path)
            else:
                yield path

    def _remove(self, paths: tuple[str, ...]) -> None:
        kept = {self._root, *(self._root / path for path in (WEB, SIMPLE, PACKAGES))}
        for path in paths:
            place = self._root / path
            for each in (place, staged(place)):  # with what a killed run left beside it
                with suppress(FileNotFoundError, NotADirectoryError):
                    each.unlink()
            failpoint("tree.removed")
            remove_emptied(place, below=kept)

    def _sweep(self) -> None:
        """Remove what a run left that was killed. Called with the lock held."""
        for leftover in self._new.iterdir():
            leftover.unlink(missing_ok=True)
        oldest = self._clock.now() / 1_000_000 - _PART_DAYS * 86_400
        for part in self._arriving.iterdir():
            with suppress(FileNotFoundError):
                if part.stat().st_mtime < oldest:
                    part.unlink()

    async def _do(self, doing: str, function: Callable[[], Result]) -> Result:
        return await in_worker(self._workers, doing, function, place=_PLACE)


def missing_directory(directory: Path) -> Missing:
    """The error for a mirror that is not there, which may be a slip of the pen."""
    return Missing(
        "directory",
        str(directory),
        message=f"the directory {directory} of the mirror is not there",
        hint="correct `directory` in the configuration; for a new mirror make the directory, or begin with `pkgindex-mirror mirror`",
    )


def _stored(status: os.stat_result) -> StoredObject:
    # Rounded: other programs set times as floating-point numbers.
    return StoredObject(status.st_size, Timestamp((status.st_mtime_ns + 500) // 1000))


if TYPE_CHECKING:
    _: type[TreeStorage] = LocalStorage
