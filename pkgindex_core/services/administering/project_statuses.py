"""Project statuses that owners set: active, archived, deprecated or quarantined (PEP 792)."""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from pkgindex_core.changes import ProjectAt, PutProject
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.models import PROJECT_STATUSES
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexWriter, Principal, Projects, Trees
from pkgindex_core.rules.access import allowed_index
from pkgindex_core.rules.permissions import Action


class _Store(Trees, Projects, IndexWriter, Protocol): ...


class ProjectStatuses:
    """Marks projects."""

    def __init__(self, *, store: _Store) -> None:
        self._store = store

    async def mark(
        self, index: IndexName, project: ProjectName, status: str, reason: str = "", *, principal: Principal
    ) -> None:
        """Mark a project as active, archived, deprecated or quarantined (PEP 792)."""
        config = allowed_index(await self._store.tree(), index, principal, Action.MARK, project=project)
        if status not in PROJECT_STATUSES:
            raise Refused(f"unknown project status {status!r}", hint=f"the markers are {', '.join(PROJECT_STATUSES)}")
        page = await self._store.page(index, project)
        if page is None or config.mirrored:
            raise Missing("project", project, hint=f"only projects that are hosted in {index} can be marked there")
        head = replace(page.head, status=status, status_reason=reason)
        same = ProjectAt(index, project, page.stamp)
        await self._store.apply([PutProject(index, project, head)], who=principal.label, require=[same])
