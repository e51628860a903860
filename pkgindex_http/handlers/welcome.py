"""The list of projects for browsers: hosted projects, and a search field instead of the 900,000 names that a mirror may have.

Other clients get the whole list: browsers name XHTML in `Accept`, and no installer does.
"""

from __future__ import annotations

from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN = 500
"""The most names of each kind on one page."""
_TEXT_LIMIT = 100


def is_browser(ask: Ask) -> bool:
    """Whether the client is a browser."""
    return "application/xhtml+xml" in ask.accept.lower()


async def search_page(ask: Ask) -> Reply | None:
    """The projects of an index with a search field. None if no mirror is among its layers: the plain list is short enough."""
    text = (ask.query("q") or "").strip()[:_TEXT_LIMIT]
    found = await ask.engine.searching.search(ask.index, text, principal=ask.principal, limit=_SHOWN)
    if not found.mirrors:
        return None
    return await ask.templates.page("projects.html", index=ask.index, text=text, found=found, shown=_SHOWN)
