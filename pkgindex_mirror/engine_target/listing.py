"""Writes the list of the projects of an index: those that are mirrored, and no others. Pages of others are removed.

The list is compared with the stored one, and committed in parts. It is whole with the last part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from pkgindex_core.changes import Change, DropMirrorPage, MirrorNames
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import PARTIAL, IndexWriter, ListedNames, Projects, Trees
from pkgindex_mirror.documents.differences import NamesMerge, NamesPart
from pkgindex_mirror.engine_target.committing import WHO
from pkgindex_mirror.readthrough.pages.refreshing import same_upstream

_PART: Final = 10_000
_PAGES: Final = 500


class _Store(Trees, Projects, ListedNames, Protocol): ...


async def write_list(store: _Store, turn: IndexWriter, index: IndexConfig, mirrored: Mapping[ProjectName, str]) -> None:
    """Make the list that of the `mirrored` projects, with their names as the upstream spells them. The `turn` commits."""
    await _drop_others(store, turn, index, mirrored)
    listing = await store.listing(index.name)
    meanwhile = {} if listing.is_whole else {PARTIAL: "1"}
    merge = NamesMerge(sorted(mirrored.items()), part=_PART)
    waiting: NamesPart | None = None

    async def commit(parts: Iterator[NamesPart]) -> None:
        nonlocal waiting
        for part in parts:
            if waiting is not None:
                await _apply(store, turn, index, [_names(index, waiting, meanwhile)])
            waiting = part

    async for batch in store.listed_names(index.name):
        await commit(merge.feed(batch))
    await commit(merge.finish())
    if waiting is not None or not listing.is_whole:
        # Without validators a read-through would ask for the list again.
        await _apply(store, turn, index, [_names(index, waiting or NamesPart(put=(), drop=()), {})])


async def _drop_others(
    store: _Store, turn: IndexWriter, index: IndexConfig, mirrored: Mapping[ProjectName, str]
) -> None:
    others = [row.name for row in await store.projects(index.name) if row.name not in mirrored]
    for start in range(0, len(others), _PAGES):
        drops = [DropMirrorPage(index.name, name) for name in others[start : start + _PAGES]]
        await _apply(store, turn, index, drops)


def _names(index: IndexConfig, part: NamesPart, validators: dict[str, str]) -> MirrorNames:
    return MirrorNames(index.name, part.put, part.drop, validators)


async def _apply(store: _Store, turn: IndexWriter, index: IndexConfig, changes: Sequence[Change]) -> None:
    await turn.apply(changes, who=WHO, require=[await same_upstream(store, index)])
    failpoint("index.list_committed")
