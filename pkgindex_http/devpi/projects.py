"""Documents of projects and versions for devpi's client: `list`, `remove` and `test` begin with them.

Installers get the project's simple page instead (see `installers`). A name that is not normalised is redirected to its normalised
form, whether the project exists or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec.structs import replace

from pkgindex_http.devpi.envelope import document, options_given, spliced
from pkgindex_http.devpi.installers import VARY
from pkgindex_http.devpi.result_versions import of_devpi_7
from pkgindex_http.requests import Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import Reply, redirect
from pkgindex_http.wire.unasked import unasked_headers, unknown_message

if TYPE_CHECKING:
    from pkgindex_core.services.reading.versions import VersionsDocument


async def project(ask: Ask) -> Reply | web.StreamResponse:
    """All versions of a project; with `?ignore_bases=` only those of this index, with `?v=2` in devpi 7's form."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    form = of_devpi_7(ask)
    result = await ask.engine.versions.project(
        ask.index,
        ask.project,
        principal=ask.principal,
        root=ask.url,
        alone=ask.query("ignore_bases") is not None,
    )
    if form:
        pieces = await ask.engine.project_options.document(
            ask.index, ask.project, result.pieces, principal=ask.principal
        )
        result = replace(result, pieces=pieces)
    return await _answered(ask, result, "projectconfig_v2" if form else "projectconfig", {"Vary": VARY})


async def modify(ask: Ask) -> Reply:
    """Change the options of a project, as in devpi 7: an object, or a list of changes as for an index."""
    result = await ask.engine.project_options.modify(
        ask.index,
        ask.project,
        await options_given(ask.request, "projectconfig"),
        principal=ask.principal,
        must_change=ask.query("error_on_noop") is not None,
    )
    return document(result, "projectconfig")


async def version(ask: Ask) -> Reply | web.StreamResponse:
    """One version of a project."""
    if ask.values["project"] != ask.project:
        return to_normalized(ask)
    result = await ask.engine.versions.version(
        ask.index,
        ask.project,
        ask.values["version"],
        principal=ask.principal,
        root=ask.url,
    )
    return await _answered(ask, result, "versiondata", {})


async def _answered(
    ask: Ask, found: VersionsDocument, kind: str, headers: dict[str, str]
) -> Reply | web.StreamResponse:
    headers |= unasked_headers(found.stale, found.unknown)
    return await spliced(found.pieces, kind, ask.engine, headers, message=unknown_message(found.unknown))


def to_normalized(ask: Ask) -> Reply:
    """A relative redirect to the same path and query with the normalised name of the project."""
    behind = ask.segments[3:]
    up = "../" * len(behind) or "./"
    path = "/".join([ask.project, *(quote(segment, safe="") for segment in behind)])
    return redirect(f"{up}{path}{ask.query_suffix}", status=302)
