"""The SQLite file of a mirror, and the one thread that has its connection.

Rows are written after what they say is on the disk. So rows that are lost, as by a power cut, cost some work and nothing else: a commit is
not synchronised by itself, only by `checkpoint`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import msgspec

from pkgindex_core.compression import ZstdError
from pkgindex_core.errors import Conflict, Corrupt, StorageFull, Unavailable

Result = TypeVar("Result")

_APPLICATION: Final = 0x706B6D74  # "pkmt"
_FORMAT: Final = 1
_PATIENCE_MS: Final = 10_000
_SCHEMA: Final = """
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE states(name TEXT PRIMARY KEY, state BLOB NOT NULL, failing INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX failing ON states(name) WHERE failing = 1;
CREATE TABLE pages(name TEXT PRIMARY KEY, page BLOB NOT NULL, left_out BLOB NOT NULL, document BLOB NOT NULL,
    shown BLOB NOT NULL, whole INTEGER NOT NULL);
CREATE TABLE listed(name TEXT PRIMARY KEY, raw TEXT NOT NULL, stamp INTEGER NOT NULL, hidden INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE files(path TEXT, project TEXT, size INTEGER NOT NULL, modified INTEGER NOT NULL, sha256 BLOB NOT NULL,
    PRIMARY KEY(path, project)) WITHOUT ROWID;
CREATE TABLE doomed(number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE changed(number INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
"""
_AGAIN: Final = "move .pkgindex/mirror.db away: the tree is then taken over again from its pages"


class MirrorDatabase:
    """The file. Construct, then `open`. All methods but the asynchronous ones are called inside `do` or `transact`."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        """`reading`: without a file there are no rows, and none is made."""
        self._path = path
        self._reading = reading
        self._thread: ThreadPoolExecutor | None = None
        self._connection: apsw.Connection | None = None

    async def open(self) -> None:
        """Open the file, or make it. `Corrupt` when it is damaged or not of a mirror."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mirror rows")
        await self.do(self._open)

    async def close(self) -> None:
        """Close the file, with everything in it durable."""
        if self._thread is None:
            return
        await self.do(self._close)
        self._thread.shutdown()
        self._thread = None

    async def checkpoint(self) -> None:
        """Return when all rows survive a power cut, and are in the file itself."""
        await self.do(lambda: self.one("PRAGMA wal_checkpoint(TRUNCATE)"))

    async def do(self, function: Callable[[], Result]) -> Result:
        """Run a function in the thread of the connection."""

        def work() -> Result:
            with _translated():
                return function()

        if self._thread is None:
            raise Unavailable("the mirror's rows are closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def transact(self, work: Callable[[], object]) -> None:
        """Run a function in one transaction."""

        def within() -> None:
            connection = self._opened
            connection.execute("BEGIN IMMEDIATE")
            try:
                work()
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite ends a transaction itself when the disk is full
                    connection.execute("ROLLBACK")
                raise

        await self.do(within)

    def one(self, query: str, values: Sequence[Any] = ()) -> Any:
        """The first row; None when there is none."""
        return next(iter(self._opened.execute(query, values)), None)

    def all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        return list(self._opened.execute(query, values))

    def run(self, query: str, values: Sequence[Any] = ()) -> None:
        self._opened.execute(query, values)

    def many(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a query for each row."""
        if rows:
            self._opened.executemany(query, rows)

    def each(self, query: str, items: Sequence[Any], *more: Any) -> list[Any]:
        """Run one query for all items, which it has from `json_each(?1)`. That is faster than `many`: other threads go on once, not for each row."""
        return self.all(query, (msgspec.json.encode(items).decode(), *more)) if items else []

    @property
    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            raise Unavailable("the mirror's rows are closed")
        return self._connection

    def _open(self) -> None:
        is_imagined = self._reading and not self._path.exists()
        connection = apsw.Connection(":memory:" if is_imagined else str(self._path))
        self._connection = connection
        connection.set_busy_timeout(_PATIENCE_MS)
        found = (connection.pragma("application_id"), connection.pragma("user_version"))
        is_new = not self.all("SELECT 1 FROM sqlite_schema LIMIT 1")
        if not is_new and found != (_APPLICATION, _FORMAT):
            raise Corrupt("the file of the mirror's rows is of another program or version", hint=_AGAIN)
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", "NORMAL")
        if is_new:
            with connection:
                connection.execute(_SCHEMA)
                connection.pragma("application_id", _APPLICATION)
                connection.pragma("user_version", _FORMAT)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except apsw.FullError as error:
        raise StorageFull(
            "no room for the mirror's rows", retry_after=300, hint="free space on the file system of the mirror"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError, msgspec.DecodeError, ZstdError) as error:
        raise Corrupt("the file of the mirror's rows is damaged", hint=_AGAIN) from error
    except apsw.BusyError as error:
        raise Conflict("another program writes the mirror's rows", hint="wait until it has ended") from error
    except apsw.Error as error:
        raise Unavailable(f"the mirror's rows cannot be used: {error}", hint="see the log for the cause") from error
