"""Imports metadata of versions, and versions that have no files.

A version that is here already does not change. One that was deleted here since the last import stays deleted.
"""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.changes import Change, ProjectAt, PutProject, PutRelease
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.devpi.dump import DumpProject, DumpVersion, UnreadablePart
from pkgindex_core.formats.devpi.translating import IMPORTER, translated_project
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import PageHead, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.moving.importing.run import DELETED, Run
from pkgindex_core.tools.committing import until_committed


async def bring_versions(run: Run, index: IndexName, found: DumpProject) -> None:
    """Import the versions of one project."""
    project = translated_project(found.name)
    if project is None:
        run.report.left_out("project", f"{index} {found.name}", "it is not a valid project name")
        return
    (standing,) = await run.store.standings(project, [index])
    if standing.stamp and not standing.holds:
        run.report.changed("project", f"{index} {project}", DELETED)
        return
    versions = run.dump.versions(found)
    batch = await run.next(versions)
    if not batch and not standing.holds:
        await _commit_releases(run, index, project, [], found.display_name)
    while batch:
        readable = []
        for one in batch:
            if isinstance(one, UnreadablePart):
                run.report.left_out("version", f"{index} {one.name}", one.reason)
            elif run.was_deleted(index, project, canonical_version(one.version)):
                if await run.store.release(index, project, one.version) is None:
                    run.report.changed("version", f"{index} {project} {one.version}", DELETED)
            else:
                told = isinstance(one.metadata.get("description", ""), str)
                readable.append(one if told else _without_description(run, index, one))
        await _commit_releases(run, index, project, readable, found.display_name)
        failpoint("import.releases_kept")
        batch = await run.next(versions)


def _without_description(run: Run, index: IndexName, version: DumpVersion) -> DumpVersion:
    """A version without its description, whose file the dump lacks. An export of a devpi 7 replica may lack files."""
    run.report.changed(
        "version",
        f"{index} {version.project} {version.version}",
        "the dump names a file with its long description, but does not have the file",
    )
    return replace(version, metadata={**version.metadata, "description": ""})


async def _commit_releases(
    run: Run, index: IndexName, project: ProjectName, versions: list[DumpVersion], display_name: str
) -> None:
    """Commit some versions of a project. Of two spellings of one version (1.0 and 1.0.0) the first counts."""

    async def attempt(_: int) -> int:
        page = await run.store.page(index, project)
        with_files = {canonical_version(row.version) for row in page.rows} if page else set()
        new: dict[str, DumpVersion] = {}
        for one in versions:
            if await run.store.release(index, project, one.version) is None:
                new.setdefault(canonical_version(one.version), one)
        told = (str(one.metadata["name"]) for one in versions if one.metadata.get("name"))
        name = display_name or next(told, project)
        head = page.head if page else PageHead(display_name=name)
        if head.display_name == project:  # the stand-in for an unknown display name
            head = replace(head, display_name=name)
        listed = {canonical_version(version) for version in head.versions} | with_files
        bare = tuple(one.version for canonical, one in new.items() if canonical not in listed)
        head = replace(head, versions=(*head.versions, *bare))
        changes: list[Change] = [] if page and page.head == head else [PutProject(index, project, head)]
        changes += [PutRelease(index, project, _release(one)) for one in new.values()]
        stamp = page.stamp if page else (await run.store.standings(project, [index]))[0].stamp
        await run.store.apply(changes, who=IMPORTER, require=[ProjectAt(index, project, stamp)])
        return len(new)

    run.report.versions += await until_committed(
        attempt, f"{project} in {index} changes faster than it can be imported", hint="run the import again"
    )


def _release(version: DumpVersion) -> Release:
    return Release(version=version.version, metadata=encode_metadata(version.metadata))
