"""Pages for browsers: the start page with the lines to paste, and a list of projects with a search field.

    /             the lines to paste, hosted indexes, then mirrors
    /simple/      hosted projects, and a search field instead of the 900,000 names that a mirror may have

Other clients get the whole list: browsers name XHTML in `Accept`, and no installer does.
"""

from __future__ import annotations

from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.pasting import lines_to_paste
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN = 500
"""The most names of each kind on one page, and the most indexes on the start page."""
_TEXT_LIMIT = 100


def is_browser(ask: Ask) -> bool:
    """Whether the client is a browser."""
    return "application/xhtml+xml" in ask.accept.lower()


async def welcome(ask: Ask) -> Reply:
    """The start page."""
    tree = await ask.engine.store.tree()
    readable = [
        config
        for _, config in sorted(tree.indexes.items())
        if permits(ask.principal, Action.READ, index=config, some_project=True)
    ]
    readable.sort(key=lambda config: config.name != ask.default_index)
    return await ask.templates.page(
        "welcome.html",
        user=ask.principal.name,
        lines=lines_to_paste(ask.url, uploads="routes" not in ask.settings.plugins),
        hosted=[config for config in readable if not config.mirrored][:_SHOWN],
        mirrors=[config for config in readable if config.mirrored][:_SHOWN],
    )


async def search_page(ask: Ask) -> Reply | None:
    """The projects of an index with a search field. None if no mirror is among its layers: the plain list is short enough."""
    text = (ask.query("q") or "").strip()[:_TEXT_LIMIT]
    found = await ask.engine.searching.search(ask.index, text, principal=ask.principal, limit=_SHOWN)
    if not found.mirrors:
        return None
    return await ask.templates.page("projects.html", index=ask.index, text=text, found=found, shown=_SHOWN)
