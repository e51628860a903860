"""Projects and versions as devpi's client sees them: `list`, `remove` and `test` begin with these documents.

An installer that asks here gets the project's simple page (see `installers`). A name that is not normalised is sent to the one
that is, by spelling only, whether or not there is such a project.
"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from pkgindex_core.services.versions import VersionsDocument
from pkgindex_http import simple
from pkgindex_http.devpi.envelope import spliced
from pkgindex_http.devpi.installers import VARY, for_installers, wants_simple_pages
from pkgindex_http.replies import Reply, redirect
from pkgindex_http.requests import Ask
from pkgindex_http.unasked import unasked_headers, unknown_message


async def project(ask: Ask) -> Reply | web.StreamResponse:
    """Every version of a project; with `?ignore_bases=` those of this index only."""
    if ask.values["project"] != ask.project:
        return _to_normalized(ask)
    if wants_simple_pages(ask):
        ask.envelope = False
        return for_installers(await simple.project_page(ask))
    result = await ask.engine.versions.project(
        ask.index,
        ask.project,
        principal=ask.principal,
        root=ask.server.origin.url(ask.request),
        alone=ask.query("ignore_bases") is not None,
    )
    return await _answered(ask, result, "projectconfig", {"Vary": VARY})


async def version(ask: Ask) -> Reply | web.StreamResponse:
    """One version of a project."""
    if ask.values["project"] != ask.project:
        return _to_normalized(ask)
    result = await ask.engine.versions.version(
        ask.index,
        ask.project,
        ask.values["version"],
        principal=ask.principal,
        root=ask.server.origin.url(ask.request),
    )
    return await _answered(ask, result, "versiondata", {})


async def _answered(
    ask: Ask, found: VersionsDocument, kind: str, headers: dict[str, str]
) -> Reply | web.StreamResponse:
    headers |= unasked_headers(found.stale, found.unknown)
    return await spliced(found.pieces, kind, ask.engine, headers, message=unknown_message(found.unknown))


def _to_normalized(ask: Ask) -> Reply:
    """The same path and query with the project's one spelling, relative to this one."""
    behind = ask.segments[3:]
    up = "../" * len(behind) or "./"
    path = "/".join([ask.project, *(quote(segment, safe="") for segment in behind)])
    query = ask.request.rel_url.raw_query_string
    return redirect(f"{up}{path}{f'?{query}' if query else ''}", status=302)
