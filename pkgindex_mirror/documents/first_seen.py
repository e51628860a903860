"""Adds the time at which a file is first listed (`File.first_seen`) to files without an upload time. Pure.

The upload time itself stays unknown. `differences` keeps the first time when the page is read again.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents.file_piles import FilePile
from pkgindex_mirror.documents.plain_pages import ReadPage

FIRST_SEEN: Final = "first-seen"
"""The value of the option `upload_time`."""


def with_first_seen(page: ReadPage, project: ProjectName, moment: Timestamp) -> ReadPage:
    """The page, in which each file without an upload time is first seen at `moment`."""
    if page.rows is not None:
        return replace(page, rows=keep(project, [_seen(file, moment) for _, file in page.rows.files()]))
    files = FilePile(_seen(file, moment) for file in page.listing.files)
    deque(files.settle(), maxlen=0)
    return replace(page, listing=replace(page.listing, files=files))


def _seen(file: File, moment: Timestamp) -> File:
    return file if file.upload_time is not None else replace(file, first_seen=moment)
