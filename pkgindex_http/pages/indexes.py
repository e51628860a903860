"""An index for people: `/{user}/{index}` in a browser. Its layers in their order, its options, and its own projects, part by part."""

from __future__ import annotations

import re
from typing import Final

from pkgindex_core.names import owner
from pkgindex_http.handlers.recent import new_releases
from pkgindex_http.pages.layout import reading_page, with_search_script
from pkgindex_http.pasting import installing_lines
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN: Final = 200
_PLACE: Final = re.compile(r"[a-z0-9-]{0,200}~?")
"""A place among the names: behind a name, or with a tilde behind all names that begin so."""


async def index(ask: Ask) -> Reply:
    """The page. `?after=NAME` goes on behind a project, and `?after=f~` behind all names with an f."""
    after = (ask.query("after") or "").lower()
    if not _PLACE.fullmatch(after):
        after = ""
    options = await ask.engine.overview.index(ask.index, ask.principal)
    layers = await ask.engine.browsing.layers(ask.index, principal=ask.principal)
    part = await ask.engine.browsing.part(ask.index, after, principal=ask.principal, limit=_SHOWN + 1)
    page = await reading_page(
        ask,
        "pages/index.html",
        index=ask.index,
        owner=owner(ask.index),
        title=layers[0].title,
        description=layers[0].description,
        options={
            name: value
            for name, value in sorted(options.items())
            if name not in {"title", "description", "custom_data"}
        },
        layers=[(layer, await ask.engine.browsing.count(layer)) for layer in layers],
        after=after,
        rows=part[:_SHOWN],
        more=len(part) > _SHOWN,
        releases=[] if layers[0].mirrored or after else await new_releases(ask, [ask.index]),
        lines=installing_lines(f"{ask.url}/{ask.index}/+simple"),
    )
    return with_search_script(page)
