"""The store in PostgreSQL passes the contract suite of index stores, on a real server. Each test has a schema of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

from pkgindex_core.engines.behind import IndexBehind
from pkgindex_core.engines.postgresql.making import open_postgresql
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.testing.index_machine import IndexMachine
from pkgindex_core.testing.index_store import IndexStoreContract
from tests.contracts.test_index_stores import LONG, Behind
from tests.database_server import DatabaseServer


class Media:
    """The schemas of one test, by its directories."""

    def __init__(self, server: DatabaseServer) -> None:
        self._server = server
        self.schemas: set[str] = set()

    async def url(self, data: Path) -> str:
        schema = "t" + hashlib.sha256(bytes(data)).hexdigest()[:16]
        if schema not in self.schemas:
            self.schemas.add(schema)
            await self.fetch("CREATE SCHEMA " + schema)
        return self._server.url(search_path=schema)

    async def peek(self, data: Path, sql: str) -> list[tuple[Any, ...]]:
        return await self.fetch(sql, await self.url(data))

    async def fetch(self, sql: str, url: str = "") -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url or self._server.url(), statement_cache_size=0)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


_media: list[Media] = []


@pytest.fixture(autouse=True)
def _a_place_on_the_server(database_server: DatabaseServer) -> Iterator[None]:
    _media[:] = [Media(database_server)]
    yield
    for schema in _media.pop().schemas:
        database_server.sql(f"SET client_min_messages = error; DROP SCHEMA {schema} CASCADE")


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


class TestPostgresqlIndexBehind(Behind, TestPostgresqlIndex):
    async def open_store(self, context: Context) -> IndexStore:
        return IndexBehind(await super().open_store(context), linger=LONG)


class PostgresqlMachine(IndexMachine):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_postgresql(await _media[0].url(context.data), context)


TestPostgresqlMachine = PostgresqlMachine.TestCase
TestPostgresqlMachine.settings = settings(
    max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
