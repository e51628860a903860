"""Undoes deletions of a project's files: by people, by retention, with their versions or with the whole project.

    commits of the last days -> those that dropped files of the project -> brought back as they were before (`bringing_back`)

Bytes are kept until `gc` has removed them, so a deletion can be undone for a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from pkgindex_core.changes import DropFile, DropProject, IndexIs, ProjectAt, PutProject, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, IndexWriter, Principal, Projects, Trees
from pkgindex_core.rules.access import hosted_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.bringing_back import BringingBack, BroughtBack

_COMMITS: Final = 200


class _Store(Trees, Projects, ChangeLog, IndexWriter, Protocol): ...


class Undeleting:
    """Brings deleted files back."""

    def __init__(self, *, store: _Store, bringing_back: BringingBack, clock: Clock) -> None:
        self._store = store
        self._bringing_back = bringing_back
        self._clock = clock

    async def undelete(
        self,
        index: IndexName,
        project: ProjectName,
        version: str | None = None,
        *,
        within: float,
        principal: Principal,
    ) -> Sequence[BroughtBack]:
        """Bring back what was deleted of a project, or of one version, within so many seconds; the newest deletion first.

        Files that are there are not replaced. Raises the errors of missing permissions, and `QuotaExceeded`.
        """
        hosted_index(await self._store.tree(), index, principal, Action.DELETE, project=project)
        after = await self._store.serial_at(Timestamp(self._clock.now() - int(within * 1_000_000)))
        deletions: list[tuple[Serial, Sequence[str]]] = []
        while commits := await self._store.commits(after, limit=_COMMITS):
            for commit in commits:
                before = Serial(commit.serial - 1)
                names: Sequence[str] = [
                    each.filename
                    for each in commit.changes
                    if isinstance(each, DropFile) and (each.index, each.project) == (index, project)
                ]
                if DropProject(index, project) in commit.changes:
                    names = await self._filenames(index, project, before)
                if names:
                    deletions.append((before, names))
            after = commits[-1].serial
        found: list[BroughtBack] = []
        for before, names in reversed(deletions):
            chosen = [
                name for name in names if version is None or await self._is_of(index, project, name, version, before)
            ]
            if chosen:
                await self._hold(index, project, before, principal)
            found.append(
                await self._bringing_back.project(index, project, chosen, before, who=principal.label, dry_run=False)
            )
        return [each for each in found if each.files or each.gone]

    async def _filenames(self, index: IndexName, project: ProjectName, at: Serial) -> list[str]:
        page = await self._store.page(index, project, at=at)
        return [row.filename for row in page.rows] if page is not None else []

    async def _is_of(self, index: IndexName, project: ProjectName, filename: str, version: str, at: Serial) -> bool:
        file = await self._store.file(index, project, filename, at=at)
        return file is not None and canonical_version(file.version) == canonical_version(version)

    async def _hold(self, index: IndexName, project: ProjectName, at: Serial, principal: Principal) -> None:
        """Make the project again, if it was deleted as a whole."""
        (standing,) = await self._store.standings(project, [index])
        page = await self._store.page(index, project, at=at)
        if standing.holds or page is None:
            return
        config = (await self._store.tree()).indexes[index]
        require: list[Requirement] = [IndexIs(config), ProjectAt(index, project, standing.stamp)]
        await self._store.apply([PutProject(index, project, page.head)], who=principal.label, require=require)
