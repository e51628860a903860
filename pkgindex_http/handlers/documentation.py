"""Serves documentation: a page of a zip is the body of an answer. `sandbox` limits its scripts.

Links in documentation are relative, so the URL of the front page ends with a slash. Browsers fetch fonts and script modules
across origins, so pages that everybody may read have `Access-Control-Allow-Origin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pkgindex_core.rules.stamping import matches
from pkgindex_http.requests import Ask
from pkgindex_http.sandbox import REVISION, policy, with_storage
from pkgindex_http.wire import web
from pkgindex_http.wire.content_types import content_type
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply, redirect
from pkgindex_http.wire.sending import ONE_WRITE, StreamedResponse

if TYPE_CHECKING:
    from pkgindex_core.services.reading.documentation import DocumentationPage

CACHE_SECONDS: Final = 60
"""devpi's value. `latest` may lead to another version after that."""
_PREPARED_BYTES = 4 * 1024 * 1024


async def page(ask: Ask) -> Reply | web.StreamResponse:
    """A page of the documentation of a version, `latest` or `stable`."""
    from pkgindex_core.services.reading.documentation import Below  # loads what reads zips: with the first page

    found = await ask.engine.documentation.open(
        ask.index, ask.project, ask.values["version"], ask.values["path"], principal=ask.principal
    )
    if isinstance(found, Below):
        return await add_slash(ask)
    headers = _headers(ask, found)
    if matches(ask.request.headers.get("If-None-Match"), headers["ETag"]):
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    body = ask.engine.documentation.read(found)
    if not _is_prepared(found) and (found.size > ONE_WRITE or ask.request.method == "HEAD"):
        return StreamedResponse(Reply(headers=headers), body, length=found.size)
    whole = b"".join([piece async for piece in body])
    return Reply(headers=headers, body=with_storage(whole) if _is_prepared(found) else whole)


async def add_slash(ask: Ask) -> Reply:
    """Redirect to the same URL with a slash at the end, which relative links need."""
    return redirect(f"{quote(ask.segments[-1], safe='+')}/{ask.query_suffix}", status=302)


async def framed(ask: Ask) -> Reply:
    """Redirect devpi-web's URL of a framed page to the page itself."""
    rest = ask.segments[5:]
    place = "/".join(quote(segment) for segment in rest)
    return redirect(f"{'../' * len(rest)}+doc/{place}{ask.query_suffix}", status=302)


def _base(ask: Ask) -> str:
    """The URL that all pages of this documentation begin with, in the client's spelling."""
    return f"{ask.url}/{'/'.join(quote(each, safe='+') for each in ask.segments[:5])}/"


def _is_prepared(page: DocumentationPage) -> bool:
    """Whether the page gets a `localStorage`: HTML that is short enough to be held in memory."""
    return page.size <= _PREPARED_BYTES and content_type(page.path) == "text/html"


def _headers(ask: Ask, page: DocumentationPage) -> dict[str, str]:
    public = page.found.public
    # The digest of the zip also identifies each page in it.
    tag = page.found.attachment.sha256
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": content_type(page.path),
        "Content-Security-Policy": policy(_base(ask)),
        "ETag": f'"{tag}.{REVISION}"' if _is_prepared(page) else f'"{tag}"',
        "Cache-Control": f"{'public' if public else 'private'}, max-age={CACHE_SECONDS}",
    }
    if public:
        headers["Access-Control-Allow-Origin"] = "*"
    # The policy names the host of the request.
    headers["Vary"] = "Host" if public else "Host, Authorization"
    return headers
