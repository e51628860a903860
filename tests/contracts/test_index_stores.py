"""Every index store passes the contract suite."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import apsw

from pkgindex_core.changes import Commit
from pkgindex_core.engines.behind import IndexBehind
from pkgindex_core.engines.memory.index import MemoryIndex, open_memory
from pkgindex_core.engines.sqlite.index import open_sqlite
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Attachment, ProjectRow, Release, Serial, Token, User, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import IndexStore, Taken
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_store import IndexStoreContract
from pkgindex_core.testing.learning import LearningIndexContract


class InMemory(IndexStoreCases):
    """The back doors of a store in memory."""

    survives_reopening = False

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

    async def peek_notes(self) -> Collection[tuple[str, str, bytes]]:
        return [(kind, key, note.value) for (kind, key), note in self._memory._notes.items()]


class TestMemoryIndex(InMemory, IndexStoreContract):
    pass


class Tuples(MemoryIndex):
    """Answers with tuples where the reference has lists."""

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        return tuple(await super().commits(after, limit=limit))

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        return tuple(await super().former(index, filename))

    async def users(self, *, at: Serial | None = None) -> Sequence[User]:
        return tuple(await super().users(at=at))

    async def tokens(self, user: str) -> Sequence[Token]:
        return tuple(await super().tokens(user))

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        return tuple(await super().projects(index, at=at, after=after, limit=limit))

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        return tuple(await super().releases(index, project, at=at))

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        return tuple(await super().released(index, project, at=at))

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        return tuple(await super().attachments(index, project, at=at))

    async def check(self) -> Sequence[str]:
        return ()


class TestTuples(InMemory, IndexStoreContract):
    """The suite asks for the sequences and collections of the role, not for lists and sets."""

    async def open_store(self, context: Context) -> IndexStore:
        return Tuples(context.clock)

    async def peek_log(self) -> Sequence[tuple[int, str]]:
        return tuple(await super().peek_log())

    async def peek_files(self) -> Collection[tuple[str, str, str, str]]:
        return tuple(await super().peek_files())

    async def peek_notes(self) -> Collection[tuple[str, str, bytes]]:
        return frozenset(await super().peek_notes())


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

    async def peek_notes(self) -> Collection[tuple[str, str, bytes]]:
        return self._peek("SELECT kind, key, value FROM notes")

    def _peek(self, sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(self.context.data / "index.db"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


LONG = 60.0
"""Seconds for which nothing that was learned is stored by itself: a test says when."""


class Behind(LearningIndexContract):
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
