"""Options of one project of an index, as devpi 7 has them.

The only option is whether the project may come from mirrors too. It is kept in the index's options (`rules.devpi7_options`). Setting
an option of a project that the index does not have registers the name, so that it is not taken from mirrors unless the option
permits it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from pkgindex_core.changes import Change, ProjectAt, PutProject, Requirement
from pkgindex_core.errors import Refused
from pkgindex_core.models import IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal, Projects, Trees
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.devpi7_options import changed_project, project_document
from pkgindex_core.rules.explanation import Explanation, LayerStory
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.administering.indexes import Indexes
from pkgindex_core.services.reading.explaining import Explaining


class _Store(Trees, Projects, Protocol): ...


class ProjectOptions:
    """Changes and shows the options of projects."""

    def __init__(self, *, store: _Store, indexes: Indexes, explaining: Explaining) -> None:
        self._store = store
        self._indexes = indexes
        self._explaining = explaining

    async def modify(
        self,
        index: IndexName,
        project: ProjectName,
        options: Mapping[str, Any] | Sequence[Any],
        *,
        principal: Principal,
        must_change: bool = False,
    ) -> dict[str, Any]:
        """Change the options of a project, whether or not the index has it, and return them."""
        config = allowed_index(await self._store.tree(), index, principal, Action.INDEX_MODIFY)
        if config.read_only:
            raise Refused(
                f"{index} takes no projects of its own, and theirs have no options",
                hint="set it for the index that inherits from this one",
            )
        changes = changed_project(config, project, options)

        async def claim() -> tuple[Sequence[Change], Sequence[Requirement]]:
            (standing,) = await self._store.standings(project, [index])
            if standing.holds:
                return (), ()
            head = PageHead(display_name=project)
            return [PutProject(index, project, head)], [ProjectAt(index, project, standing.stamp)]

        changed = await self._indexes.modify(index, changes, principal=principal, must_change=must_change, beside=claim)
        return await self._document(changed, project)

    async def document(
        self, index: IndexName, project: ProjectName, versions: AsyncGenerator[bytes, None], *, principal: Principal
    ) -> AsyncGenerator[bytes, None]:
        """A project's options, the indexes that give its files, and its `versions`, as one JSON object in pieces."""
        tree = await self._store.tree()
        config = allowed_index(tree, index, principal, Action.READ, project=project)
        story = await self._explaining.explain(index, project, principal=principal)
        readable = {layer.index: tree.indexes[layer.index] for layer in story.layers if layer.index in tree.indexes}
        head = {
            "config": {} if config.mirrored else await self._document(config, project),
            "inheritance_info": _inheritance(story, readable),
        }
        return _around(msgspec.json.encode(head)[:-1] + b',"versions":', versions)

    async def _document(self, config: IndexConfig, project: ProjectName) -> dict[str, Any]:
        page = await self._store.page(config.name, project)
        return project_document(config, project, page.head.display_name) if page is not None else {}


async def _around(before: bytes, versions: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(versions):
        yield before
        async for piece in versions:
            yield piece
        yield b"}"


def _inheritance(story: Explanation, readable: Mapping[IndexName, IndexConfig]) -> dict[str, Any]:
    """Each index in resolution order, in devpi 7's words, without bases that the principal may not read."""
    remotes = [layer for layer in story.layers if readable[layer.index].mirrored]
    return {
        "has_project_from_remote": _has(remotes[0]) if remotes else "false",
        "index_bases": {name: [base for base in config.bases if base in readable] for name, config in readable.items()},
        "traversal_infos": [
            *(_traversed(layer) for layer in story.layers),
            *(
                {"action": "skipped", "name": missing, "reason": "it does not exist", "has_project": "notset"}
                for missing in story.missing_bases
            ),
        ],
    }


def _traversed(layer: LayerStory) -> dict[str, str]:
    return {
        "action": "traversed" if layer.joins else "blocked",
        "name": layer.index,
        "reason": layer.reason,
        "has_project": _has(layer),
    }


def _has(layer: LayerStory) -> str:
    """Whether a layer has the project; unknown when its source was not asked or could not be."""
    if layer.state in {"unavailable", "not asked"}:
        return "unknown"
    return "false" if layer.state == "empty" else "true"
