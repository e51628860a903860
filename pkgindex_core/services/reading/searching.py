"""Searches for projects by a part of the name. No upstream is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from msgspec import Struct

from pkgindex_core.models import IndexConfig, ProjectRow
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import PageFilter, Principal
from pkgindex_core.rules.filtering import applying, withheld
from pkgindex_core.services.reading.resolving import Resolving
from pkgindex_core.tools.name_streams import Rows, without
from pkgindex_core.tools.sources import Sources


class FoundNames(Struct, frozen=True, kw_only=True):
    """The result of a search."""

    own: tuple[str, ...]
    """Display names of hosted projects."""
    mirrored: tuple[ProjectName, ...]
    """Names of mirrored projects that are not hosted."""
    more: bool
    """Whether there are more names than the limit."""
    mirrors: tuple[IndexName, ...]
    """The mirrors that were searched."""
    unknown: tuple[IndexName, ...]
    """The mirrors without a known list, which may have any name."""


class Searching:
    """Answers searches."""

    def __init__(self, *, resolving: Resolving, sources: Sources, filters: Mapping[str, PageFilter]) -> None:
        self._resolving = resolving
        self._sources = sources
        self._filters = filters

    async def layers(self, start: IndexName, *, principal: Principal) -> tuple[IndexConfig, ...]:
        """The index and the bases that the principal may read, in the order in which they are searched."""
        seen = await self._resolving.chain(start, principal)
        return seen.layers

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

    async def search(self, start: IndexName, text: str, *, principal: Principal, limit: int) -> FoundNames:
        """Find hosted names that contain a text, and mirrored names that begin with it.

        An empty text finds no mirrored names, since there are too many for a page.
        """
        seen = await self._resolving.chain(start, principal)
        filters = applying(self._filters, seen.tree, start)
        wanted, prefix = text.lower(), normalized_or_none(text)
        own: dict[ProjectName, str] = {}
        mirrored: set[ProjectName] = set()
        mirrors: list[IndexName] = []
        unknown: list[IndexName] = []
        for config in seen.layers:
            names = await self._sources.of(config).names(config, ask=False)
            hidden = withheld(filters, seen.tree, start, config.name)
            if not config.mirrored:
                async for rows in without(names.read(""), hidden):
                    for row in rows:
                        if wanted in row.name or wanted in row.display_name.lower():
                            own.setdefault(row.name, row.display_name)
                continue
            mirrors.append(config.name)
            if not names.is_whole or names.is_partial:
                unknown.append(config.name)
            if prefix is not None:
                # No name sorts between this text and the prefix: names have no character as high as DEL.
                before = f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}\x7f"
                stream = without(names.read(before), hidden)
                mirrored.update(await _beginning(stream, prefix, limit + 1))
        return FoundNames(
            own=tuple(sorted(own.values(), key=str.lower)[:limit]),
            mirrored=tuple(sorted(mirrored - own.keys())[:limit]),
            more=max(len(own), len(mirrored)) > limit,
            mirrors=tuple(mirrors),
            unknown=tuple(unknown),
        )


async def _beginning(stream: AsyncIterator[Rows], prefix: ProjectName, limit: int) -> list[ProjectName]:
    """The first names of a sorted stream that begin with a text."""
    found: list[ProjectName] = []
    async for rows in stream:
        found += [row.name for row in rows if row.name.startswith(prefix)]
        if len(found) >= limit or (rows[-1].name > prefix and not rows[-1].name.startswith(prefix)):
            break
    return found[:limit]
