"""Pages of layers as they were at a moment, without what the present does not give. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from pkgindex_core.clock import Timestamp
from pkgindex_core.models import Page, PageRow, Tree, decode_file
from pkgindex_core.protocols import Build, PageFilter
from pkgindex_core.rules.filtering import applying, releases_of, why_hidden


def cut(page: Page, last: Timestamp) -> Page:
    """A mirrored page without the files that were published later or at an unknown time, and without versions that have no files."""

    def is_older(row: PageRow) -> bool:
        published = decode_file(row.body).upload_time
        return published is not None and published <= last

    return replace(page, head=replace(page.head, versions=()), rows=tuple(row for row in page.rows if is_older(row)))


def still_there(past: Page, now: Page) -> Page:
    """A page without the files that are not there any more, or have other bytes by now."""
    present = {row.filename: decode_file(row.body).sha256 for row in now.rows}
    rows = tuple(
        row for row in past.rows if row.filename in present and decode_file(row.body).sha256 == present[row.filename]
    )
    return replace(past, rows=rows)


def as_itself(filters: Mapping[str, PageFilter], page: Page, tree: Tree, moment: Timestamp, now: Timestamp) -> Page:
    """The page of a layer that is inherited no more, without the files that the layer's own pages would not show."""
    active = applying(filters, tree, page.index)
    files = {row.filename: decode_file(row.body) for row in page.rows} if active else {}
    release = releases_of((page.index, file) for file in files.values())
    build = Build(tree=tree, start=page.index, project=page.project, moment=moment, now=now, release=release)
    hidden = {name for name, file in files.items() if why_hidden(page.index, file, active, build)}
    return replace(page, rows=tuple(row for row in page.rows if row.filename not in hidden)) if hidden else page
