"""Finds the index whose page a link of PyPI means: `/project/NAME/` names a project and no index.

It is the default index, if that shows the project. Otherwise it is the first other index by name that the principal may read and that has the
project, hosted ones before mirrors. No upstream is asked for these.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from pkgindex_core.errors import Denied, Missing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, Projects, Trees
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.reading.showing import Showing

_AT_ONCE: Final = 500
"""The most indexes that are looked at with one read."""
_TRIED: Final = 10
"""The most indexes that have the project and are then resolved."""


class _Store(Trees, Projects, Protocol): ...


class Permalinks:
    """Finds indexes for links."""

    def __init__(self, *, store: _Store, showing: Showing) -> None:
        self._store = store
        self._showing = showing

    async def find(
        self, default: IndexName, project: ProjectName, version: str | None, *, principal: Principal
    ) -> IndexName:
        """The index that shows the project, or the version in any spelling.

        If none does, raises the error of the default index. `Unavailable`: it is not known whether the default index has it.
        """
        try:
            await self._showing.project(default, project, version, principal=principal)
        except (Missing, Denied):
            async for index in self._others(default, project, principal):
                try:
                    await self._showing.project(index, project, version, principal=principal)
                except (Missing, Denied):
                    continue
                return index
            raise
        return default

    async def _others(self, default: IndexName, project: ProjectName, principal: Principal) -> AsyncIterator[IndexName]:
        configs = (await self._store.tree()).indexes.values()
        readable = [
            each
            for each in configs
            if each.name != default and permits(principal, Action.READ, index=each, some_project=True)
        ]
        names = [each.name for each in sorted(readable, key=lambda each: (each.mirrored, each.name))]
        left = _TRIED
        for start in range(0, len(names), _AT_ONCE):
            part = names[start : start + _AT_ONCE]
            for name, standing in zip(part, await self._store.standings(project, part), strict=True):
                if standing.holds and left:
                    left -= 1
                    yield name
