"""Checks the upstreams of mirrors, for a warning when an index is made, changed or first served.

A problem is never an error, because the upstream may be repaired later.
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
    """Asks the sources that can check their upstream."""

    def __init__(self, *, store: Trees, sources: Sources) -> None:
        self._store = store
        self._sources = sources
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def index(self, index: IndexConfig) -> str:
        """Describe the problem of an index's upstream in one sentence; empty when there is no problem or no upstream."""
        source: object = self._sources.of(index)
        if not isinstance(source, Examiner):
            return ""
        async with self._turns:
            return await source.examine(index)

    async def all(self) -> dict[IndexName, str]:
        """The problems of all upstreams, by index."""
        indexes = list((await self._store.tree()).indexes.values())
        problems = await asyncio.gather(*map(self.index, indexes))
        return {index.name: problem for index, problem in zip(indexes, problems, strict=True) if problem}
