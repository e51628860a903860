"""An index as it was: pages and lists below `/+at/{at}`, where `at` is a serial, a day or a time.

An installer takes `/+at/2026-11-29/USER/INDEX/+simple/` as its index. Links lead to the files' present URLs.
"""

from __future__ import annotations

from pkgindex_core.rules.moments import named_moment
from pkgindex_core.rules.negotiation import NotAcceptable, choose_coding
from pkgindex_core.services.reading.pages import View
from pkgindex_core.services.reading.past import PastRequest
from pkgindex_http.handlers.simple import media_type_of, not_acceptable, page_reply
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import Reply, redirect


async def past_page(ask: Ask) -> Reply:
    """A project's page as it was."""
    if ask.values["project"] != ask.project:
        return redirect(f"../{ask.project}/{ask.query_suffix}")
    media_type = media_type_of(ask)
    if isinstance(media_type, NotAcceptable):
        return not_acceptable(ask, media_type)
    answer = await ask.engine.past.project(_request(ask, media_type), ask.project)
    return page_reply(answer, answer.serial)


async def past_list(ask: Ask) -> Reply:
    """The list of projects as it was."""
    media_type = media_type_of(ask)
    if isinstance(media_type, NotAcceptable):
        return not_acceptable(ask, media_type)
    answer = await ask.engine.past.projects(_request(ask, media_type))
    return page_reply(answer, answer.serial)


def _request(ask: Ask, media_type: str) -> PastRequest:
    return PastRequest(
        moment=named_moment(ask.values["at"]),
        view=View(start=ask.index, root=ask.root),
        principal=ask.principal,
        media_type=media_type,
        coding=choose_coding(ask.request.headers.get("Accept-Encoding")),
        if_none_match=ask.request.headers.get("If-None-Match"),
    )
