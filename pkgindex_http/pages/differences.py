"""The difference between two releases for people: `/{user}/{index}/{project}/+diff?from=VERSION&to=VERSION` in a browser.

Made of stored metadata and of the listings of one archive of each release. Without versions it compares the latest release with the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct

from pkgindex_core.formats import release_differences as differences
from pkgindex_core.formats.archives.listing import ArchiveListing, ListedMember
from pkgindex_core.formats.fragments import quoted
from pkgindex_core.formats.plain_text import visible
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File
from pkgindex_core.services.reading.file_contents import FileOnPage, NotHere
from pkgindex_core.services.reading.showing import ProjectView
from pkgindex_http.devpi.projects import to_normalized
from pkgindex_http.pages.described import metadata_of
from pkgindex_http.pages.files import content_of, entry_points_of
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN: Final = 200
"""The most differences of one kind."""
_LONGEST: Final = 600
"""The most characters of a name or value that are shown."""
_SUGGESTED: Final = 200
"""The most versions that the fields suggest."""


class Section(Struct, frozen=True):
    """The differences of one kind."""

    title: str
    rows: tuple[tuple[str, str, str, str, str], ...]
    """Mark, name, old value, new value, and the place of the member in the page of its file; empty if it is no member."""
    more: int


class _Inside(Struct, frozen=True):
    """The archive of one release."""

    path: str
    """The path of its page, below that of the project."""
    members: Mapping[str, ListedMember]
    listing: ArchiveListing | None
    points: Mapping[str, str]
    trouble: str


async def difference(ask: Ask) -> Reply:
    """The page."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    newer = await _view(ask, ask.query("to"))
    older = await _view(ask, ask.query("from") or version_before(newer) or newer.version)
    old, _, no_old = await metadata_of(ask, older)
    new, _, no_new = await metadata_of(ask, newer)
    troubles = [each for each in (no_old, no_new) if each]
    pair = differences.comparable([file for _, file in older.files], [file for _, file in newer.files])
    inside = []
    if pair is not None:
        inside = [await _inside(ask, view, file) for view, file in ((older, pair.old), (newer, pair.new))]
        troubles += [each.trouble for each in inside if each.trouble]
    is_compared = bool(inside) and all(each.listing is not None for each in inside)
    sections = _of_archives(*inside) if is_compared else []
    if not no_old and not no_new:
        facts = differences.changes(differences.facts_of(old), differences.facts_of(new))
        sections += [_section("Dependencies", _of_dependencies(old, new)), _section("Metadata", facts)]
    files = (differences.files_of(file for _, file in each.files) for each in (older, newer))
    sections.append(_section("Files, in bytes", differences.changes(*files)))
    if is_compared:
        sections.append(_of_members(*inside))
    return await reading_page(
        ask,
        "pages/difference.html",
        index=ask.index,
        project=ask.project,
        old=older.version,
        new=newer.version,
        versions=newer.page.versions[: -_SUGGESTED - 1 : -1],
        troubles=[visible(each) for each in troubles],
        sections=[each for each in sections if each.rows],
        pair=[] if pair is None else list(zip((pair.old.filename, pair.new.filename), inside, strict=True)),
    )


async def _view(ask: Ask, version: str | None) -> ProjectView:
    return await ask.engine.showing.project(ask.index, ask.project, version or None, principal=ask.principal)


def version_before(view: ProjectView) -> str:
    """The version before that of a view; empty if it is the first one."""
    wanted = canonical_version(view.version)
    versions = view.page.versions
    place = next((place for place, each in enumerate(versions) if canonical_version(each) == wanted), 0)
    return versions[place - 1] if place else ""


def _of_dependencies(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[differences.Change, ...]:
    return differences.changes(*(differences.dependencies_of(each["requires_dist"]) for each in (old, new)))


def _of_archives(old: _Inside, new: _Inside) -> list[Section]:
    """The differences of the archives, beginning with those of code that runs unasked."""
    startup = differences.changes(*(differences.startup_of(each.members) for each in (old, new)))
    scripts = differences.changes(*(differences.scripts_of(each.members) for each in (old, new)))
    return [
        _section("Files that run at every start of Python", startup, values=False),
        _section("Scripts", scripts, values=False),
        _section("Entry points", differences.changes(old.points, new.points)),
    ]


def _of_members(old: _Inside, new: _Inside) -> Section:
    found = differences.changes(*(differences.contents_of(each.members) for each in (old, new)))
    sizes = [differences.Change(each.name, each.old and each.old[0], each.new and each.new[0]) for each in found]

    def place(change: differences.Change) -> str:
        inside = old if change.new is None else new
        return f"{inside.path}?member={quote(inside.members[change.name].name)}"

    return _section("Contents, in bytes", sizes, place=place)


async def _inside(ask: Ask, view: ProjectView, file: File) -> _Inside:
    entry = next(entry for entry, each in view.files if each is file)
    found = FileOnPage(config=view.resolution.tree.indexes[entry.origin], project=ask.project, file=file)
    path = f"{quote(view.version)}/{quoted(file.filename)}"
    content = await content_of(ask, found)
    if isinstance(content, NotHere):
        return _Inside(path, {}, None, {}, f"the contents of {file.filename} are not compared: {content.reason}")
    listing = await ask.engine.file_contents.listing(content)
    points = await entry_points_of(ask, content, [each.name for each in listing.members])
    trouble = f"the list of {file.filename} ends early: {listing.trouble}" if listing.trouble else ""
    return _Inside(
        path, differences.members_of(listing, file.filename), listing, differences.points_of(points), trouble
    )


def _section(
    title: str,
    found: Sequence[differences.Change],
    *,
    values: bool = True,
    place: Callable[[differences.Change], str] = lambda _: "",
) -> Section:
    rows = tuple(
        (
            "+" if each.old is None else "−" if each.new is None else "≠",
            _cut(each.name),
            _cut(str(each.old)) if values and each.old is not None else "",
            _cut(str(each.new)) if values and each.new is not None else "",
            place(each),
        )
        for each in found[:_SHOWN]
    )
    return Section(title, rows, max(0, len(found) - _SHOWN))


def _cut(text: str) -> str:
    return visible(text[:_LONGEST]) + ("…" if len(text) > _LONGEST else "")
