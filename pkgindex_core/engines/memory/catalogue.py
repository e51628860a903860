"""A catalogue in memory: the readable reference. It ranks every entry for each search."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from pkgindex_core.hookspecs import Context
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import (
    FIRST,
    CatalogueProgress,
    CatalogueUpdate,
    Rank,
    RankedEntry,
    SearchCatalogue,
    SearchEntry,
    SearchQuery,
    listed,
)
from pkgindex_core.rules.searching.ranking import rank

_Key = tuple[IndexName, ProjectName]


class MemoryCatalogue:
    """A `SearchCatalogue` of one process."""

    def __init__(self) -> None:
        self._progress = CatalogueProgress()
        self._known: dict[_Key, SearchEntry] = {}
        """Projects that the indexes have."""
        self._listed: dict[_Key, SearchEntry] = {}
        """Names that mirrors list."""

    async def progress(self) -> CatalogueProgress:
        return self._progress

    async def lead(self) -> bool:
        return True

    async def apply(self, update: CatalogueUpdate, *, after: CatalogueProgress) -> bool:
        if self._progress != after:
            return False
        gone = {
            key for key in self._known.keys() | self._listed.keys() if update.clear or key[0] in update.drop_indexes
        }
        for key in gone:
            self._known.pop(key, None)
            self._listed.pop(key, None)
        for key in update.drop:
            self._known.pop(key, None)
        self._known |= {(entry.index, entry.project): entry for entry in update.put}
        for names in update.names:
            for project in names.drop:
                self._listed.pop((names.index, project), None)
            for project, display_name in names.put:
                self._listed[names.index, project] = listed(names.index, project, display_name)
        self._progress = update.progress
        return True

    async def find(
        self, query: SearchQuery, indexes: Collection[IndexName], *, after: Rank = FIRST, limit: int = 100
    ) -> Sequence[RankedEntry]:
        found = (
            RankedEntry(place, entry)
            for entry in (self._listed | self._known).values()
            if entry.index in indexes and (place := rank(query, entry)) is not None and place > after
        )
        return heapq.nsmallest(limit, found, key=lambda each: each.rank)

    async def close(self) -> None:
        pass


def make_catalogue(_url: str, _context: Context) -> MemoryCatalogue:
    """Make an empty catalogue."""
    return MemoryCatalogue()


if TYPE_CHECKING:
    _: type[SearchCatalogue] = MemoryCatalogue
