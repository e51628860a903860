"""A file for people: `/{user}/{index}/{project}/{version}/{filename}`. Its facts, each with the party that vouches for it, and its contents.

`?member=PATH` shows a member, as text and never as a page. `?page=N` goes on in the list of members. `?fetch=1` lets a mirror fetch the file first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit

from pkgindex_core.clock import minute_of
from pkgindex_core.errors import Corrupt, Denied, Missing, Unavailable
from pkgindex_core.formats.archives.entry_points import read_entry_points
from pkgindex_core.formats.archives.listing import ArchiveListing
from pkgindex_core.formats.archives.wheel_layout import info_path, runs_at_start, script_of
from pkgindex_core.formats.fragments import file_path, quoted
from pkgindex_core.formats.plain_text import text_of, visible
from pkgindex_core.formats.wheel_tags import wheel_tags
from pkgindex_core.services.reading.file_contents import FileOnPage, NotHere
from pkgindex_core.services.reading.opened_files import StoredContent
from pkgindex_http.devpi.projects import to_normalized
from pkgindex_http.pages.described import NOTHING, decoded, dependency, has_sidecar, of_sidecar
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_MEMBERS: Final = 500
"""The members of one page."""
_NAME_BYTES: Final = 4096


async def file(ask: Ask) -> Reply:
    """The page of a file, or of one of its members."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    found = await ask.engine.file_contents.find(
        ask.index, ask.project, ask.values["version"], ask.values["filename"], principal=ask.principal
    )
    content = await content_of(ask, found)
    name = ask.query("member")
    if name is not None:
        return await _member(ask, found, content, name[:_NAME_BYTES])
    listing = await ask.engine.file_contents.listing(content) if isinstance(content, StoredContent) else None
    metadata, voucher = await _metadata(ask, found, content, listing)
    names = [each.name for each in listing.members] if listing is not None else []
    number = page_number(ask.query("page"))
    return await reading_page(
        ask,
        "pages/file.html",
        index=ask.index,
        project=ask.project,
        file=found.file,
        facts=_facts(ask, found, is_here=isinstance(content, StoredContent)),
        tags=wheel_tags(found.file.filename),
        metadata=metadata,
        voucher=voucher,
        dependencies=[dependency(each) for each in metadata["requires_dist"]],
        entry_points=await entry_points_of(ask, content, names),
        scripts=[visible(script_of(each)) for each in names if script_of(each)][:_MEMBERS],
        startup=[(visible(each), quote(each)) for each in names if runs_at_start(each)][:_MEMBERS],
        listing=listing,
        members=[
            (visible(each.name), quote(each.name), each.size, visible(each.target))
            for each in (listing.members if listing is not None else ())[(number - 1) * _MEMBERS : number * _MEMBERS]
        ],
        number=number,
        last=max(1, -(-len(names) // _MEMBERS)),
        absent=content if isinstance(content, NotHere) else None,
    )


def page_number(text: str | None) -> int:
    """The number of a part of a list, from a query."""
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) <= 6 else 1


async def content_of(ask: Ask, found: FileOnPage) -> StoredContent | NotHere:
    """The bytes of a file for the caller. `?fetch` lets a mirror fetch them."""
    try:
        return await ask.engine.file_contents.open(found, principal=ask.principal, fetch=ask.query("fetch") is not None)
    except Denied:
        return NotHere("you may see that it is here, and not download it")
    except (Unavailable, Corrupt) as error:
        return NotHere(error.message, can_fetch=found.config.mirrored)


async def _member(ask: Ask, found: FileOnPage, content: StoredContent | NotHere, name: str) -> Reply:
    if isinstance(content, NotHere):
        raise Missing("member", name[:300], message=f"no member of {found.file.filename} can be read: {content.reason}")
    start = await ask.engine.file_contents.member(content, name)
    if not content.public:
        await ask.read_log.record(ask.principal.label, ask.origin.client(ask.request), found.config.name, found.file)
    return await reading_page(
        ask,
        "pages/member.html",
        index=ask.index,
        project=ask.project,
        file=found.file,
        path=quoted(found.file.filename),
        name=visible(name),
        size=start.size,
        shown=len(start.data),
        text=text_of(start.data, is_cut=len(start.data) < start.size),
    )


async def _metadata(
    ask: Ask, found: FileOnPage, content: StoredContent | NotHere, listing: ArchiveListing | None
) -> tuple[Mapping[str, Any], str]:
    """The metadata of the file, and the party that vouches for it or why there is none."""
    filename = found.file.filename
    if isinstance(content, StoredContent) and listing is not None:
        names = [each.name for each in listing.members]
        inside = info_path(names, "METADATA") if filename.endswith(".whl") else _package_info(names)
        if inside:
            data = (await ask.engine.file_contents.member(content, inside)).data
            return {**NOTHING, **decoded(data)}, f"{inside} in the file"
    if has_sidecar(found.file):
        beside = await of_sidecar(ask, found.config.name, found.file)
        if not isinstance(beside, str):
            return {**NOTHING, **beside}, "the metadata beside the file"
        return NOTHING, f"the file cannot be read now: {beside}"
    return NOTHING, ""


def _package_info(names: list[str]) -> str:
    """The path of PKG-INFO in the top directory of a source distribution, or at its top; empty if there is none."""
    return next((each for each in names if each == "PKG-INFO" or each.partition("/")[2] == "PKG-INFO"), "")


async def entry_points_of(
    ask: Ask, content: StoredContent | NotHere, names: list[str]
) -> Mapping[str, Mapping[str, str]]:
    """The entry points in a wheel, by group and name. `names` are the paths of its members."""
    inside = info_path(names, "entry_points.txt")
    if not inside or not isinstance(content, StoredContent):
        return {}
    data = (await ask.engine.file_contents.member(content, inside)).data
    return await ask.engine.in_worker(partial(read_entry_points, data))


def _facts(ask: Ask, found: FileOnPage, *, is_here: bool) -> Mapping[str, Any]:
    file, config = found.file, found.config
    upstream = (urlsplit(file.url).hostname or "its upstream") if config.mirrored else ""
    here = f"{ask.root}{ask.index}/"
    return {
        "url": f"{ask.root}{config.name}/{file_path(file)}",
        "path": quoted(file.filename),
        "origin": config.name,
        "upstream": upstream,
        "at": minute_of(file.shown_time),
        "hashed_by": (f"{upstream}, and this index when it fetched the file" if is_here else upstream)
        if upstream
        else "this index, which computed them at the upload",
        "provenance": f"{here}+integrity/{found.project}/{quote(file.version)}/{quoted(file.filename)}/provenance"
        if file.provenance
        else "",
        "publisher": file.publisher,
    }
