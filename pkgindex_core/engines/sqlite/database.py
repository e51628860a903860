"""Opening a SQLite file so that acknowledged commits are durable, with an exact error when it cannot be opened.

All connections are made here. The rules: SQLite is at least 3.51.3, since older ones can corrupt a WAL database; WAL with
`synchronous = FULL`, so that a commit that returned is on the disk; no memory map. Readers are opened read-write with `query_only`:
only a connection that may write can recover the WAL after another process was killed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import apsw
import msgspec

from pkgindex_core.clock import Clock
from pkgindex_core.compression import ZstdError
from pkgindex_core.engines.migrations import Migration, migrations
from pkgindex_core.engines.sqlite.checksums import file_system, have_checksums, renew_checksums, require_comparing
from pkgindex_core.errors import Conflict, Corrupt, Missing, PkgIndexError, Refused, StorageFull, Unavailable

OLDEST_SQLITE: Final = (3, 51, 3)
"""3.7.0 to 3.51.2 can corrupt a WAL database when two connections write or checkpoint at once."""
APPLICATION_ID: Final = 0x706B6978  # "pkix"
LIVE: Final = 2**63 - 1
"""`died` of a row that has not died."""
NOW: Final = LIVE - 1
"""The serial of reads of the present: only live rows are true as of it."""

WRITER_PATIENCE_MS: Final = 10_000
READER_PATIENCE_MS: Final = 2_000
CHECK_SECONDS: Final = 0.2
"""Seconds for which each start checks the database. `verify` checks all of it."""
CHECK_SECONDS_AFTER_UNCLEAN_STOP: Final = 2.0
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, ZstdError)
"""Errors of decoding a damaged row, in a database without page checksums."""
_WAL_SIZE_KEPT: Final = 64 * 1024 * 1024


def require_safe_sqlite(version: str) -> None:
    """Refuse a SQLite that can damage the database."""
    numbers = tuple(int(part) for part in version.split(".")[:3])
    if numbers < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise Refused(
            f"SQLite {version} can corrupt a database in WAL mode; at least {oldest} is needed",
            hint="install a current apsw wheel, which brings its own SQLite: pip install --upgrade apsw",
        )


def prepare(path: Path, clock: Clock, steps: Sequence[Migration] | None = None) -> None:
    """Create or migrate a database file, and make sure that this program may use it."""
    require_safe_sqlite(apsw.sqlite_lib_version())
    _create_private(path)
    require_comparing(path)
    unclean = _size(path.with_name(path.name + "-wal")) > 0
    with translated(path), contextlib.closing(connect(path, patience_ms=WRITER_PATIENCE_MS)) as connection:
        _identify(connection, path)
        have_checksums(connection)
        _quick_check(connection, path, CHECK_SECONDS_AFTER_UNCLEAN_STOP if unclean else CHECK_SECONDS)
        _enter_wal_mode(connection, path)
        _migrate(connection, path, clock, migrations("sqlite") if steps is None else steps)


def renew(path: Path) -> None:
    """Rewrite an undamaged database with page checksums. Raises `Corrupt` for a damaged one."""
    require_comparing(path)
    with translated(path), contextlib.closing(connect(path, patience_ms=0)) as connection:
        connection.pragma("checksum_verification", False)
        _identify(connection, path)
        problems = [text for (text,) in connection.execute("PRAGMA integrity_check(3)") if text != "ok"]
        if problems:
            raise damaged(path, "; ".join(problems))
        renew_checksums(connection)


def require_content(path: Path) -> None:
    """Refuse a file that is missing or empty."""
    try:
        if path.stat().st_size:
            return
        state = "is empty"
    except (FileNotFoundError, NotADirectoryError):
        state = "does not exist"
    except OSError as error:
        raise os_translation(error, path) from error
    raise Missing("index database", str(path), message=f"the index database {path} {state}")


# The system's page cache has the rest of the database. Over 37 MiB with random commits and reads 16 MB for the writer and 8 MB for each
# reader were no faster than this, and took 20 MB more.
_WRITER_CACHE_KIB: Final = 2000
POINT_CACHE_KIB: Final = 2000
"""For reads of a few rows."""
SCAN_CACHE_KIB: Final = 500
"""For reads of many rows, each of which is read once."""


def open_writer(path: Path) -> apsw.Connection:
    with translated(path):
        connection = connect(path, patience_ms=WRITER_PATIENCE_MS)
        for setting in (
            "PRAGMA synchronous = FULL",
            "PRAGMA foreign_keys = ON",
            "PRAGMA temp_store = MEMORY",
            f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}",
            f"PRAGMA journal_size_limit = {_WAL_SIZE_KEPT}",
        ):
            connection.execute(setting).fetchall()
        connection.execute("SELECT probes FROM medium").fetchall()  # creates the -wal file
        _sync_directory(path.parent)
    return connection


def open_reader(path: Path, *, cache_kib: int) -> apsw.Connection:
    with translated(path):
        connection = connect(path, patience_ms=READER_PATIENCE_MS)
        for setting in (
            "PRAGMA query_only = ON",
            "PRAGMA temp_store = MEMORY",
            f"PRAGMA cache_size = -{cache_kib}",
        ):
            connection.execute(setting).fetchall()
    return connection


def connect(path: Path, *, patience_ms: int) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=file_system())
    connection.set_busy_timeout(patience_ms)
    # Otherwise SQLite prepares some statements again whenever a value is bound, to look for a better plan: twice the time of a join.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate exceptions of apsw into those of the library."""
    try:
        yield
    except (apsw.Error, *UNREADABLE) as error:
        raise translation(error, path) from error
    except OSError as error:
        raise os_translation(error, path) from error


def translation(error: Exception, path: Path) -> PkgIndexError:
    """The library's error for an error of SQLite, or of decoding a row."""
    if isinstance(error, UNREADABLE):
        return damaged(path, f"a row cannot be read: {error}")
    match error:
        case apsw.FullError():
            return StorageFull(
                f"the disk of the index database {path} is full; nothing was changed",
                hint="free space on the disk; the server then goes on without a restart",
            )
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(
                f"the index database {path} is locked by another process",
                hint="find the process that holds the lock; it has a transaction that does not end",
            )
        case apsw.NotADBError():
            return Corrupt(
                f"{path} is not a SQLite database (or it is encrypted or overwritten)",
                hint="check the path; if it was the index, restore it from a backup",
            )
        case apsw.IOError() if getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA:
            return damaged(path, "a page does not match its checksum or its structure")
        case apsw.CorruptError():
            return damaged(path, str(error))
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return Unavailable(
                f"the index database {path} cannot be written: {error}",
                hint="make the file and its directory writable for the user that runs the server",
            )
        case apsw.CantOpenError():
            return Unavailable(
                f"the index database {path} cannot be opened",
                hint="check that its directory exists and is readable and writable, and the limit of open files",
            )
        case apsw.TooBigError():
            return Refused(f"one change is too large for the index database: {error}")
        case apsw.ConstraintError():
            return Conflict(f"the change contradicts what is stored: {error}")
        case apsw.ConnectionClosedError():
            return closed()
        case _:
            return Unavailable(f"the index database {path} failed: {error}", hint="check the disk and the system log")


def os_translation(error: OSError, path: Path) -> PkgIndexError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(
            f"the disk of the index database {path} is full: {error.strerror}", hint="free space on the disk"
        )
    return Unavailable(
        f"the index database {path} failed: {error.strerror or error}", hint="check the disk and the system log"
    )


def damaged(path: Path, how: str) -> Corrupt:
    return Corrupt(
        f"the index database {path} is damaged: {how}",
        hint="stop the server, keep a copy of the file and of its -wal, and restore from a backup. If another program wrote to the file"
        " (SQLite's own tools do when they make a backup), pages have no checksums: run pkgindex-serve verify --renew-checksums",
    )


def closed() -> Unavailable:
    return Unavailable("the index store is closed")


def _create_private(path: Path) -> None:
    # The file has password hashes, so it is made with mode 0600. SQLite gives -wal and -shm the same mode.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except FileNotFoundError as error:
        raise Refused(
            f"the directory {path.parent} does not exist", hint="create it, or choose another path"
        ) from error
    except IsADirectoryError as error:
        raise Refused(f"{path} is a directory", hint="name the database file itself") from error
    except OSError as error:
        raise Unavailable(
            f"the index database {path} cannot be written: {error.strerror}",
            hint="make the file and its directory writable for the user that runs the server",
        ) from error


def _sync_directory(directory: Path) -> None:
    # SQLite does this when it creates the log, but ignores failures. Acknowledged commits would be lost with the entry of the log.
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identify(connection: apsw.Connection, path: Path) -> None:
    # In this order: another process may be creating the file, and writes the mark together with the first table.
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    owner = connection.pragma("application_id")
    if owner != APPLICATION_ID and not (owner == 0 and empty):
        raise Refused(
            f"{path} is a database of another program (application_id {owner:#x})",
            hint="choose another path; nothing in it was changed",
        )


def _quick_check(connection: apsw.Connection, path: Path, seconds: float) -> None:
    """Check the checksums and structure of pages, for at most so many seconds."""
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)
    try:
        problems = [text for (text,) in connection.execute("PRAGMA quick_check(3)") if text != "ok"]
    except apsw.InterruptError:
        return
    finally:
        connection.set_progress_handler(None)
    if problems:
        raise damaged(path, "; ".join(problems))


def _enter_wal_mode(connection: apsw.Connection, path: Path) -> None:
    # SQLite does not call the busy handler here when two processes create the file at once.
    for attempt in range(50):
        try:
            mode = connection.pragma("journal_mode", "wal")
            break
        except apsw.BusyError:
            if attempt == 49:
                raise
            time.sleep(0.02)
    if mode != "wal":
        raise Refused(
            f"SQLite cannot use its write-ahead log for {path} (the journal mode stays {mode!r})",
            hint="put the file on a local disk; network file systems cannot share memory between processes",
        )


def _migrate(connection: apsw.Connection, path: Path, clock: Clock, steps: Sequence[Migration]) -> None:
    connection.execute("PRAGMA synchronous = FULL").fetchall()
    if connection.pragma("user_version") == len(steps):
        return
    connection.create_scalar_function("sha256", _sha256, 1, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.pragma("user_version")  # another process may have migrated it first
        if version > len(steps):
            raise Refused(
                f"{path} has schema {version}; this version of pkgindex knows schemas up to {len(steps)}",
                hint="start the newer pkgindex again, or restore the backup that was made before it was upgraded",
            )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
            " checksum TEXT NOT NULL, applied INTEGER NOT NULL) STRICT"
        )
        for step in steps[version:]:
            connection.execute(step.text).fetchall()
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, ?)", (step.number, step.name, step.checksum, clock.now())
            )
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(steps))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _sha256(*values: apsw.SQLiteValue) -> bytes:
    (data,) = values
    assert isinstance(data, bytes), "migrations ask for the digest of a BLOB"
    return sha256(data).digest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
