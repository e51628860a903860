"""Yanks and deletes files. Every method checks the permission that it needs.

A deletion is one commit. A version is deleted with its files, test results, documentation and metadata. Deleting the last file of a
version deletes the version. The project stays, even if it is empty, so that its name is not taken from a mirror until the project
itself is deleted.

In a mirror only the stored page can be deleted. The upstream is asked again at the next request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pkgindex_core.changes import (
    Change,
    DropMirrorPage,
    DropProject,
    IndexIs,
    ProjectAt,
    PutIndex,
    Requirement,
    YankFile,
)
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Denied, Gone, Missing
from pkgindex_core.formats.filenames import canonical_version
from pkgindex_core.models import IndexConfig, Page, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexWriter, Principal, Projects, ReleaseRecords, Trees
from pkgindex_core.rules.access import deletable_index, hosted_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.policing.lines import ServerPolicies
from pkgindex_core.rules.policing.names import keeping_name
from pkgindex_core.rules.removing import drop_files
from pkgindex_core.services.writing.removals import without_file, without_metadata
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources

_FORCE = "if people who have pinned it may break: --force, or ?force in the URL"


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Protocol): ...


class Releases:
    """Yanks and deletes."""

    def __init__(self, *, store: _Store, sources: Sources, policies: ServerPolicies) -> None:
        """`policies`: those of the server, which may keep the names of deleted projects."""
        self._policies = policies
        self._store = store
        self._sources = sources

    async def yank(
        self,
        index: IndexName,
        project: ProjectName,
        filename: str,
        yanked: bool | str,
        *,
        principal: Principal,
        sha256: Sha256 | None = None,
    ) -> None:
        """Mark a file as yanked, perhaps with a reason, or lift the mark (PEP 592).

        With `sha256` only these bytes: raises `Gone` if the file was replaced.
        """

        async def attempt(_turn: int) -> None:
            hosted_index(await self._store.tree(), index, principal, Action.YANK, project=project)
            guards: list[Requirement] = []
            if sha256 is not None:
                (standing,) = await self._store.standings(project, [index])
                file = await self._store.file(index, project, filename)
                if file is None or file.sha256 != sha256:
                    raise Gone("file", filename, project)
                guards.append(ProjectAt(index, project, standing.stamp))
            change = YankFile(index, project, filename, yanked or False)
            await self._store.apply([change], who=principal.label, require=guards)

        await until_committed(attempt, _restless(project), hint="try again")

    async def may_delete(
        self, index: IndexName, *, principal: Principal, force: bool, project: ProjectName | None = None
    ) -> IndexConfig:
        """Raise unless the principal may delete from an index; `project` may be unknown. A non-volatile index needs `force`."""
        config = deletable_index(await self._store.tree(), index, principal, project=project)
        if not config.volatile and not force:
            raise Denied("cannot delete version on non-volatile index", anonymous=False, hint=_FORCE)
        return config

    async def delete_file(
        self,
        index: IndexName,
        project: ProjectName,
        filename: str,
        *,
        principal: Principal,
        force: bool = False,
        sha256: Sha256 | None = None,
    ) -> None:
        """Remove a file, documentation or a test result. A filename stays taken. The last file of a version removes the version.

        With `sha256` only these bytes: raises `Gone` if a file of a hosted index was replaced.
        """

        async def attempt() -> None:
            config = await self.may_delete(index, principal=principal, force=force, project=project)
            page = await self._page(config, project)
            row = next((row for row in page.rows if row.filename == filename), None)
            if sha256 and row is not None and not config.mirrored and decode_file(row.body).sha256 != sha256:
                raise Gone("file", filename, project)
            changes: list[Change]
            if config.mirrored and row is not None:
                changes = [DropMirrorPage(index, project)]
            else:
                attachments = await self._store.attachments(index, project)
                changes = await without_file(self._store, page, filename, row.version if row else "", attachments)
            if not changes:
                raise Missing("file", filename, hint=f"see the project's page in {index}")
            await self._commit(changes, config, page, principal)

        await self._until_deleted(index, project, attempt)

    async def delete_release(
        self, index: IndexName, project: ProjectName, version: str, *, principal: Principal, force: bool = False
    ) -> tuple[str, ...]:
        """Remove everything of one version (by PEP 440 equality) in one commit; return the names of its files."""
        wanted = canonical_version(version)
        names: tuple[str, ...] = ()

        async def attempt() -> None:
            nonlocal names
            config = await self.may_delete(index, principal=principal, force=force, project=project)
            page = await self._page(config, project)
            found = tuple(row.filename for row in page.rows if canonical_version(row.version) == wanted)
            changes: list[Change] = [DropMirrorPage(index, project)] if found and config.mirrored else []
            if not config.mirrored:
                changes += drop_files(page, {wanted})
                changes += await without_metadata(
                    self._store, page, version, await self._store.attachments(index, project)
                )
            if not changes:
                raise Missing(
                    "version",
                    f"{project} {version}",
                    message=f"version {version!r} of project {str(project)!r} not found on stage {str(index)!r}",
                    hint=f"see the project's page in {index}",
                )
            names = found
            await self._commit(changes, config, page, principal)

        await self._until_deleted(index, project, attempt)
        return names

    async def delete_project(
        self, index: IndexName, project: ProjectName, *, principal: Principal, force: bool = False
    ) -> None:
        """Remove a project with everything in it. The names of its files stay taken; the name of the project is free, unless a policy keeps it."""
        config = await self.may_delete_project(index, project, principal=principal, force=force)
        (standing,) = await self._store.standings(project, [index])
        if not standing.holds:
            raise Missing("project", project, message="project not found")
        change = DropMirrorPage(index, project) if config.mirrored else DropProject(index, project)
        kept = keeping_name(config, project, self._policies)
        changes: list[Change] = [change] if kept is None else [change, PutIndex(kept)]
        await self._take_away(changes, config, principal, [IndexIs(config)])

    async def may_delete_project(
        self, index: IndexName, project: ProjectName, *, principal: Principal, force: bool
    ) -> IndexConfig:
        """Raise unless the principal may delete the project."""
        config = deletable_index(await self._store.tree(), index, principal, project=project)
        if not config.volatile and not force:
            raise Denied(f"project {str(project)!r} is on non-volatile index {index}", anonymous=False, hint=_FORCE)
        return config

    async def _until_deleted(
        self, index: IndexName, project: ProjectName, attempt: Callable[[], Awaitable[None]]
    ) -> None:
        """Repeat an attempt until it is committed.

        A file that an attempt takes out of a directory may be found missing by another server, which then commits that first. So what is missing
        at the next attempt is deleted.
        """

        async def turn_of(turn: int) -> None:
            config = (await self._store.tree()).indexes.get(index)
            in_place = turn > 0 and config is not None and config.files_elsewhere
            if in_place:
                assert config is not None
                (standing,) = await self._store.standings(project, [index])
                await self._sources.of(config).refresh(config, project, standing, again=True)
            try:
                await attempt()
            except Missing:
                if not in_place:
                    raise

        await until_committed(turn_of, _restless(project), hint="try again")

    async def _page(self, config: IndexConfig, project: ProjectName) -> Page:
        page = await self._store.page(config.name, project)
        if page is None:
            raise Missing(
                "project", project, message=f"project {str(project)!r} not found on stage {str(config.name)!r}"
            )
        return page

    async def _commit(self, changes: Sequence[Change], config: IndexConfig, page: Page, principal: Principal) -> None:
        """Commit, and require that the data read is unchanged."""
        guards: list[Requirement] = [IndexIs(config), ProjectAt(page.index, page.project, page.stamp, page.content)]
        await self._take_away(changes, config, principal, guards)

    async def _take_away(
        self, changes: Sequence[Change], config: IndexConfig, principal: Principal, guards: Sequence[Requirement]
    ) -> None:
        """Let the source do it, which may keep the files elsewhere. Of a mirror only what is remembered goes."""
        if config.mirrored:
            await self._store.apply(changes, who=principal.label, require=guards)
        else:
            await self._sources.of(config).put(config, changes, who=principal.label, require=guards)


def _restless(project: ProjectName) -> str:
    return f"{project} changes faster than it can be written"
