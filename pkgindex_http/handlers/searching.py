"""Searches as JSON: `/+search` for all indexes, `/{user}/{index}/+search` for an index with its bases. `pages.search` is the page for people.

    {"query": "json depends:attrs", "index": "root/dev",
     "projects": [{"name": "Demo", "project": "demo", "index": "root/dev", "mirrored": false, "url": "https://…/root/dev/demo",
                   "version": "1.0", "summary": "…", "described": true}],
     "next": "https://…/root/dev/+search?q=…&after=…", "behind": 0, "complete": true}

`index` of a project is the one that has it, and `url` leads to it as it was found. `described` is false where nothing but the name, and perhaps
the newest version, is known here. `next` is null at the end. `behind` counts the commits that are not searched yet; `complete` is false while the
first catalogue is made.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlencode

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.catalogue import SearchEntry
from pkgindex_core.rules.searching.queries import read_query
from pkgindex_core.services.reading.searching import MOST, FoundProjects
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, json_reply

USUAL: Final = 20
"""The projects of one answer, without `limit`."""
_HEADERS: Final = {"Cache-Control": "no-store", "Vary": "Accept, Authorization, Cookie"}


class SearchAnswer(Struct, frozen=True, kw_only=True):
    """A search and its result."""

    text: str
    start: IndexName | None
    """The index in which was searched; None: all of them."""
    found: FoundProjects

    def next_query(self, limit: int = USUAL) -> str:
        """The query of the URL of the next part; empty: there is none."""
        if not self.found.after:
            return ""
        values = {"q": self.text, "after": self.found.after} | ({} if limit == USUAL else {"limit": str(limit)})
        return urlencode(values)

    def path_of(self, entry: SearchEntry) -> str:
        """The path of a project below the root of the server: in the index in which was searched, or else in its own."""
        return f"{quote(self.start or entry.index)}/{quote(entry.project)}"


async def search(ask: Ask) -> Reply:
    """Answer a search as a JSON document."""
    limit = _limit(ask)
    answer = await answered(ask, limit=limit)
    following = answer.next_query(limit)
    below = f"{ask.url}/{answer.start}" if answer.start is not None else ask.url
    return json_reply(
        {
            "query": answer.text,
            "index": answer.start,
            "projects": [_document(answer, each, ask.url) for each in answer.found.projects],
            "next": f"{below}/+search?{following}" if following else None,
            "behind": answer.found.behind,
            "complete": answer.found.is_whole,
        },
        headers=_HEADERS,
    )


async def answered(ask: Ask, *, limit: int = USUAL) -> SearchAnswer:
    """Search for what the URL asks: `?q=QUERY&after=PLACE`, or devpi-web's `?query=`. Raises `Refused` for what is no query."""
    text = searched_text(ask)
    start = ask.index if "index" in ask.values else None
    found = await ask.engine.searching.search(
        read_query(text), start=start, principal=ask.principal, after=ask.query("after") or "", limit=limit
    )
    return SearchAnswer(text=text, start=start, found=found)


def searched_text(ask: Ask) -> str:
    """The text of the query."""
    return (ask.query("q") or ask.query("query") or "").strip()


def _limit(ask: Ask) -> int:
    text = ask.query("limit")
    if text is None:
        return USUAL
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST):
        raise Refused(f"limit={text[:20]} is no number from 1 to {MOST}", hint="follow `next` for more projects")
    return int(text)


def _document(answer: SearchAnswer, entry: SearchEntry, root: str) -> dict[str, Any]:
    return {
        "name": entry.name,
        "project": entry.project,
        "index": entry.index,
        "mirrored": entry.mirrored,
        "url": f"{root}/{answer.path_of(entry)}",
        "version": entry.version,
        "summary": entry.summary,
        "described": entry.described,
    }
