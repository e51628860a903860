"""The pages of a tree that are about all projects: lists, home page, changelog, `packages.json`.

They are made of the lines of the catalogue. Of the changelog only the pages that change are made. A page for people is a frame around rows. A
template writes the frame, which is kept until its content changes. The rows are written without a template, since they are many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.formats.static_tree import PAGE_NAMES
from pkgindex_core.models import ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import ProjectList, Renderer
from pkgindex_mirror.static.catalogue import PACKAGES, Catalogue
from pkgindex_mirror.static.changelog import change_rows, first_moved, in_pages, moved
from pkgindex_mirror.static.entries import ListedChange, ProjectLine
from pkgindex_mirror.static.serving import examples
from pkgindex_mirror.static.state import digest
from pkgindex_mirror.static.templates import COUNT, ROWS, StaticTemplates

_FORMAT: Final = "rows-1"
"""The version of the rows. Raise it when the same files and projects give other rows."""


class SiteLook(Struct, frozen=True, kw_only=True):
    """How the pages for people look."""

    title: str = "My Private PyPI"
    logo: str = ""
    logo_width: int = 0


class SharedContent(Struct, frozen=True, kw_only=True):
    """The content of the pages."""

    lines: Sequence[ProjectLine]
    """By name."""
    packages: Mapping[ProjectName, bytes]
    first: int
    """The first page of the changelog that changes, counted from 0."""
    changes: Sequence[Sequence[ListedChange]]
    """The files on it and on those behind it."""


class SharedPages(Struct, frozen=True, kw_only=True):
    """The pages that were made."""

    written: Mapping[str, bytes]
    """Bytes by path."""
    untouched: frozenset[str]
    """Pages of the changelog that stay as they are."""
    frames: Mapping[str, bytes]


def look_of(site: SiteLook, templates: StaticTemplates) -> str:
    """A name of everything that shapes pages for people."""
    return digest(msgspec.msgpack.encode((_FORMAT, site, templates.fingerprint))).hex()


async def shared_content(catalogue: Catalogue, *, afresh: bool) -> SharedContent:
    """Read the content of the pages that change. `afresh`: all pages of the changelog are made again, from all entries."""
    packages = await catalogue.packages()
    lines = [catalogue.lines[name] for name in sorted(catalogue.lines)]
    if afresh:
        entries = await catalogue.load_all()
        changes = in_pages(change for entry in entries.values() for change in entry.changes)
        return SharedContent(lines=lines, packages=packages, first=0, changes=changes)
    left, joined = moved((before, catalogue.entry(name)) for name, before in catalogue.changed.items())
    if not left and not joined:
        return SharedContent(lines=lines, packages=packages, first=len(catalogue.former.changes), changes=())
    first = first_moved([page.start for page in catalogue.former.changes], left, joined)
    changes = in_pages({*await catalogue.changes(first)} - left | joined)
    return SharedContent(lines=lines, packages=packages, first=first, changes=changes)


def shared_pages(
    content: SharedContent,
    renderers: Sequence[Renderer],
    site: SiteLook,
    templates: StaticTemplates,
    kept: Mapping[str, bytes],
) -> SharedPages:
    """Make the pages. `kept`: the frames of pages with this look, by path."""
    written = {}
    listed = ProjectList(names=[ProjectRow(line.name, line.display_name, line.stamp) for line in content.lines])
    serial = Serial(max((line.stamp for line in content.lines), default=0))
    for renderer in renderers:
        data = renderer.list_start(serial) + renderer.list_part(listed, first=True) + renderer.list_end(serial)
        written[f"simple/{PAGE_NAMES[renderer.media_type]}"] = data
    written[PACKAGES] = b"".join([content.packages[line.name] for line in content.lines])
    written.update(examples())
    count = content.first + len(content.changes)
    frames: dict[str, bytes] = dict(kept)

    def frame(key: str, name: str, **values: object) -> bytes:
        if key not in frames:
            frames[key] = templates.frame(name, site=site, **values)
        return frames[key]

    for number, page in enumerate(content.changes, start=content.first + 1):
        older, newer = _neighbours(number, count)
        heading = f"{site.title}: what is new"
        around = frame(f"{older} {newer}", "static_changelog.html", heading=heading, older=older, newer=newer)
        written[f"changelog/page{number}.html"] = around.replace(ROWS, change_rows(page), 1)
    newest = f"page{count}.html" if count else ""
    around = frame(newest, "static_home.html", heading=site.title, newest_changes=newest)
    written["index.html"] = around.replace(COUNT, str(len(content.lines)).encode(), 1).replace(
        ROWS, _rows(content.lines), 1
    )
    # The next run needs the frames of the home page and of the newest page of the changelog.
    needed = [newest, " ".join(_neighbours(count, count))] if count else [newest]
    return SharedPages(
        written=written,
        untouched=frozenset(f"changelog/page{number}.html" for number in range(1, content.first + 1)),
        frames={key: frames[key] for key in needed},
    )


def _neighbours(number: int, count: int) -> tuple[str, str]:
    """The older and the newer page beside a page of the changelog; empty where there is none."""
    return f"page{number - 1}.html" if number > 1 else "", f"page{number + 1}.html" if number < count else ""


def _rows(lines: Sequence[ProjectLine]) -> bytes:
    """The rows of the home page."""
    return "".join(
        [
            f'<tr><td><a href="simple/{line.name}/index.html">{line.name}</a></td><td>{escape(line.version)}</td>'
            f"<td>{escape(line.summary)}</td></tr>\n"
            for line in lines
        ]
    ).encode("utf-8", "replace")
