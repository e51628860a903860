"""Registers a version: a form with metadata, without a file (`:action=submit`).

The version is listed on the project's page without files, and the index then has the project's name. If the version has files, the
metadata of their archives stays.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from pkgindex_core.changes import Change, IndexIs, ProjectAt, PutProject, PutRelease
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.upload_rules import PYPI, Findings, UploadRules
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import PageHead, Release
from pkgindex_core.names import IndexName, parse_project_name
from pkgindex_core.protocols import IndexWriter, Principal, Projects, ReleaseRecords, Trees, UploadForm
from pkgindex_core.rules.access import open_project, publishing_index
from pkgindex_core.rules.namespaces import require_namespace
from pkgindex_core.rules.permissions import Action
from pkgindex_core.services.writing.outcomes import Registered
from pkgindex_core.tools.committing import until_committed


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Protocol): ...


class Registering:
    """Registers versions in hosted indexes."""

    def __init__(self, *, store: _Store) -> None:
        self._store = store

    async def register(
        self, index: IndexName, form: UploadForm, principal: Principal, rules: UploadRules = PYPI
    ) -> Registered:
        """Store the metadata of a version, in place of earlier registered metadata."""
        findings = Findings(rules)
        version_documents.check_registration(form, findings)
        findings.raise_problems("send name and version, as the project's metadata has them")
        name, version = form.first("name"), form.first("version")
        project = parse_project_name(name)
        wanted = canonical_version(version)
        release = Release(version=version, metadata=version_documents.from_form(form))

        async def attempt(_turn: int) -> Registered:
            config = publishing_index(await self._store.tree(), index, principal, Action.UPLOAD, project=project)
            (standing,) = await self._store.standings(project, [index])
            open_project(standing, project)
            require_namespace(await self._store.tree(), standing, project)
            page = await self._store.page(index, project)
            if page and any(canonical_version(row.version) == wanted for row in page.rows):
                return Registered(
                    index=index,
                    project=project,
                    version=version,
                    created=False,
                    warnings=(f"{project} {version} has files, and their metadata stays",),
                )
            changes: list[Change] = []
            head = page.head if page else PageHead(display_name=name)
            if wanted not in map(canonical_version, head.versions):
                changes.append(PutProject(index, project, replace(head, versions=(*head.versions, version))))
            if await self._store.release(index, project, version) != release:
                changes.append(PutRelease(index, project, release))
            await self._store.apply(
                changes, who=principal.label, require=[IndexIs(config), ProjectAt(index, project, standing.stamp)]
            )
            return Registered(
                index=index, project=project, version=version, created=bool(changes), warnings=findings.warnings
            )

        return await until_committed(attempt, f"{project} changes faster than it can be written", hint="send it again")
