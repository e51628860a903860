"""The changes that remove a file or the rest of a version, from what was read of its project."""

from __future__ import annotations

from collections.abc import Sequence

from pkgindex_core.changes import Change, DropAttachment, DropFile, PutProject
from pkgindex_core.formats.filenames import canonical_version
from pkgindex_core.models import Attachment, Page
from pkgindex_core.protocols import ReleaseRecords
from pkgindex_core.rules.removing import drop_metadata


async def without_file(
    store: ReleaseRecords, page: Page, filename: str, version: str, attachments: Sequence[Attachment]
) -> list[Change]:
    """The changes that remove one file (of this version) or attachment; empty when there is neither."""
    index, project = page.index, page.project
    attachment = next((each for each in attachments if each.filename == filename), None)
    gone: Change
    if version or attachment is None:
        if all(row.filename != filename for row in page.rows):
            return []
        gone = DropFile(index, project, filename)
    else:
        gone, version = DropAttachment(index, project, filename), attachment.version
    wanted = canonical_version(version)
    others = [row for row in page.rows if canonical_version(row.version) == wanted and row.filename != filename]
    docs = [
        each
        for each in attachments
        if not each.about and canonical_version(each.version) == wanted and each != attachment
    ]
    if attachment is not None and attachment.about:
        return [gone]
    if others or docs:
        # Give the project a new stamp, so that a concurrent change that depends on the documentation reads again.
        return [gone, PutProject(index, project, page.head)] if attachment is not None else [gone]
    return [gone, *await without_metadata(store, page, version, (), documented=isinstance(gone, DropAttachment))]


async def without_metadata(
    store: ReleaseRecords,
    page: Page,
    version: str,
    attachments: Sequence[Attachment],
    *,
    documented: bool = False,
) -> list[Change]:
    """The changes that remove a version's documentation, metadata and entry on the page."""
    released = [version] if await store.release(page.index, page.project, version) is not None else []
    return drop_metadata(page, {canonical_version(version)}, attachments, released, documented=documented)
