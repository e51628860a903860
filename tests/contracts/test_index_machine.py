"""Random lives of every index store beside the reference."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from pkgindex_core.engines.behind import IndexBehind
from pkgindex_core.engines.memory.index import open_memory
from pkgindex_core.engines.sqlite.index import open_sqlite
from pkgindex_core.hookspecs import Context
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.testing.index_machine import IndexMachine

_FEW = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class SqliteMachine(IndexMachine):
    async def open_store(self, context: Context) -> IndexStore:
        return await open_sqlite("sqlite://", context)


class BehindMachine(SqliteMachine):
    """What stands around a store, with nothing learned, is that store."""

    async def open_store(self, context: Context) -> IndexStore:
        return IndexBehind(await super().open_store(context))


class MemoryMachine(IndexMachine):
    """The machine itself: the reference agrees with itself."""

    survives_reopening = False

    async def open_store(self, context: Context) -> IndexStore:
        return await open_memory("memory://", context)


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = _FEW
TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(_FEW, max_examples=5)
TestBehindMachine = BehindMachine.TestCase
TestBehindMachine.settings = settings(_FEW, max_examples=5)
