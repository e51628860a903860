"""Documentation over HTTP: a page of a zip as an answer. What its scripts may do is the business of `sandbox`.

Links in documentation are relative, so the front page's URL ends with a slash. Fonts and script modules, which browsers fetch
across origins, are allowed to be where everybody may read them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web

from pkgindex_core.rules.stamping import matches
from pkgindex_core.services.reading.documentation import Below, DocumentationPage
from pkgindex_http.content_types import content_type
from pkgindex_http.replies import SECURITY_HEADERS, Reply, redirect
from pkgindex_http.requests import Ask
from pkgindex_http.sandbox import REVISION, policy, with_storage
from pkgindex_http.sending import ONE_WRITE, StreamedResponse

CACHE_SECONDS: Final = 60
"""devpi's figure: `latest` may be something else in a minute."""
_PREPARED_BYTES = 4 * 1024 * 1024


async def page(ask: Ask) -> Reply | web.StreamResponse:
    """A page of the documentation of a version, `latest` or `stable`."""
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
    """To the same directory with a slash behind it, which relative links need."""
    return redirect(f"{quote(ask.segments[-1], safe='+')}/{ask.query_suffix}", status=302)


async def framed(ask: Ask) -> Reply:
    """devpi-web's URL for a page in a frame: to the page itself."""
    rest = ask.segments[5:]
    place = "/".join(quote(segment) for segment in rest)
    return redirect(f"{'../' * len(rest)}+doc/{place}{ask.query_suffix}", status=302)


def _base(ask: Ask) -> str:
    """The URL that every page of this documentation begins with, as the client spells it."""
    return f"{ask.url}/{'/'.join(quote(each, safe='+') for each in ask.segments[:5])}/"


def _is_prepared(page: DocumentationPage) -> bool:
    """Whether it is HTML, and not too long to be held whole. What is longer is sent as it is."""
    return page.size <= _PREPARED_BYTES and content_type(page.path) == "text/html"


def _headers(ask: Ask, page: DocumentationPage) -> dict[str, str]:
    public = page.found.public
    # The zip's: it names every byte of every page in it.
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
    # The policy names the host by which the client has come.
    headers["Vary"] = "Host" if public else "Host, Authorization"
    return headers
