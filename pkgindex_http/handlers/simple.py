"""The simple API over HTTP: negotiation, redirects, caching headers. Services make the pages.

Redirects depend on the spelling of the URL only, and need the right to read, so they do not tell whether a project exists.
"""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.errors import Missing
from pkgindex_core.models import Serial
from pkgindex_core.names import normalized_or_none
from pkgindex_core.rules.negotiation import HTML_V1, JSON_V1, LIST_CODINGS, NotAcceptable, choose_coding, choose_format
from pkgindex_core.services.reading.pages import PageAnswer, PageRequest, View
from pkgindex_core.tools.currency import Holding
from pkgindex_http.errors import problem_reply
from pkgindex_http.handlers.welcome import is_browser
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply, redirect
from pkgindex_http.wire.unasked import unasked_headers, warning_headers

_ENDPOINTS = {"v1+json": JSON_V1, "v1+html": HTML_V1}


async def add_slash(ask: Ask) -> Reply:
    """Redirect `…/name` to `…/normalised-name/`, with the query."""
    last = ask.segments[-1]
    if "project" in ask.values:
        project = normalized_or_none(last)
        if project is None:
            raise Missing("project", last[:160])
        last = project
    return redirect(f"{last}/{ask.query_suffix}")


async def project_page(ask: Ask) -> Reply:
    """A project's page."""
    return await page_with_links(ask, ask.root, media_type_of(ask))


async def page_with_links(ask: Ask, root: str, media_type: str | NotAcceptable) -> Reply:
    """A project's page. Each link to a file is `root`, followed by the index and the file's path in it."""
    if ask.values["project"] != ask.project:
        return redirect(f"../{ask.project}/{ask.query_suffix}")
    if isinstance(media_type, NotAcceptable):
        return not_acceptable(ask, media_type)
    serial = ask.engine.store.seen()
    codings = ask.request.headers.get("Accept-Encoding")
    answer, holding = await ask.engine.pages.holding_project(
        PageRequest(
            view=View(start=ask.index, root=root),
            project=ask.project,
            principal=ask.principal,
            media_type=media_type,
            coding=choose_coding(codings),
            long_coding=choose_coding(codings, LIST_CODINGS),
            if_none_match=ask.request.headers.get("If-None-Match"),
        )
    )
    return page_reply(answer, serial, holding)


async def project_list(ask: Ask) -> Reply:
    """The list of projects; a browser is sent to the page to search it, if a mirror is in it."""
    return await list_in(ask, media_type_of(ask))


async def list_in(ask: Ask, media_type: str | NotAcceptable) -> Reply:
    """The list of projects in this format. A browser that names no format in the URL is sent to the search if a mirror is in the list."""
    if is_browser(ask) and ask.query("format") is None and ask.segments[1] not in _ENDPOINTS:
        layers = await ask.engine.browsing.layers(ask.index, principal=ask.principal)
        if any(layer.mirrored for layer in layers):
            return _to_search(ask)
    if isinstance(media_type, NotAcceptable):
        return not_acceptable(ask, media_type)
    serial = ask.engine.store.seen()
    answer = await ask.engine.listings.projects(
        ask.index,
        principal=ask.principal,
        media_type=media_type,
        coding=choose_coding(ask.request.headers.get("Accept-Encoding"), LIST_CODINGS),
        if_none_match=ask.request.headers.get("If-None-Match"),
    )
    return page_reply(answer, serial)


def _to_search(ask: Ask) -> Reply:
    """Redirect a person to the page to search: a mirror may have 900,000 names."""
    reply = redirect(f"{ask.root}{ask.index}/+search{ask.query_suffix}", status=302)
    return replace(reply, headers={**reply.headers, "Cache-Control": "no-store", "Vary": "Accept, Authorization"})


async def list_for_installers(ask: Ask) -> Reply:
    """The list of projects, or a redirect to it, on a path where other clients than installers get another document."""
    return _for_installers(await (add_slash if ask.segments[-1] else project_list)(ask))


async def page_for_installers(ask: Ask) -> Reply:
    """A project's page, on a path where other clients than installers get another document."""
    return _for_installers(await project_page(ask))


def _for_installers(reply: Reply) -> Reply:
    """The answer made private: most shared caches ignore `Vary: User-Agent` and would send it to devpi's client."""
    vary = reply.headers.get("Vary", "Accept")
    caching = reply.headers.get("Cache-Control", "no-store").replace("public", "private")
    return replace(reply, headers={**reply.headers, "Vary": f"{vary}, User-Agent", "Cache-Control": caching})


def media_type_of(ask: Ask) -> str | NotAcceptable:
    """The format that the URL, its query or `Accept` asks for."""
    if ask.segments[0] == "simple" and len(ask.segments) > 2:
        fixed = _ENDPOINTS.get(ask.segments[1])
        if fixed is not None:
            return fixed
    named = ask.query("format")
    if named is not None:
        named = named.replace(" ", "+")  # a raw `+` in a query was decoded to a blank
    return choose_format(ask.request.headers.get("Accept"), named)


def page_reply(answer: PageAnswer, serial: Serial, holding: Holding | None = None) -> Reply:
    """The HTTP answer. `serial` is a commit that the page includes; devpi's users wait for a commit with it."""
    headers = {
        "Content-Type": answer.media_type,
        "ETag": answer.etag,
        "Vary": "Accept, Accept-Encoding" if answer.public else "Accept, Accept-Encoding, Authorization",
        # Clients ask each time and mostly get a 304, which costs little. A page that they may keep hides new releases.
        "Cache-Control": f"{'public' if answer.public else 'private'}, max-age=0, must-revalidate",
        "X-PyPI-Last-Serial": str(answer.serial),
        "X-Devpi-Serial": str(serial),
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "X-PyPI-Last-Serial",
        **SECURITY_HEADERS,
    }
    headers |= unasked_headers(answer.stale, answer.unknown) | warning_headers(answer.warnings)
    if answer.partial:
        headers["X-PkgIndex-Partial"] = "; ".join(
            f"{index}: only projects that were requested before" for index in answer.partial
        )[:1000]
    if answer.body is None:
        del headers["Content-Type"]
        return Reply(status=304, headers=headers, holding=holding)
    if answer.coding != "identity":
        headers["Content-Encoding"] = answer.coding
    return Reply(headers=headers, body=answer.body, holding=holding)


def not_acceptable(ask: Ask, news: NotAcceptable) -> Reply:
    """The answer to a request for a format that there is not."""
    return problem_reply(
        406,
        "Not acceptable",
        (f"this page is only available as {', '.join(news.supported)}",),
        "name one of these in Accept or ?format=",
        ask.accept,
        {"Vary": "Accept", "Cache-Control": "no-store"},
    )
