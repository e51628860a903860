"""The simple API over HTTP: negotiation, redirects, caching headers. What is on a page is the services' business.

Redirects go by spelling only, after the caller's right to read was checked, so that no form of a URL tells whether a
project exists (standards SI-5).
"""

from __future__ import annotations

from pkgindex_core.errors import Missing
from pkgindex_core.models import Serial
from pkgindex_core.names import normalized_or_none
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1, NotAcceptable, choose_coding, choose_format
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from pkgindex_http.errors import problem_reply
from pkgindex_http.replies import SECURITY_HEADERS, Reply, redirect
from pkgindex_http.requests import Ask
from pkgindex_http.unasked import unasked_headers
from pkgindex_http.welcome import is_browser, search_page

_ENDPOINTS = {"v1+json": JSON_V1, "v1+html": HTML_V1}


async def add_slash(ask: Ask) -> Reply:
    """Send `…/name` to `…/normalised-name/`, in one hop, the query kept."""
    last = ask.segments[-1]
    if "project" in ask.values:
        project = normalized_or_none(last)
        if project is None:
            raise Missing("project", last[:160])
        last = project
    return redirect(f"{last}/{_query(ask)}")


async def project_page(ask: Ask) -> Reply:
    """A project's page."""
    if ask.values["project"] != ask.project:
        return redirect(f"../{ask.project}/{_query(ask)}")
    media_type = _media_type(ask)
    if isinstance(media_type, NotAcceptable):
        return _not_acceptable(ask, media_type)
    serial = ask.engine.store.seen()
    answer = await ask.engine.pages.project(
        PageRequest(
            view=View(start=ask.index, root=ask.root),
            project=ask.project,
            principal=ask.principal,
            media_type=media_type,
            coding=choose_coding(ask.request.headers.get("Accept-Encoding")),
            if_none_match=ask.request.headers.get("If-None-Match"),
        )
    )
    return _page_reply(answer, serial)


async def project_list(ask: Ask) -> Reply:
    """The list of projects; for a person at a browser a page to search it."""
    if is_browser(ask) and ask.query("format") is None and ask.segments[1] not in _ENDPOINTS:
        page = await search_page(ask)
        if page is not None:
            return page
    media_type = _media_type(ask)
    if isinstance(media_type, NotAcceptable):
        return _not_acceptable(ask, media_type)
    serial = ask.engine.store.seen()
    answer = await ask.engine.listings.projects(
        ask.index,
        principal=ask.principal,
        media_type=media_type,
        coding=choose_coding(ask.request.headers.get("Accept-Encoding")),
        if_none_match=ask.request.headers.get("If-None-Match"),
    )
    return _page_reply(answer, serial)


def _media_type(ask: Ask) -> str | NotAcceptable:
    if ask.segments[0] == "simple" and len(ask.segments) > 2:
        fixed = _ENDPOINTS.get(ask.segments[1])
        if fixed is not None:
            return fixed
    named = ask.query("format")
    if named is not None:
        named = named.replace(" ", "+")  # a raw `+` in a query decodes to a blank (CN-10)
    return choose_format(ask.request.headers.get("Accept"), named)


def _page_reply(answer: PageAnswer, serial: Serial) -> Reply:
    """An answer over HTTP. `serial` is a commit that the page knows of; devpi's users wait for one by it."""
    headers = {
        "Content-Type": answer.media_type,
        "ETag": answer.etag,
        "Vary": "Accept, Accept-Encoding" if answer.public else "Accept, Accept-Encoding, Authorization",
        # A client asks each time, mostly for a 304, which costs next to nothing: what it may keep hides from it what we know, such
        # as a release that was published, or found at an upstream, a minute ago.
        "Cache-Control": f"{'public' if answer.public else 'private'}, max-age=0, must-revalidate",
        "X-PyPI-Last-Serial": str(answer.serial),
        "X-Devpi-Serial": str(serial),
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "X-PyPI-Last-Serial",
        **SECURITY_HEADERS,
    }
    headers |= unasked_headers(answer.stale, answer.unknown)
    if answer.partial:
        headers["X-PkgIndex-Partial"] = "; ".join(
            f"{index}: only projects that were asked for (mirror_no_project_list)" for index in answer.partial
        )[:1000]
    if answer.body is None:
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    if answer.coding != "identity":
        headers["Content-Encoding"] = answer.coding
    return Reply(headers=headers, body=answer.body)


def _not_acceptable(ask: Ask, news: NotAcceptable) -> Reply:
    return problem_reply(
        406,
        "Not acceptable",
        (f"this page is available as {', '.join(news.supported)}",),
        "ask for one of these in Accept or ?format=",
        ask.accept,
        {"Vary": "Accept", "Cache-Control": "no-store"},
    )


def _query(ask: Ask) -> str:
    query = ask.request.rel_url.raw_query_string
    return f"?{query}" if query else ""
