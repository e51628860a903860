"""Whether the upstreams of mirrors are what they should be: for a warning when an index is made, changed or first served.

Never an error: an upstream that is wrong or away today may be right tomorrow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import IndexStore, Refresher
from pkgindex_core.protocols.mirrors import Examiner

_AT_ONCE = 8


class Examining:
    """Asks the refreshers that can tell."""

    def __init__(self, *, store: IndexStore, refreshers: Mapping[str, Refresher]) -> None:
        self._store = store
        self._refreshers = refreshers
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def index(self, index: IndexConfig) -> str:
        """What is wrong with the upstream of an index, in one sentence; empty when nothing is, or when it has none."""
        refresher: object = self._refreshers.get(index.type)
        if not isinstance(refresher, Examiner):
            return ""
        async with self._turns:
            return await refresher.examine(index)

    async def all(self) -> dict[IndexName, str]:
        """The same of every index with whose upstream something is wrong."""
        indexes = list((await self._store.tree()).indexes.values())
        problems = await asyncio.gather(*map(self.index, indexes))
        return {index.name: problem for index, problem in zip(indexes, problems, strict=True) if problem}
