"""Why a project is shown as it is: `/+explain?project=NAME[&index=USER/INDEX]` in a browser."""

from __future__ import annotations

from pkgindex_core.clock import minute_of
from pkgindex_http.handlers.explanations import asked_about
from pkgindex_http.pages.layout import reading_page
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply

_SHOWN = 200
"""The most files of each kind on a page."""


async def why(ask: Ask) -> Reply:
    """The layers in the order in which they are searched, and the files that are hidden or wait."""
    index, project = asked_about(ask)
    story = await ask.engine.explaining.explain(index, project, principal=ask.principal)
    hidden = [(each, minute_of(each.until)) for each in story.hidden]
    return await reading_page(
        ask,
        "pages/why.html",
        index=index,
        project=project,
        story=story,
        hidden=hidden[:_SHOWN],
        left_out=max(0, len(hidden) - _SHOWN),
        warned=story.warned[:_SHOWN],
    )
