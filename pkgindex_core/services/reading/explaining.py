"""Explains a page, from the same resolution and the same page that clients get."""

from __future__ import annotations

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Unavailable
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.rules.explanation import Explanation, explain
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.reading.assembling import Assembling
from pkgindex_core.services.reading.resolving import Resolving

_TURNS = 5


class Explaining:
    """Answers `explain`."""

    def __init__(self, *, resolving: Resolving, assembling: Assembling, clock: Clock) -> None:
        self._resolving = resolving
        self._assembling = assembling
        self._clock = clock

    async def explain(self, start: IndexName, project: ProjectName, *, principal: Principal) -> Explanation:
        """Describe what each layer gives to a project's page, or why nothing."""
        for _ in range(_TURNS):
            resolution = await self._resolving.resolve(start, project, principal, action=Action.EXPLAIN)
            parts = await self._assembling.read(resolution)
            if parts is not None:
                page, hidden = self._assembling.merged(parts, "", self._clock.now())
                return explain(resolution, parts.pages, page, hidden)
        raise Unavailable(f"the page of {project} changes faster than it can be read", retry_after=1)
