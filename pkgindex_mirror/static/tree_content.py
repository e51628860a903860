"""The role `TreeContent`: what a static tree shows. `contents` has its two implementations, an index and a list of packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pkgindex_core.formats.static_tree import StaticProject
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Place, Renderer
from pkgindex_core.services.moving.static_projects import Survey
from pkgindex_mirror.static.catalogue import Catalogue
from pkgindex_mirror.static.state import TreeState


class TreeContent(Protocol):
    """The projects of a tree."""

    @property
    def identity(self) -> str:
        """The identity of the store. A tree of another store is written anew."""
        ...

    @property
    def renderers(self) -> Sequence[Renderer]:
        """The renderers of the simple pages."""
        ...

    async def survey(self, state: TreeState | None, catalogue: Catalogue) -> Survey:
        """The projects that may differ from the tree. Without a state, all projects."""
        ...

    async def read(self, project: ProjectName) -> StaticProject | None:
        """A project as it is now; None when there is no such project any more."""
        ...

    async def bring(self, project: StaticProject, path: str) -> Place | None:
        """Get a file that is outside of the store. Returns its place on this machine, or None when its bytes are in the blob store now."""
        ...
