"""Makes sure that a database can be used, and migrates it: one server at a time, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from pkgindex_core.clock import Clock
from pkgindex_core.engines.migrations import Migration
from pkgindex_core.engines.postgresql.sessions import Session
from pkgindex_core.errors import Missing, Refused

OLDEST_SERVER: Final = 13
_LOCK: Final = 0x706B6978  # "pkix"
"""The advisory lock of a migration."""


async def prepare(session: Session, name: str, clock: Clock, steps: Sequence[Migration], *, may_create: bool) -> None:
    """Migrate a database that needs it. Without `may_create`, raises `Missing` for one without a schema, and changes nothing."""
    await _require_server(session, name)
    version = await _version(session)
    if version == 0 and not may_create:
        raise Missing("index database", name, message=f"the database {name} has no index")
    if version < len(steps):
        await _migrate(session, name, clock, steps)
        return
    _require_known(version, steps, name)


async def _require_server(session: Session, name: str) -> None:
    server = session.connection.get_server_version()
    if server.major < OLDEST_SERVER:
        raise Refused(
            f"the database server of {name} is PostgreSQL {server.major}; at least {OLDEST_SERVER} is needed",
            hint="upgrade the database server",
        )
    ((encoding, waits),) = await session.rows(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit') <> 'off'"
    )
    if not waits:
        raise Refused(
            f"the database {name} acknowledges commits before they are on disk (synchronous_commit is off)",
            hint="switch it on for this database: ALTER DATABASE NAME SET synchronous_commit = on",
        )
    if encoding != "UTF8":
        raise Refused(
            f"the database {name} has the encoding {encoding}",
            hint="create one with UTF-8: createdb -E UTF8 -T template0 NAME",
        )


async def _version(session: Session) -> int:
    # Not `to_regclass`: it answers from a cache that may not know yet what another server has committed.
    exists = await session.rows(
        "SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relname = 'pkgindex_migrations' AND nspname = ANY(current_schemas(false))"
    )
    if not exists:
        return 0
    ((version,),) = await session.rows("SELECT coalesce(max(number), 0) FROM pkgindex_migrations")
    return int(version)


def _require_known(version: int, steps: Sequence[Migration], name: str) -> None:
    if version > len(steps):
        raise Refused(
            f"the database {name} has schema {version}; this version of pkgindex knows schemas up to {len(steps)}",
            hint="start the newer pkgindex again, or restore the backup that was made before it was upgraded",
        )


async def _migrate(session: Session, name: str, clock: Clock, steps: Sequence[Migration]) -> None:
    connection: asyncpg.Connection[Any] = session.connection
    try:
        async with connection.transaction():
            await session.rows("SELECT pg_advisory_xact_lock($1)", _LOCK)
            version = await _version(session)  # another server may have migrated it first
            _require_known(version, steps, name)
            await session.run(
                "CREATE TABLE IF NOT EXISTS pkgindex_migrations"
                " (number bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied bigint NOT NULL)"
            )
            for step in steps[version:]:
                await session.run(step.text)
                await session.rows(
                    "INSERT INTO pkgindex_migrations VALUES ($1, $2, $3, $4)",
                    step.number,
                    step.name,
                    step.checksum,
                    clock.now(),
                )
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError) as error:
        raise Refused(
            f"the database {name} has tables of another program: {error}",
            hint="give pkgindex a database of its own, or a schema of its own: postgresql://…/DATABASE?search_path=SCHEMA",
        ) from error
