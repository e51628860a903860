"""Adds the time at which a file is first listed (`File.first_seen`). Pure.

The option `upload_time` adds it to files without an upload time, which stays unknown; a policy `cooldown … by first-seen` of the mirror adds it to
all files. `differences` keeps the first time when the page is read again.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.rules.policing.lines import by_first_seen
from pkgindex_mirror.documents.file_piles import FilePile
from pkgindex_mirror.documents.plain_pages import ReadPage

FIRST_SEEN: Final = "first-seen"
"""The value of the option `upload_time`."""
ALL_FIRST_SEEN: Final = "all first-seen"


def seen_times(index: IndexConfig) -> str:
    """The files of a mirror that get the time: those without an upload time (`FIRST_SEEN`), all (`ALL_FIRST_SEEN`), or none ("")."""
    if by_first_seen(index):
        return ALL_FIRST_SEEN
    return FIRST_SEEN if mirror_options(index).upload_time == FIRST_SEEN else ""


def with_first_seen(page: ReadPage, project: ProjectName, moment: Timestamp, times: str = FIRST_SEEN) -> ReadPage:
    """The page, in which the files that `times` means are first seen at `moment`."""
    if page.rows is not None:
        return replace(page, rows=keep(project, [seen(file, moment, times) for _, file in page.rows.files()]))
    files = FilePile(seen(file, moment, times) for file in page.listing.files)
    deque(files.settle(), maxlen=0)
    return replace(page, listing=replace(page.listing, files=files))


def seen(file: File, moment: Timestamp, times: str) -> File:
    """The file, first seen at `moment` if it is one of those that `times` means."""
    wanted = times == ALL_FIRST_SEEN or (times == FIRST_SEEN and file.upload_time is None)
    return replace(file, first_seen=moment) if wanted else file
