"""The store in PostgreSQL passes the contract suite of index stores, on a real server. Each test has a schema of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from pkgindex_core.engines.postgresql.making import open_postgresql
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.testing.index_machine import IndexMachine
from pkgindex_core.testing.index_store import IndexStoreContract
from tests.database_server import DatabaseServer

TABLES = [
    "sizes",
    "commits",
    "users",
    "tokens",
    "configs",
    "tree_changes",
    "pages",
    "loose_pages",
    "standings",
    "files",
    "tombstones",
    "strays",
    "releases",
    "attachments",
    "listings",
    "listed_names",
    "notes",
    "indexes",
    "head",
    "note_versions",
]
EMPTY = ";".join(
    [
        *(f"DELETE FROM {table}" for table in TABLES),
        "INSERT INTO head VALUES (0, 0)",
        "INSERT INTO note_versions VALUES (0)",
    ]
)


class Media:
    """Schemas for the directories of tests. A schema that was emptied is used again, because making one takes longest."""

    def __init__(self, server: DatabaseServer) -> None:
        self._server = server
        self._empty: list[str] = []
        self._count = 0
        self._used: dict[Path, str] = {}

    async def url(self, data: Path) -> str:
        if data not in self._used:
            if not self._empty:
                self._count += 1
                self._empty.append(f"medium_{self._count}")
                await self.fetch("CREATE SCHEMA " + self._empty[-1])
            self._used[data] = self._empty.pop()
        return self._url(self._used[data])

    async def peek(self, data: Path, sql: str) -> list[tuple[Any, ...]]:
        return await self.fetch(sql, await self.url(data))

    async def fetch(self, sql: str, url: str = "") -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url or self._server.url(), statement_cache_size=0)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def clear(self) -> None:
        for schema in self._used.values():
            connection = await asyncpg.connect(self._url(schema))
            await connection.execute(EMPTY)
            await connection.close()
            self._empty.append(schema)
        self._used.clear()

    def _url(self, schema: str) -> str:
        return self._server.url(search_path=schema)


_media: list[Media] = []


@pytest.fixture(scope="module")
def media(database_server: DatabaseServer) -> Media:
    return Media(database_server)


@pytest.fixture(autouse=True)
def _a_place_on_the_server(media: Media) -> Iterator[None]:
    _media[:] = [media]
    yield
    asyncio.run(media.clear())


class TestPostgresqlIndex(IndexStoreContract):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_postgresql(await _media[0].url(context.data), context)

    async def peek_log(self) -> Sequence[tuple[int, str]]:
        return await self._peek("SELECT serial, who FROM commits ORDER BY serial")

    async def peek_files(self) -> Collection[tuple[str, str, str, str]]:
        return set(
            await self._peek(
                "SELECT index_name, project, filename, encode(sha256, 'hex') FROM files"
                " WHERE died = 9223372036854775807 AND NOT mirrored"
            )
        )

    async def peek_notes(self) -> Collection[tuple[str, str, bytes]]:
        return await self._peek("SELECT kind, key, value FROM notes")

    async def _peek(self, sql: str) -> list[tuple[Any, ...]]:
        return await _media[0].peek(self.context.data, sql)


class PostgresqlMachine(IndexMachine):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_postgresql(await _media[0].url(context.data), context)


TestPostgresqlMachine = PostgresqlMachine.TestCase
TestPostgresqlMachine.settings = settings(
    max_examples=4, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
