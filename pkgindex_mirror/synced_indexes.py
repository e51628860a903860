"""Mirrors whose pages come from a sync: the option that says so, and what it means for those who read the index.

The upstream is asked for pages and for the list only by a sync, which applies filters: a page that is not stored is absent, and is not
asked for. Files that are listed and not stored are fetched when a client requests them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final, Protocol

from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, ProjectRow, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Freshness, ListedNames, Names, Projects
from pkgindex_core.tools.name_streams import stored_names

SYNCED: Final = "mirror_synced"
"""The option of such a mirror."""
SHOWS: Final = "mirror_shows"
"""The option of a mirror that shows snapshots of another one (`engine_target.promoted_indexes`): `of`, that mirror, and `numbers`."""


class _Store(Projects, ListedNames, Protocol): ...


def is_synced(index: IndexConfig) -> bool:
    """Whether the pages of a mirror come from a sync."""
    return bool(index.options.get(SYNCED))


async def synced_freshness(
    store: ListedNames, index: IndexConfig, project: ProjectName, standing: Standing
) -> Freshness:
    """The freshness of a page. Raises `Unavailable` for one that is not stored while the first sync has not ended."""
    if standing.holds:
        return Freshness(state="fresh")
    if (await store.listing(index.name)).is_whole:
        return Freshness(state="absent")
    raise Unavailable(
        f"{project} is not in {index.name} yet: its first sync has not ended",
        retry_after=60,
        hint="promote the snapshot again, which goes on where it was"
        if SHOWS in index.options
        else f"run `pkgindex-mirror mirror --index {index.name}`; it goes on where it was",
    )


async def synced_names(store: _Store, index: IndexConfig) -> Names:
    """The projects of the mirror, as its last sync left them."""
    listing = await store.listing(index.name)
    if listing.is_whole:

        def listed(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return store.listed_names(index.name, after=after)

        return Names(read=listed, stamp=listing.stamp)
    return Names(read=partial(stored_names, store, index.name), is_whole=False)
