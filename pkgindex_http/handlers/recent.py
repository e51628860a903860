"""The latest files and yanks of hosted indexes that a reader would get, for feeds and for pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import minute_of
from pkgindex_core.errors import Denied, Missing
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.reading.news import News
from pkgindex_http.requests import Ask

_MOST: Final = 10
_LOOKED_AT: Final = 30
"""The most news whose files are looked for: a release has several files, and some are gone."""
_SECONDS: Final = 0.2


class NewRelease(Struct, frozen=True, kw_only=True):
    """A release with a new file, or with one that was yanked or is not any more."""

    index: IndexName
    project: ProjectName
    version: str
    at: str
    what: str


async def new_releases(ask: Ask, indexes: Iterable[IndexName]) -> list[NewRelease]:
    """The latest in some indexes, the newest first. Those of an index whose log takes long to read are left out this time."""
    names = tuple(indexes)
    found = await asyncio.gather(*(ask.engine.news.soon(each, seconds=_SECONDS) for each in names))
    news = [(index, each) for index, latest in zip(names, found, strict=True) for each in latest]
    news.sort(key=lambda pair: pair[1].at, reverse=True)
    releases: dict[tuple[IndexName, ProjectName, str], NewRelease] = {}
    for index, each in news[:_LOOKED_AT]:
        try:
            file = await shown(ask, index, each)
        except Denied:  # some indexes can be read without a log-in, and their files cannot
            continue
        if file is not None and len(releases) < _MOST:
            release = NewRelease(
                index=index,
                project=each.project,
                version=file.version,
                at=minute_of(each.at),
                what=what_happened(each),
            )
            releases.setdefault((index, each.project, file.version), release)
    return list(releases.values())


async def shown(ask: Ask, index: IndexName, news: News) -> File | None:
    """The file of a piece of news; None if it is deleted, quarantined or hidden by a filter. Raises `Denied` if the reader may not download it."""
    file = await ask.engine.store.file(index, news.project, news.filename)
    if file is None or file.sha256 is None:
        return None
    pinned = f"+f/{file.sha256[:3]}/{file.sha256[3:16]}"
    try:
        return (await ask.engine.files.describe(index, pinned, news.filename, principal=ask.principal)).file
    except Missing:
        return None


def what_happened(news: News) -> str:
    """A predicate; empty for a new file."""
    return "" if news.yanked is None else "is yanked" if news.yanked else "is not yanked any more"
