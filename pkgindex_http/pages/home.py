"""The start page: the lines to paste, then the indexes that the reader may read, hosted ones first."""

from __future__ import annotations

from typing import Final

from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.pages.layout import reading_page, with_search_script
from pkgindex_http.pasting import lines_to_paste
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN: Final = 500
"""The most indexes of each kind."""


async def welcome(ask: Ask) -> Reply:
    """The start page."""
    tree = await ask.engine.store.tree()
    readable = [
        config
        for _, config in sorted(tree.indexes.items())
        if permits(ask.principal, Action.READ, index=config, some_project=True)
    ]
    readable.sort(key=lambda config: config.name != ask.default_index)
    page = await reading_page(
        ask,
        "welcome.html",
        lines=lines_to_paste(ask.url, uploads="routes" not in ask.settings.plugins),
        hosted=[config for config in readable if not config.mirrored][:_SHOWN],
        mirrors=[config for config in readable if config.mirrored][:_SHOWN],
    )
    return with_search_script(page)
