"""A user for people: `/{user}` in a browser. Who that is, and the indexes of them that the reader may read."""

from __future__ import annotations

from typing import Final

from pkgindex_core.names import IndexName
from pkgindex_http.handlers.recent import new_releases
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_LOOKED_AT: Final = 10
"""The most indexes whose news are told, by name."""


async def user(ask: Ask) -> Reply:
    """The page."""
    shown = await ask.engine.overview.user(ask.values["user"], ask.principal)
    tree = await ask.engine.store.tree()
    names = [IndexName(f"{shown['username']}/{each}") for each in shown["indexes"]]
    indexes = [config for name in names if (config := tree.indexes.get(name))]
    hosted = [config.name for config in indexes if not config.mirrored]
    return await reading_page(
        ask,
        "pages/user.html",
        index=None,
        shown=shown["username"],
        title=shown.get("title", ""),
        description=shown.get("description", ""),
        indexes=indexes,
        releases=await new_releases(ask, hosted[:_LOOKED_AT]),
    )
