"""How many projects an index holds itself: `/{user}/{index}/+census`, for programs and for people."""

from __future__ import annotations

from pkgindex_core.rules.permissions import Action
from pkgindex_http.requests import Ask
from pkgindex_http.routing import OnIndex, Route
from pkgindex_http.wire.replies import Reply, json_reply


async def census(ask: Ask) -> Reply:
    count = await ask.engine.store.project_count(ask.index)
    if "html" in ask.accept:
        return await ask.templates.page("census.html", index=ask.index, count=count, asker=ask.principal.label)
    return json_reply({"index": ask.index, "projects": count, "asker": ask.principal.label})


ROUTES = (
    Route(
        "GET",
        "/{user}/{index}/+census[/]",
        OnIndex(Action.READ, about="index"),
        census,
        "how many projects an index holds itself",
    ),
)
