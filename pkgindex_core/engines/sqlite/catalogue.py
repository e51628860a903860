"""A catalogue in a SQLite file of its own beside the index store. It can be made again from the store, so the file may be removed.

    search.sqlite        `catalogue_tables` writes it, `catalogue_queries` reads it
    search.sqlite.lock   locked by the process that updates the file, until it ends

All processes of a host read the file. It is opened at the first use. A commit is not synchronised: after a power cut the last updates may be
missing together with the progress that they made, and are made again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import apsw
import msgspec

from pkgindex_core.engines.sqlite.catalogue_queries import find
from pkgindex_core.engines.sqlite.catalogue_tables import opened, progress_of, write
from pkgindex_core.errors import Corrupt, StorageFull, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.hookspecs import Context
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.catalogue import (
    FIRST,
    CatalogueProgress,
    CatalogueUpdate,
    Rank,
    RankedEntry,
    SearchCatalogue,
    SearchQuery,
)

Outcome = TypeVar("Outcome")

FILE: Final = "search.sqlite"
_READERS: Final = 2


class SqliteCatalogue:
    """A `SearchCatalogue` in a file. Used from one event loop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1
        self._writer: apsw.Connection | None = None
        self._here: apsw.Connection | None = None
        """For reads of one row in the event loop's thread, which take less time than a switch of threads."""
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="search-writer")
        self._reading = ThreadPoolExecutor(_READERS, thread_name_prefix="search-reader")
        self._idle: queue.SimpleQueue[apsw.Connection | None] = queue.SimpleQueue()
        for _ in range(_READERS):
            self._idle.put(None)
        self._closed = False

    async def progress(self) -> CatalogueProgress:
        if self._here is None:
            self._here = await self._in(self._reading, lambda: opened(self._path))
        if self._closed:
            raise _closed()
        with _translated(self._path):
            return progress_of(self._here)

    async def lead(self) -> bool:
        if self._lock < 0:
            self._lock = await self._in(self._writing, self._try_lock)
        return self._lock >= 0

    async def apply(self, update: CatalogueUpdate, *, after: CatalogueProgress) -> bool:
        return await self._in(self._writing, lambda: self._apply(update, after))

    async def find(
        self, query: SearchQuery, indexes: Collection[IndexName], *, after: Rank = FIRST, limit: int = 100
    ) -> Sequence[RankedEntry]:
        return await self._read(lambda connection: find(connection, query, indexes, after, limit))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._release)

    async def _read(self, read: Callable[[apsw.Connection], Outcome]) -> Outcome:
        return await self._in(self._reading, lambda: self._with_idle(read))

    async def _in(self, threads: ThreadPoolExecutor, work: Callable[[], Outcome]) -> Outcome:
        if self._closed:
            raise _closed()

        def translated() -> Outcome:
            with _translated(self._path):
                return work()

        return await asyncio.get_running_loop().run_in_executor(threads, translated)

    def _with_idle(self, read: Callable[[apsw.Connection], Outcome]) -> Outcome:
        connection = self._idle.get()  # never waits: there are as many connections as threads
        try:
            connection = connection or opened(self._path)
            with connection:  # one snapshot for all statements of a search
                outcome = read(connection)
            return outcome  # noqa: RET504  # apsw's context is typed as one that may swallow exceptions
        finally:
            self._idle.put(connection)

    def _try_lock(self) -> int:
        descriptor = os.open(
            self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return -1
        return descriptor

    def _apply(self, update: CatalogueUpdate, after: CatalogueProgress) -> bool:
        self._writer = self._writer or opened(self._path)
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            if progress_of(self._writer) != after:
                self._writer.execute("ROLLBACK")
                return False
            write(self._writer, update)
            failpoint("search.written")
            self._writer.execute("COMMIT")
            failpoint("search.committed")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        return True

    def _release(self) -> None:
        self._writing.shutdown(wait=True)
        self._reading.shutdown(wait=True)
        for connection in [self._writer, self._here, *(self._idle.get() for _ in range(_READERS))]:
            if connection is not None:
                connection.close()
        if self._lock >= 0:
            os.close(self._lock)


def make_catalogue(_url: str, context: Context) -> SqliteCatalogue:
    """The catalogue in the data directory."""
    return SqliteCatalogue(context.data / FILE)


def _closed() -> Unavailable:
    return Unavailable("the catalogue of searches is closed")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise StorageFull(f"the disk of {path.name} is full", hint="free space on the disk") from error
    except (apsw.CorruptError, apsw.NotADBError, msgspec.DecodeError) as error:
        raise Corrupt(
            f"{path.name} is damaged: {error}",
            hint="stop the servers and remove the file; the next start makes it again",
        ) from error
    except (apsw.Error, OSError) as error:
        raise Unavailable(f"{path.name} cannot be used now: {error}") from error


if TYPE_CHECKING:
    _: type[SearchCatalogue] = SqliteCatalogue
