"""Checks the upstreams of mirrors, and whether there are advisories for policies about them, for a warning when an index is made, changed or
first served.

A problem is never an error, because the upstream may be repaired later, and a feed be taken in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Trees
from pkgindex_core.protocols.advisories import AdvisoryBook
from pkgindex_core.protocols.sources import Examiner
from pkgindex_core.rules.policing.lines import ServerPolicies, asking_book
from pkgindex_core.rules.policing.own_advisories import own_records
from pkgindex_core.tools.sources import Sources

_AT_ONCE = 8


class Examining:
    """Asks the sources that can check their upstream, and the book of advisories."""

    def __init__(self, *, store: Trees, sources: Sources, book: AdvisoryBook, policies: ServerPolicies) -> None:
        self._store = store
        self._sources = sources
        self._book = book
        self._policies = policies
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def index(self, index: IndexConfig) -> str:
        """Describe the problems of an index in one line; empty when there are none."""
        return "; ".join(filter(None, (await self._upstream(index), self.advisories(index))))

    async def _upstream(self, index: IndexConfig) -> str:
        source: object = self._sources.of(index)
        if not isinstance(source, Examiner):
            return ""
        async with self._turns:
            return await source.examine(index)

    async def all(self) -> dict[IndexName, str]:
        """The problems of all indexes, by name."""
        indexes = list((await self._store.tree()).indexes.values())
        problems = await asyncio.gather(*map(self.index, indexes))
        return {index.name: problem for index, problem in zip(indexes, problems, strict=True) if problem}

    async def without_advisories(self) -> Sequence[IndexName]:
        """The indexes with policies about advisories, while none are known."""
        if self._book.revision:
            return ()
        return [name for name, each in sorted((await self._store.tree()).indexes.items()) if self.advisories(each)]

    def advisories(self, index: IndexConfig) -> str:
        """Describe the policies of an index that miss advisories; empty when there are none."""
        rules = () if self._book.revision or own_records(index) else asking_book(index, self._policies)
        if not rules:
            return ""
        return (
            f"no advisories were taken in yet, so {' and '.join(rules)} let{'s' if len(rules) == 1 else ''} everything through"
            " (name a feed in [plugins.advisories], or run pkgindex-serve advisory update FILE)"
        )
