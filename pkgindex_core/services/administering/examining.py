"""Whether the upstreams of mirrors are what they should be: for a warning when an index is made, changed or first served.

Never an error: an upstream that is wrong or away today may be right tomorrow.
"""

from __future__ import annotations

import asyncio

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Trees
from pkgindex_core.protocols.sources import Examiner
from pkgindex_core.tools.sources import Sources

_AT_ONCE = 8


class Examining:
    """Asks the sources that can tell."""

    def __init__(self, *, store: Trees, sources: Sources) -> None:
        self._store = store
        self._sources = sources
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def index(self, index: IndexConfig) -> str:
        """What is wrong with the upstream of an index, in one sentence; empty when nothing is, or when it has none."""
        source: object = self._sources.of(index)
        if not isinstance(source, Examiner):
            return ""
        async with self._turns:
            return await source.examine(index)

    async def all(self) -> dict[IndexName, str]:
        """The same of every index with whose upstream something is wrong."""
        indexes = list((await self._store.tree()).indexes.values())
        problems = await asyncio.gather(*map(self.index, indexes))
        return {index.name: problem for index, problem in zip(indexes, problems, strict=True) if problem}
