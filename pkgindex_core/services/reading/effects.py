"""Tells what a change of an index would do to its projects, before it is saved. Nothing is written, and no upstream is asked.

Both configurations are resolved as a page is, from the stored standings. So a project gains or loses the layers that its page would gain or
lose. The projects are those that readable hosted layers have; a mirror counts for each of them that it may give files to, since what it has is
often unknown. Of other names only the order of the layers tells. At most `PROJECTS` are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.models import IndexConfig, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, Projects, Trees
from pkgindex_core.rules.lineage import lineage
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.rules.resolution import Chain, chain
from pkgindex_core.services.reading.resolving import Resolving

PROJECTS: Final = 300
"""The most projects that are looked at. Each is a read of some rows."""


class ProjectEffect(Struct, frozen=True, kw_only=True):
    """A project whose page would change."""

    name: str
    gains: tuple[IndexName, ...]
    """Layers that would give it files."""
    loses: tuple[IndexName, ...]
    """Layers that would not give it files any more."""
    reordered: bool
    """The same layers give it files in another order, so of two files with one name the other may count."""


class ChangePreview(Struct, frozen=True, kw_only=True):
    """The difference that a change of an index makes to its pages, as one principal sees them."""

    before: tuple[IndexName, ...]
    """The readable layers in their order; empty for a new index."""
    after: tuple[IndexName, ...]
    projects: tuple[ProjectEffect, ...]
    looked_at: int
    more: bool
    """Whether there are more projects than were looked at."""
    heirs: tuple[IndexName, ...]
    """Readable indexes that inherit from the index, so that their pages may change too."""


class _Store(Trees, Projects, Protocol): ...


class ChangePreviews:
    """Compares an index with what it would become."""

    def __init__(self, *, store: _Store, resolving: Resolving) -> None:
        self._store = store
        self._resolving = resolving

    async def of(self, after: IndexConfig, *, principal: Principal) -> ChangePreview:
        """The effect of making or changing the index to this configuration."""
        tree = await self._store.tree()
        name = after.name
        there = name in tree.indexes
        changed = replace(tree, indexes={**tree.indexes, name: after})
        new = chain(changed, name, lineage(changed, name), principal, None)
        old = chain(tree, name, lineage(tree, name), principal, None) if there else None
        names = await self._names([*(old.layers if old else ()), *new.layers])
        looked_at = dict(sorted(names.items())[:PROJECTS])
        effects = [await self._compared(project, shown, old, new) for project, shown in looked_at.items()]
        return ChangePreview(
            before=_shown(old) if old else (),
            after=_shown(new),
            projects=tuple(effect for effect in effects if effect is not None),
            looked_at=len(looked_at),
            more=len(names) > len(looked_at),
            heirs=_heirs(tree, name, principal),
        )

    async def _names(self, layers: list[IndexConfig]) -> Mapping[ProjectName, str]:
        """The first projects of hosted layers, with their display names: more than are looked at, if there are more."""
        hosted = {config.name for config in layers if not config.mirrored}
        rows = [row for name in sorted(hosted) for row in await self._store.projects(name, limit=PROJECTS + 1)]
        return {row.name: row.display_name or row.name for row in rows}

    async def _compared(self, project: ProjectName, shown: str, old: Chain | None, new: Chain) -> ProjectEffect | None:
        every = list(dict.fromkeys([*(old.order if old else ()), *new.order]))
        standings = dict(zip(every, await self._store.standings(project, every), strict=True))
        before = self._giving(old, project, standings) if old else ()
        after = self._giving(new, project, standings)
        if before == after:
            return None
        gains = tuple(name for name in after if name not in before)
        loses = tuple(name for name in before if name not in after)
        return ProjectEffect(name=shown, gains=gains, loses=loses, reordered=not gains and not loses)

    def _giving(
        self, seen: Chain, project: ProjectName, standings: Mapping[IndexName, Standing]
    ) -> tuple[IndexName, ...]:
        """The layers that give files to the project, or may do so."""
        resolution = self._resolving.admitted(seen, project, [standings[name] for name in seen.order])
        return tuple(
            layer.index
            for layer in resolution.layers
            if layer.readable and layer.verdict.joins and (layer.standing.holds or layer.config.mirrored)
        )


def _shown(seen: Chain) -> tuple[IndexName, ...]:
    return tuple(config.name for config in seen.layers)


def _heirs(tree: Tree, name: IndexName, principal: Principal) -> tuple[IndexName, ...]:
    return tuple(
        other
        for other, config in sorted(tree.indexes.items())
        if other != name
        and permits(principal, Action.READ, index=config, some_project=True)
        and name in lineage(tree, other).order
    )
