"""Puts together everything that publishing a project writes: pages, documents, rows, and what is to be removed afterwards."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject
from pkgindex_mirror.trees.committing import Publication
from pkgindex_mirror.trees.layout import (
    HTML,
    PAGES,
    VERSIONED_HTML,
    VERSIONED_JSON,
    TreeLayout,
    document,
    document_copy,
    sidecar_path,
)
from pkgindex_mirror.trees.options import TreeOptions
from pkgindex_mirror.trees.pages import ProjectPages, project_pages
from pkgindex_mirror.trees.project_files import paths_of
from pkgindex_mirror.trees.records import PageWrite, PublishedPage, RecordedFile, page_digest
from pkgindex_mirror.trees.storage import PageBatch

_NOT_IN_SAFE_NAMES = re.compile(r"[^A-Za-z0-9.]+")
# bandersnatch writes moments as 2026-11-30T163127.794474Z.
_VERSION = re.compile(r"index_(?P<serial>[0-9]{1,20})_(?P<moment>[0-9TZ.-]+)\.(?P<kind>html|v1_html|v1_json)")
_NO_DIGITS = re.compile("[^0-9]+")


class PublicationDraft(Struct, frozen=True, kw_only=True):
    """A project that is to be published."""

    project: UpstreamProject
    chosen: Sequence[File]
    state: ProjectState
    former: PublishedPage | None
    records: Mapping[str, RecordedFile]
    """The records of those of the chosen files, and of their metadata files, that are there."""
    serial: int
    moment: Timestamp
    older: Sequence[str] = ()
    """The names in its directory of older pages. They are known if some are kept, or with `afresh`."""
    older_elsewhere: Sequence[str] = ()
    """Those of the directory that it would have with the other `hash_index`. They are known with `afresh`."""
    arrived: frozenset[str] = frozenset()
    """The paths of its files that this run has fetched."""
    is_whole: bool = True
    """Whether the project has all files of the upstream."""
    afresh: bool = False
    """Whether the options have changed since its pages were written, so that some of them may lie elsewhere."""


def publication(outline: PublicationDraft, layout: TreeLayout, options: TreeOptions) -> Publication:
    """Make everything that is written for a project."""
    project, name = outline.project, outline.project.name
    sidecars = {file.filename for file in outline.chosen if sidecar_path(file) in outline.records}
    pages = project_pages(project, outline.chosen, serial=outline.serial, sidecars=sidecars, options=options)
    objects, doomed = _objects(outline, pages, layout, options)
    if options.json and project.document:
        objects.written[document(name)] = project.document
        objects.copies[document_copy(name)] = document(name)
    elif not options.json and outline.afresh:
        doomed += [document_copy(name), document(name)]
    former = set(paths_of(outline.former, options)) - outline.records.keys() if outline.former is not None else set()
    if outline.afresh:
        elsewhere = layout.other_page_directory(name)
        doomed += [f"{elsewhere}/{page}" for page in PAGES]
        doomed += [f"{elsewhere}/versions/{page}" for page in outline.older_elsewhere if _VERSION.fullmatch(page)]
    if options.cleanup:
        doomed += [f"{layout.raw_directory(raw)}/{page}" for raw in _former_names(project) for page in PAGES]
    page_paths = [*objects.written, *objects.copies, *objects.links]
    chosen = {file.filename for file in outline.chosen}
    return Publication(
        write=PageWrite(
            page=PublishedPage(
                project=project,
                left_out=frozenset(file.filename for file in project.files if file.filename not in chosen),
                stamp=outline.serial,
                shown=_digests(objects),
                is_whole=outline.is_whole,
            ),
            state=outline.state,
            files=outline.records,
            former_paths=sorted(former),
            doomed=[*doomed, *sorted(former)],
            page_paths=page_paths,
            changed=[*page_paths, *sorted(outline.arrived)] if options.remember_changes else (),
        ),
        objects=objects,
        size=sum(map(len, objects.written.values())),
    )


def _former_names(project: UpstreamProject) -> set[str]:
    """The names of its directory before names were normalised. Names that differ in case only may be one directory."""
    spelled = {project.raw, _NOT_IN_SAFE_NAMES.sub("-", project.raw).lower()}
    return {raw for raw in spelled if normalized_or_none(raw) == project.name and raw.lower() != project.name}


def everything_else(name: ProjectName, layout: TreeLayout, older: Sequence[str]) -> Sequence[str]:
    """All paths that a project may have beside its files, those that are linked from elsewhere first."""
    directory = layout.page_directory(name)
    return [
        *layout.pages(name),
        *(f"{directory}/versions/{page}" for page in older),
        document_copy(name),
        document(name),
    ]


def is_same_page(former: PublishedPage, project: UpstreamProject, chosen: Sequence[File]) -> bool:
    """Whether a project would be published as it was."""
    names = {file.filename for file in chosen}
    before, now = former.project.head, project.head
    return (
        former.project.files == project.files
        and former.left_out == {file.filename for file in project.files if file.filename not in names}
        and (before.versions, before.status, before.status_reason) == (now.versions, now.status, now.status_reason)
    )


def _digests(objects: PageBatch) -> Mapping[str, bytes]:
    digests = {path: page_digest(data) for path, data in objects.written.items()}
    return digests | {path: digests[original] for path, original in {**objects.copies, **objects.links}.items()}


def _objects(
    outline: PublicationDraft, pages: ProjectPages, layout: TreeLayout, options: TreeOptions
) -> tuple[PageBatch, list[str]]:
    """The pages by path, and those that are not to be there any more."""
    directory = layout.page_directory(outline.project.name)
    batch = PageBatch(written={}, copies={}, links={})
    wanted = {HTML: pages.html, VERSIONED_HTML: pages.html, VERSIONED_JSON: pages.json}
    doomed = [f"{directory}/{page}" for page, data in wanted.items() if not data]
    if not options.keep_index_versions:
        if pages.html:
            batch.written[f"{directory}/{HTML}"] = pages.html
            batch.copies[f"{directory}/{VERSIONED_HTML}"] = f"{directory}/{HTML}"
        if pages.json:
            batch.written[f"{directory}/{VERSIONED_JSON}"] = pages.json
        return batch, [*doomed, *(f"{directory}/versions/{each}" for each in outline.older if _VERSION.fullmatch(each))]
    moment = datetime.fromtimestamp(outline.moment // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    for page, data in wanted.items():
        if data:
            kind = page.partition(".")[2]
            version = f"{directory}/versions/index_{outline.serial}_{moment}.{kind}"
            batch.written[version] = data
            batch.links[f"{directory}/{page}"] = version
            doomed += [f"{directory}/versions/{older}" for older in _superfluous(outline.older, kind, version, options)]
    return batch, doomed


def _superfluous(older: Sequence[str], kind: str, newest: str, options: TreeOptions) -> Sequence[str]:
    """The older pages of one kind that are too many."""
    found = [found for name in older if (found := _VERSION.fullmatch(name)) and found["kind"] == kind]
    others = [each for each in found if not newest.endswith(f"/{each[0]}")]
    others.sort(key=lambda each: (_NO_DIGITS.sub("", each["moment"]), int(each["serial"])), reverse=True)
    return [each[0] for each in others[options.keep_index_versions - 1 :]]
