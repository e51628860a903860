"""The layers of an index and its own projects, for people: a part at a time, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pkgindex_core.models import IndexConfig, ProjectRow
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ListedNames, PageFilter, Principal, Projects
from pkgindex_core.rules.filtering import applying, withheld
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.name_streams import without
from pkgindex_core.tools.sources import Sources


class _Store(Projects, ListedNames, Protocol): ...


class Browsing:
    """Goes through the projects of an index."""

    def __init__(
        self, *, store: _Store, resolving: Resolving, sources: Sources, filters: Mapping[str, PageFilter]
    ) -> None:
        self._store = store
        self._resolving = resolving
        self._sources = sources
        self._filters = filters

    async def layers(self, start: IndexName, *, principal: Principal) -> tuple[IndexConfig, ...]:
        """The index and the bases that the principal may read, in the order in which they are searched."""
        seen = await self._resolving.chain(start, principal)
        return seen.layers

    async def count(self, layer: IndexConfig) -> int:
        """The number of projects of an index without its bases; for a mirror those that its upstream listed, or else the stored pages."""
        listed = (await self._store.listing(layer.name)).count if layer.mirrored else 0
        return listed or await self._store.project_count(layer.name)

    async def has(self, index: IndexName, project: ProjectName, *, principal: Principal) -> bool:
        """Whether an index itself shows a project, as far as is stored: a name that policies hide is absent."""
        resolution = await self._resolving.stored(index, project, principal)
        return any(layer.index == index for layer in resolution.shown)

    async def part(self, start: IndexName, after: str, *, principal: Principal, limit: int) -> list[ProjectRow]:
        """The first hosted projects behind a name (`""`: all), by normalised name. Reads no more of a layer than the part needs."""
        seen = await self._resolving.chain(start, principal)
        filters = applying(self._filters, seen.tree, start)
        found: dict[ProjectName, ProjectRow] = {}
        for config in seen.layers:
            if config.mirrored:
                continue
            names = await self._sources.of(config).names(config, ask=False)
            taken = 0
            async for rows in without(names.read(after), withheld(filters, seen.tree, start, config.name)):
                for row in rows[: limit - taken]:
                    found.setdefault(row.name, row)
                taken += len(rows)
                if taken >= limit:
                    break
        return sorted(found.values(), key=lambda row: row.name)[:limit]
