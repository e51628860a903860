"""Feeds for readers of news: new files and yanks of an index or a project, the newest first, in the Atom format.

    GET /{user}/{index}/+feed              the latest 50 of a hosted index, from the log
    GET /{user}/{index}/+feed/{project}    the latest 50 releases of a project, as its page shows them, with what is inherited

A file that the reader would not get is left out (`handlers.recent`). An equal feed has an equal ETag.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from pkgindex_core.clock import Timestamp, from_rfc3339
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.formats.atom import CONTENT_TYPE, FeedEntry, written
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.rules.negotiation import JSON_V1
from pkgindex_core.rules.stamping import matches
from pkgindex_core.services.reading.news import MOST, News
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_http.handlers.recent import shown, what_happened
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply

_HEADERS: Final = {
    "Content-Type": CONTENT_TYPE,
    "Cache-Control": "private, no-cache",
    "Vary": "Authorization, Cookie",
    **SECURITY_HEADERS,
}


async def of_index(ask: Ask) -> Reply:
    """The feed of an index."""
    entries = [entry for news in await ask.engine.news.of(ask.index) if (entry := await _entry(ask, news)) is not None]
    return await _feed(ask, str(ask.index), f"{ask.url}/{ask.index}", entries)


async def of_project(ask: Ask) -> Reply:
    """The feed of a project."""
    request = PageRequest(
        view=View(start=ask.index, root="/"), project=ask.project, principal=ask.principal, media_type=JSON_V1
    )
    answer = await ask.engine.pages.project(request)
    files: list[dict[str, Any]] = msgspec.json.decode(answer.body or b"{}").get("files", [])
    page = f"{ask.url}/{ask.index}/{ask.project}"
    newest: dict[str, FeedEntry] = {}
    # The first file of a release dates it. All its files yanked: the release is.
    for file in sorted(files, key=lambda each: each.get("upload-time") or "", reverse=True):
        version = _version(file["filename"], ask.project)
        yanked = file.get("yanked") or False
        title = f"{ask.project} {version}"
        note = f"Yanked: {yanked}" if isinstance(yanked, str) else "Yanked" if yanked else ""
        newest[version] = FeedEntry(
            id=await _id(ask, f"{ask.index}/{ask.project}/{version}{'/yanked' if yanked else ''}"),
            title=f"{title} (yanked)" if yanked else title,
            at=from_rfc3339(file.get("upload-time") or "") or Timestamp(0),
            link=f"{page}/{quote(version)}",
            text=note,
        )
    entries = sorted(newest.values(), key=lambda entry: entry.at, reverse=True)[:MOST]
    return await _feed(ask, f"{ask.project} in {ask.index}", page, entries)


async def _entry(ask: Ask, news: News) -> FeedEntry | None:
    """The entry of a file that the reader may still get; None for another one."""
    file = await shown(ask, ask.index, news)
    if file is None:
        return None
    return FeedEntry(
        id=await _id(ask, f"{ask.index}/{news.serial}/{news.filename}"),
        title=f"{news.project} {file.version}: {news.filename} {what_happened(news)}".rstrip(),
        at=news.at,
        link=f"{ask.url}/{ask.index}/{news.project}/{quote(file.version)}",
        # The history of a file names its publisher to its readers too, and nothing else names who yanked it.
        author=news.who.partition(" ")[0] if news.yanked is None else "",
        text=news.yanked if isinstance(news.yanked, str) else "",
    )


async def _id(ask: Ask, what: str) -> str:
    """A URI that says the same on every server over the store (RFC 4151 would need a domain and a date)."""
    return f"urn:pkgindex:{await ask.engine.uuid()}:{quote(what)}"


async def _feed(ask: Ask, title: str, link: str, entries: list[FeedEntry]) -> Reply:
    here = f"{ask.url}/{'/'.join(quote(segment, safe='+') for segment in ask.segments)}"
    body = written(id=await _id(ask, here), title=title, link=link, here=here, entries=entries)
    etag = f'"{sha256_of(body)[:32]}"'
    headers = {**_HEADERS, "ETag": etag}
    if matches(ask.request.headers.get("If-None-Match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=body)


def _version(filename: str, project: str) -> str:
    """The version in a filename."""
    try:
        return parse_upload_filename(filename, LENIENT, project=project).version
    except Refused:
        return filename
