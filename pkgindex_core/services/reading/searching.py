"""Searches for projects, in an index with its bases or in all indexes. No upstream is asked.

    query -> the catalogue ranks -> each project is resolved as its page is -> what is shown of it

A name that admission, a page filter or missing rights keep from the page of a project is not found here either: the catalogue only proposes. In
an index, a project is found where its page would take it from, once. In all indexes, it is found in each index that has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied, Missing, PkgIndexError, Refused
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, PageFilter, Principal, Projects, Trees
from pkgindex_core.protocols.catalogue import (
    FIRST,
    Rank,
    RankedEntry,
    Restriction,
    SearchCatalogue,
    SearchEntry,
    SearchQuery,
)
from pkgindex_core.rules.filtering import applying
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.resolution import Chain, Layer, Resolution
from pkgindex_core.rules.searching.queries import plain_query
from pkgindex_core.rules.searching.ranking import rank
from pkgindex_core.services.administering.cataloguing import Cataloguing
from pkgindex_core.services.reading.assembling import QUICK, Assembling
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.workers import in_worker

MOST: Final = 100
"""The most projects of one answer."""
_PROPOSED: Final = 1000
"""The most proposals that one search looks at. An answer may then have fewer projects than asked for, and a place to go on from."""
_NEAR_SECONDS: Final = 0.1
_FEW_COMMITS: Final = 100
_FEW_SECONDS: Final = 1.0
_MANY_SECONDS: Final = 0.05
"""The most seconds for which a search waits for what was committed just now: a few commits, or many."""


class FoundProjects(Struct, frozen=True, kw_only=True):
    """A part of the result of a search, best first."""

    projects: tuple[SearchEntry, ...]
    after: str
    """The place behind this part, for the next one; empty: there is no more."""
    behind: int
    """The number of commits that the catalogue does not know yet."""
    is_whole: bool
    """False while the first catalogue of the store is made: there may be more."""


class _Store(Trees, Projects, ChangeLog, Protocol): ...


class Searching:
    """Answers searches."""

    def __init__(
        self,
        *,
        store: _Store,
        catalogue: SearchCatalogue,
        cataloguing: Cataloguing,
        resolving: Resolving,
        assembling: Assembling,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._cataloguing = cataloguing
        self._resolving = resolving
        self._assembling = assembling
        self._filters = filters
        self._workers = workers
        self._clock = clock

    async def search(
        self, query: SearchQuery, *, start: IndexName | None, principal: Principal, after: str = "", limit: int = 20
    ) -> FoundProjects:
        """Find projects in an index and its bases, or, if `start` is None, in all indexes that the principal may read.

        Raises `Refused` for an `after` that no answer had, and the errors of missing permissions for `start`.
        """
        place = _read_place(after) if after else FIRST
        limit = max(1, min(limit, MOST))
        behind = self._store.seen() - (await self._catalogue.progress()).serial
        progress = await self._cataloguing.caught_up(_FEW_SECONDS if behind <= _FEW_COMMITS else _MANY_SECONDS)
        indexes = await self._indexes(start, principal)
        chains: dict[IndexName, Chain] = {}
        shown: list[RankedEntry] = []
        # Of two mirrors that list a name, each may give it. Their entries stand next to each other.
        names = {place.project} if start is not None else set[str]()
        left = _PROPOSED
        while left > 0 and len(shown) <= limit:  # one more than is asked for: is there more?
            found = await self._catalogue.find(query, indexes, after=place, limit=limit + 1)
            if not found:
                break
            for place, entry in found:
                left -= 1
                if len(shown) <= limit and entry.project not in names:
                    seen = await self._seen(entry, start, principal, query, chains)
                    if seen is not None:
                        shown.append(RankedEntry(place, seen))
                        names |= {entry.project} if start is not None else set()
            await asyncio.sleep(0)
        return FoundProjects(
            projects=tuple(each.entry for each in shown[:limit]),
            after=_write_place(shown[limit - 1].rank if len(shown) > limit else place)
            if left <= 0 or len(shown) > limit
            else "",
            behind=max(0, self._store.seen() - progress.serial),
            is_whole=bool(progress.store) and progress.walking is None,
        )

    async def near(
        self, start: IndexName, name: str, *, principal: Principal, limit: int = 5, seconds: float = _NEAR_SECONDS
    ) -> tuple[str, ...]:
        """Names like one that there is not, for a page that says so. Empty if they are not found within `seconds`; raises nothing."""
        query = plain_query(name)
        if not query.words or not query.words[0].name:
            return ()
        with suppress(TimeoutError, PkgIndexError):
            async with asyncio.timeout(seconds):
                found = await self.search(query, start=start, principal=principal, limit=limit)
                return tuple(each.name for each in found.projects)
        return ()

    async def dependants(
        self, start: IndexName | None, project: ProjectName, *, principal: Principal, after: str = "", limit: int = 20
    ) -> FoundProjects:
        """The projects whose metadata requires a project, as far as it is known here."""
        query = SearchQuery(restrictions=(Restriction(key="depends", value=project),))
        return await self.search(query, start=start, principal=principal, after=after, limit=limit)

    async def _indexes(self, start: IndexName | None, principal: Principal) -> Collection[IndexName]:
        """The indexes whose projects the principal may find."""
        if start is not None:
            return frozenset(config.name for config in (await self._resolving.chain(start, principal)).layers)
        configs = (await self._store.tree()).indexes.values()
        return frozenset(
            each.name for each in configs if permits(principal, Action.READ, index=each, some_project=True)
        )

    async def _seen(
        self,
        entry: SearchEntry,
        start: IndexName | None,
        principal: Principal,
        query: SearchQuery,
        chains: dict[IndexName, Chain],
    ) -> SearchEntry | None:
        """The part of an entry that the principal sees; None if the page of the project does not take it from there."""
        seen_from = entry.index if start is None else start
        # The chain depends on the project for a token that is limited to projects.
        chain = chains.get(seen_from) if principal.scope is None else None
        try:
            chain = chain or await self._resolving.chain(seen_from, principal, project=entry.project)
        except (Missing, Denied):
            return None
        chains[seen_from] = chain
        standings = await self._store.standings(entry.project, chain.order)
        resolution = self._resolving.admitted(chain, entry.project, standings)
        layer = next((each for each in resolution.layers if _gives(each, entry)), None)
        if layer is None or layer.index != entry.index:
            return None
        if not layer.offers or not applying(self._filters, resolution.tree, seen_from):
            return entry
        return await self._filtered(entry, resolution, query)

    async def _filtered(self, entry: SearchEntry, resolution: Resolution, query: SearchQuery) -> SearchEntry | None:
        """An entry without a version that filters hide; None if they hide all files, or if the rest does not fit the query."""
        parts = await self._assembling.read_at(resolution, None)
        moment = self._clock.now()
        if parts.file_count <= QUICK:
            page, judgements = self._assembling.merged(parts, "", moment)
        else:
            page, judgements = await in_worker(self._workers, self._assembling.merged, parts, "", moment)
        if not page.entries and any(each.hides for each in judgements):
            return None
        if canonical_version(entry.version) in {canonical_version(version) for version in page.versions}:
            return entry
        bare = SearchEntry(
            index=entry.index, project=entry.project, mirrored=entry.mirrored, display_name=entry.display_name
        )
        return bare if rank(query, bare) is not None else None


def _gives(layer: Layer, entry: SearchEntry) -> bool:
    """Whether a layer gives files to the page of a project, or could: a mirror lists it, and no page of it is stored."""
    if layer.standing.holds:
        return layer.offers
    return layer.index == entry.index and entry.mirrored and layer.verdict.joins and layer.readable


def _write_place(place: Rank) -> str:
    return f"{place.tier:d}.{place.mirrored:d}.{place.length}.{place.project}.{place.place}"


def _read_place(text: str) -> Rank:
    try:
        tier, mirrored, length, project, index = text.split(".", 4)
        return Rank(int(tier), bool(int(mirrored)), int(length), project, index)
    except ValueError as error:
        raise Refused("`after` is no place in a result", hint="use the one of the answer before") from error
