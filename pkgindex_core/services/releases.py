"""What happens to files after they were published: yanked, marked, deleted. Every method asks for the right it needs."""

from __future__ import annotations

from pkgindex_core.changes import DropFile, DropProject, YankFile
from pkgindex_core.errors import Denied, Missing
from pkgindex_core.formats.filenames import canonical_version
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexStore, Principal
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.access import hosted_index


class Releases:
    """Yanks and deletions in hosted indexes."""

    def __init__(self, *, store: IndexStore) -> None:
        self._store = store

    async def yank(
        self, index: IndexName, project: ProjectName, filename: str, yanked: bool | str, *, principal: Principal
    ) -> None:
        """Mark a file as yanked, with a reason perhaps, or lift the mark (PEP 592)."""
        await self._hosted(index, principal, Action.YANK, project)
        await self._store.apply([YankFile(index, project, filename, yanked or False)], who=principal.label)

    async def delete_file(
        self, index: IndexName, project: ProjectName, filename: str, *, principal: Principal, force: bool = False
    ) -> None:
        """Remove a file; its name stays taken. An index that is not volatile wants `force`."""
        config = await self._hosted(index, principal, Action.DELETE, project)
        _require_volatile(config, f"file {filename!r}", force=force)
        await self._store.apply([DropFile(index, project, filename)], who=principal.label)

    async def delete_release(
        self, index: IndexName, project: ProjectName, version: str, *, principal: Principal, force: bool = False
    ) -> tuple[str, ...]:
        """Remove every file of one version (by PEP 440 equality) in one commit; return their names."""
        config = await self._hosted(index, principal, Action.DELETE, project)
        _require_volatile(config, f"version {version!r}", force=force)
        page = await self._store.page(index, project)
        wanted = canonical_version(version)
        names = tuple(row.filename for row in page.rows if canonical_version(row.version) == wanted) if page else ()
        if not names:
            raise Missing("version", f"{project} {version}", hint=f"see the project's page in {index}")
        await self._store.apply([DropFile(index, project, name) for name in names], who=principal.label)
        return names

    async def delete_project(
        self, index: IndexName, project: ProjectName, *, principal: Principal, force: bool = False
    ) -> None:
        """Remove a project with all its files; their names stay taken."""
        config = await self._hosted(index, principal, Action.DELETE, project)
        _require_volatile(config, f"project {project!r}", force=force)
        await self._store.apply([DropProject(index, project)], who=principal.label)

    async def _hosted(
        self, index: IndexName, principal: Principal, action: Action, project: ProjectName
    ) -> IndexConfig:
        return hosted_index(await self._store.tree(), index, principal, action, project=project)


def _require_volatile(config: IndexConfig, what: str, *, force: bool) -> None:
    if not config.volatile and not force:
        raise Denied(
            f"cannot delete {what} on non-volatile index {config.name}",
            anonymous=False,
            hint="say ?force= (or --force) if people who have pinned it may break",
        )
