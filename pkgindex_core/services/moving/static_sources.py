"""`StaticSources` updates indexes whose files are outside of the store, such as in directories, and gets their files for a tree."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from pkgindex_core.errors import Unavailable
from pkgindex_core.formats.static_tree import StaticProject
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Arriving, OnDisk, Place, Projects, Source, Trees
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.sources import Sources


class _Store(Trees, Projects, Protocol): ...


class StaticSources:
    """Asks the sources of indexes whose files are outside of the store."""

    def __init__(self, *, store: _Store, sources: Sources) -> None:
        self._store = store
        self._sources = sources

    async def refresh(self, layers: Iterable[IndexConfig]) -> None:
        """Bring all projects of some indexes up to date. `Unavailable` when one cannot be read."""
        for layer in layers:
            source = self._sources.of(layer)
            names = await source.names(layer)
            if names.freshness.state == "stale" or not names.is_whole:
                raise _not_read(layer, names.freshness.reason)
            found = {row.name async for rows in names.read("") for row in rows}
            found |= {row.name for row in await self._store.projects(layer.name)}
            await side_by_side(sorted(found), partial(self._refresh, layer, source))

    async def bring(self, project: StaticProject, path: str) -> Place | None:
        """Get a file that is outside of the store. Returns its place on this machine, or None when its bytes are in the blob store now.

        Raises `Missing` when the file is gone, and `Unavailable` when it has other bytes.
        """
        index, file = project.elsewhere[path]
        layer = (await self._store.tree()).indexes[index]
        source, name = self._sources.of(layer), project.page.project
        if path.endswith(".metadata"):
            await source.metadata(layer, name, file)
            return None
        opened = await source.open(layer, name, file)
        if not isinstance(opened, OnDisk):
            opened = await source.open(layer, name, file, elsewhere=False)
        if isinstance(opened, Arriving):
            await opened.file.finished()
        return opened.place if isinstance(opened, OnDisk) else None

    async def _refresh(self, layer: IndexConfig, source: Source, project: ProjectName) -> None:
        (standing,) = await self._store.standings(project, [layer.name])
        if not source.is_current(layer, project, standing):
            freshness = await source.refresh(layer, project, standing)
            if freshness.state == "stale":
                raise _not_read(layer, freshness.reason)


def _not_read(layer: IndexConfig, reason: str) -> Unavailable:
    return Unavailable(
        f"{layer.name} cannot be read whole now{f': {reason}' if reason else ''}",
        hint="publish again when its files can be read; the tree stays as it is",
    )
