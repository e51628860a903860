"""Makes the page that an index is to have of a project, of the files that filters chose. Pure.

A page without all files of the upstream gets no validators: if the index becomes a read-through again, the whole page is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import File, IndexConfig
from pkgindex_mirror.documents.differences import versions_without_files
from pkgindex_mirror.documents.file_piles import FilePile
from pkgindex_mirror.documents.first_seen import seen, seen_times
from pkgindex_mirror.documents.pages import PageListing
from pkgindex_mirror.engine_target.committing import NewPage
from pkgindex_mirror.syncing.values import UpstreamProject


def new_page(project: UpstreamProject, chosen: Sequence[File], index: IndexConfig, moment: Timestamp) -> NewPage:
    """The page of a project with the chosen files. `moment`: the time at which files without an upload time are first seen."""
    validators = dict(project.head.validators)
    if len(chosen) < len(project.files):
        validators = {key: value for key, value in validators.items() if key == "serial"}
    if times := seen_times(index):
        chosen = [seen(file, moment, times) for file in chosen]
        validators["times"] = times
    head = project.head
    files = FilePile(chosen)
    deque(files.settle(), maxlen=0)
    rows = keep(project.name, chosen)
    return NewPage(
        listing=PageListing(
            display_name=head.display_name,
            files=files,
            # Of versions with files only those of the chosen files are shown.
            versions=versions_without_files(head.versions, {file.version for file in project.files}),
            status=head.status,
            status_reason=head.status_reason,
            notes=(),
        ),
        validators=validators,
        rows=rows if rows.is_ordinary else None,
    )
