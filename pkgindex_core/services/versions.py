"""What is known of a project's versions, as devpi's client asks for it: metadata, links to files, documentation, test results.

Made of the same layers as the project's page, decided in the same place: who may not read an index does not learn of it
here, not by the histories of files that were pushed from it either; a private name is not asked of a mirror, and a mirror that could not be asked is an error, never a shorter document.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Missing
from pkgindex_core.formats.project_documents import Layer, Shown, project_document, version_document
from pkgindex_core.models import File, Release, Serial, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Build, IndexStore, PageFilter, Principal
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.merging import PROJECT_STATUSES, QUARANTINED
from pkgindex_core.rules.permissions import Action, permits
from pkgindex_core.services.pages import Decision, Pages

T = TypeVar("T")


class Versions:
    """Answers with JSON objects, as bytes."""

    def __init__(
        self,
        *,
        store: IndexStore,
        pages: Pages,
        filters: Mapping[str, PageFilter],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._pages = pages
        self._filters = filters
        self._workers = workers
        self._clock = clock

    async def project(
        self, start: IndexName, project: ProjectName, *, principal: Principal, root: str, alone: bool = False
    ) -> bytes:
        """All versions, by version. With `alone` those of this index only. `root` is the server's URL, without a slash.

        Raises `Missing` when no layer has the project, `Unavailable` when one that would have a say cannot be asked.
        """
        decision = await self._decide(start, project, principal, alone=alone)
        layers = await self._layers(decision, project, None)
        shown = self._shown(decision, start, project)
        return await self._in_worker(partial(project_document, layers, root, shown, _named(decision.tree, principal)))

    async def version(
        self, start: IndexName, project: ProjectName, version: str, *, principal: Principal, root: str
    ) -> bytes:
        """One version, in any spelling."""
        decision = await self._decide(start, project, principal, alone=False)
        layers = await self._layers(decision, project, version)
        shown = self._shown(decision, start, project)
        document = await self._in_worker(
            partial(version_document, layers, version, root, shown, _named(decision.tree, principal))
        )
        if document is None:
            raise Missing(
                "version",
                f"{project} {version}",
                message=f"The version {version} of project {project} does not exist.",
            )
        return document

    async def _decide(self, start: IndexName, project: ProjectName, principal: Principal, *, alone: bool) -> Decision:
        decision = await self._pages.decide(start, project, principal, alone=alone)
        if not decision.standings:
            raise Missing("project", project)
        return decision

    async def _layers(self, decision: Decision, project: ProjectName, version: str | None) -> list[Layer]:
        """What each layer has, as of one moment; a quarantined one has nothing (PEP 792), as on the page."""
        spoken = next((each.status for each in decision.standings if each.status in PROJECT_STATUSES), "")
        if spoken == QUARANTINED:
            return []
        serial = await self._store.head()
        found = await asyncio.gather(
            *(
                self._layer(
                    standing, project, version, serial, mirrored=decision.tree.indexes[standing.index].is_mirror
                )
                for standing in decision.standings
                if standing.status != QUARANTINED
            )
        )
        return [layer for layer in found if layer is not None]

    async def _layer(
        self, standing: Standing, project: ProjectName, version: str | None, serial: Serial, *, mirrored: bool
    ) -> Layer | None:
        index = standing.index
        page = await self._store.page(index, project, at=None if mirrored else serial)
        if page is None or mirrored:
            return None if page is None else Layer(page=page, mirrored=True)
        return Layer(
            page=page,
            mirrored=False,
            releases=await self._releases(index, project, version, serial),
            attachments=await self._store.attachments(index, project, at=serial),
        )

    async def _releases(
        self, index: IndexName, project: ProjectName, version: str | None, serial: Serial
    ) -> tuple[Release, ...]:
        if version is None:
            return tuple(await self._store.releases(index, project, at=serial))
        release = await self._store.release(index, project, version, at=serial)
        return () if release is None else (release,)

    def _shown(self, decision: Decision, start: IndexName, project: ProjectName) -> Shown:
        filters = applying(self._filters, decision.tree, start)
        if not filters:
            return _everything
        build = Build(tree=decision.tree, start=start, project=project, moment=self._clock.now())

        def shown(index: IndexName, file: File) -> bool:
            return not why_hidden(index, file, filters, build)

        return shown

    async def _in_worker(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function)


def _named(tree: Tree, principal: Principal) -> Callable[[str], bool]:
    """Which indexes a history may name: not those that there are and this principal may not read."""
    judged: dict[str, bool] = {}

    def named(index: str) -> bool:
        if index not in judged:
            there = tree.indexes.get(IndexName(index))
            judged[index] = there is None or bool(permits(principal, Action.READ, index=there, some_project=True))
        return judged[index]

    return named


def _everything(_index: IndexName, _file: File) -> bool:
    return True
