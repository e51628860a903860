"""Every index store passes the contract suite."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import apsw

from pkgindex_core.engines.behind import IndexBehind
from pkgindex_core.engines.memory.index import MemoryIndex, open_memory
from pkgindex_core.engines.sqlite.index import open_sqlite
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import decode_file
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.testing.index_cases.learned import LearnedPageCases
from pkgindex_core.testing.index_store import IndexStoreContract


class TestMemoryIndex(IndexStoreContract):
    survives_reopening = False
    shares_medium = False

    async def open_store(self, context: Context) -> IndexStore:
        return await open_memory("memory://", context)

    @property
    def _memory(self) -> MemoryIndex:
        store = self.store.inner if isinstance(self.store, IndexBehind) else self.store
        assert isinstance(store, MemoryIndex)
        return store

    async def peek_log(self) -> Sequence[tuple[int, str]]:
        return [(commit.serial, commit.who) for commit in self._memory._commits]

    async def peek_files(self) -> Collection[tuple[str, str, str, str]]:
        return {
            (name, project, filename, decode_file(row.body).digests["sha256"])
            for name, index in self._memory.now.indexes.items()
            for project, state in index.projects.items()
            if not state.mirrored
            for filename, row in state.rows.items()
        }


class TestSqliteIndex(IndexStoreContract):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_sqlite("sqlite://", context)

    async def peek_log(self) -> Sequence[tuple[int, str]]:
        return self._peek("SELECT serial, who FROM commits ORDER BY serial")

    async def peek_files(self) -> Collection[tuple[str, str, str, str]]:
        return set(
            self._peek(
                "SELECT name, project, filename, lower(hex(sha256)) FROM files JOIN index_names ON index_names.id = index_id"
                " WHERE died = 9223372036854775807"
            )
        )

    def _peek(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.context.data / "index.db"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


LONG = 60.0
"""Seconds for which nothing that was learned is stored by itself: a test says when."""


class Behind(LearnedPageCases):
    """A store of another kind, with what is learned before it."""

    def within(self) -> IndexStore:
        assert isinstance(self.store, IndexBehind)
        return self.store.inner

    async def failing(self, error: Unavailable | None) -> None:
        store = self.within()
        if error is None:
            del store.apply
            return

        async def apply(*_: Any, **__: Any) -> None:
            raise error

        store.apply = apply  # type: ignore[method-assign]  # a disk that is full


class TestMemoryIndexBehind(Behind, TestMemoryIndex):
    async def open_store(self, context: Context) -> IndexStore:
        return IndexBehind(await open_memory("memory://", context), linger=LONG)


class TestSqliteIndexBehind(Behind, TestSqliteIndex):
    async def open_store(self, context: Context) -> IndexStore:
        return IndexBehind(await open_sqlite("sqlite://", context), linger=LONG)
