"""The library's errors for those of PostgreSQL and of the connection to it."""

from __future__ import annotations

from typing import Final

import asyncpg

from pkgindex_core.errors import Conflict, PkgIndexError, Refused, StorageFull, Unavailable

LOST: Final = (
    OSError,  # TimeoutError too
    EOFError,
    asyncpg.PostgresConnectionError,  # also what a pooler says when its server has gone
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # also "no host takes writes", and answers that are none
    asyncpg.OperatorInterventionError,  # a backend was ended, or the server stops or starts
    asyncpg.ReadOnlySQLTransactionError,  # this server was the primary until now
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
)
"""The connection is of no use any more. Another one may be, a moment later."""
COLLIDED: Final = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
"""Two transactions were in each other's way (serialization failures, deadlocks), and this one was rolled back."""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed when it is sent again."""
    if isinstance(error, ValueError):  # asyncpg's errors of values and settings, which are InterfaceErrors too
        return False
    return isinstance(error, (*LOST, *COLLIDED))


def closed() -> Unavailable:
    return Unavailable("the index store is closed")


def translation(error: BaseException, place: str) -> PkgIndexError:
    """The library's error. `place` names the database without secrets."""
    match error:
        case PkgIndexError():
            return error
        case asyncpg.DiskFullError():
            return StorageFull(
                f"the disk of the index database {place} is full; nothing was changed",
                hint="free space on the database's disk; the server then goes on without a restart",
            )
        case asyncpg.InvalidCatalogNameError():
            return Refused(f"there is no database {place}", hint="create it, empty: createdb -E UTF8 NAME")
        case asyncpg.InvalidAuthorizationSpecificationError():
            return Unavailable(
                f"the index database {place} refuses this user: {error}",
                hint="check the user in the URL, the password (PGPASSWORD or a password file), and pg_hba.conf",
            )
        case asyncpg.InsufficientPrivilegeError():
            return Unavailable(
                f"the index database {place} does not let this user do it: {error}",
                hint="make the user the owner of the database or of the schema",
            )
        case asyncpg.ReadOnlySQLTransactionError() | asyncpg.TargetServerAttributeNotMatched():
            return Unavailable(
                f"the index database {place} takes no writes: no host of the URL is a primary",
                hint="promote a standby, or name the primary among the hosts of the URL",
            )
        case asyncpg.TooManyConnectionsError():
            return Unavailable(
                f"the index database {place} has no connection to spare: {error}",
                hint="raise max_connections, or put PgBouncer in transaction mode before the database",
            )
        case asyncpg.ProgramLimitExceededError():
            return Refused(f"one change is too large for the index database: {error}")
        case asyncpg.IntegrityConstraintViolationError():
            return Conflict(f"the change contradicts what is stored: {error}")
        case asyncpg.DataError():
            return Refused(f"the change cannot be stored: {error}")
        case asyncpg.ClientConfigurationError() | ValueError():  # its text may have a part of a password
            return Refused(
                f"the URL of the index database {place} cannot be used",
                hint="write postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTIONS, and signs like @ : / # ? of a password as %40 %3A %2F %23 %3F",
            )
        case TimeoutError():
            return Unavailable(
                f"the index database {place} does not answer",
                hint="check the database server, the network, and whether a transaction holds its locks",
            )
        case OSError() | EOFError() | asyncpg.PostgresConnectionError() | asyncpg.OperatorInterventionError():
            return Unavailable(
                f"the index database {place} cannot be reached: {str(error) or type(error).__name__}",
                hint="check that the database server runs and that the host and port of the URL are right",
            )
        case _:
            return Unavailable(
                f"the index database {place} failed: {str(error) or type(error).__name__}",
                hint="look into the log of the database server",
            )
