"""The start page: the lines to paste, the indexes that the reader may read, hosted ones first, and what is new in these."""

from __future__ import annotations

from typing import Final

from pkgindex_core.rules.permissions import Action, permits
from pkgindex_http.handlers.recent import new_releases
from pkgindex_http.pages.layout import reading_page, with_search_script
from pkgindex_http.pasting import lines_to_paste
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN: Final = 500
"""The most indexes of each kind."""
_LOOKED_AT: Final = 10
"""The most indexes whose news are told, the default one first."""


async def welcome(ask: Ask) -> Reply:
    """The start page."""
    tree = await ask.engine.store.tree()
    readable = [
        config
        for _, config in sorted(tree.indexes.items())
        if permits(ask.principal, Action.READ, index=config, some_project=True)
    ]
    readable.sort(key=lambda config: config.name != ask.default_index)
    hosted = [config for config in readable if not config.mirrored]
    page = await reading_page(
        ask,
        "welcome.html",
        index=None,
        releases=await new_releases(ask, [config.name for config in hosted[:_LOOKED_AT]]),
        lines=lines_to_paste(ask.url, uploads="routes" not in ask.settings.plugins),
        hosted=hosted[:_SHOWN],
        mirrors=[config for config in readable if config.mirrored][:_SHOWN],
    )
    return with_search_script(page)
