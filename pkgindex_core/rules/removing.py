"""The changes that remove versions of a hosted project with everything that belongs to them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from pkgindex_core.changes import Change, DropAttachment, DropFile, DropRelease, PutProject
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Attachment, Page


def drop_files(page: Page, versions: Collection[str]) -> list[Change]:
    """The changes that remove the files of versions, given in canonical spelling. Their test results are removed with them."""
    rows = (row for row in page.rows if canonical_version(row.version) in versions)
    return [DropFile(page.index, page.project, row.filename) for row in rows]


def drop_metadata(
    page: Page,
    versions: Collection[str],
    attachments: Iterable[Attachment],
    released: Iterable[str],
    *,
    documented: bool = False,
) -> list[Change]:
    """The changes that remove the documentation, metadata and entries on the page of versions, given in canonical spelling.

    `attachments` and `released` are those of the project. `documented`: documentation of the versions is removed by another change.
    """
    index, project = page.index, page.project
    changes: list[Change] = [
        DropAttachment(index, project, each.filename)
        for each in attachments
        if not each.about and canonical_version(each.version) in versions
    ]
    documented = documented or bool(changes)
    changes += [DropRelease(index, project, each) for each in released if canonical_version(each) in versions]
    kept = tuple(each for each in page.head.versions if canonical_version(each) not in versions)
    if kept != page.head.versions or documented:
        changes.append(PutProject(index, project, replace(page.head, versions=kept)))
    return changes
