"""Documentation over HTTP: pages of somebody else's making, on our host.

Whoever may upload documentation may put scripts into it, and they must not act as the person who reads it. So every page is
sandboxed into an origin of its own, which no cookie, password or page of this server belongs to. What pages need of each
other works: scripts, styles and images load as ever; fonts and modules, which are fetched across origins, are allowed to be
where everybody may read them. What pages made by Sphinx never need, to fetch from a script, is forbidden altogether.

Links in documentation are relative, so the front page's URL ends with a slash.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from aiohttp import web

from pkgindex_core.rules.stamping import matches
from pkgindex_core.services.documentation import Below, DocumentationPage
from pkgindex_http.content_types import content_type
from pkgindex_http.replies import SECURITY_HEADERS, Reply, redirect
from pkgindex_http.requests import Ask
from pkgindex_http.sending import ONE_WRITE, StreamedResponse

SANDBOX: Final = (
    "sandbox allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads allow-modals; "
    "connect-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""`allow-same-origin` is not among them: it would undo all of it. Forms are for the search field of a manual; what they send to a
changing URL is refused (see `server`)."""
CACHE_SECONDS: Final = 60
"""devpi's figure: `latest` may be something else in a minute."""


async def page(ask: Ask) -> Reply | web.StreamResponse:
    """A page of the documentation of a version, `latest` or `stable`."""
    found = await ask.engine.documentation.open(
        ask.index, ask.project, ask.values["version"], ask.values["path"], principal=ask.principal
    )
    if isinstance(found, Below):
        return await add_slash(ask)
    headers = _headers(found)
    if matches(ask.request.headers.get("If-None-Match"), headers["ETag"]):
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    reply = Reply(headers=headers)
    body = ask.engine.documentation.read(found)
    if found.size > ONE_WRITE or ask.request.method == "HEAD":
        return StreamedResponse(reply, body, length=found.size)
    return Reply(headers=headers, body=b"".join([piece async for piece in body]))


async def add_slash(ask: Ask) -> Reply:
    """To the same directory with a slash behind it, which relative links need."""
    return redirect(f"{quote(ask.segments[-1], safe='+')}/{_query(ask)}", status=302)


async def framed(ask: Ask) -> Reply:
    """devpi-web's URL for a page in a frame: to the page itself."""
    rest = ask.segments[5:]
    place = "/".join(quote(segment) for segment in rest)
    return redirect(f"{'../' * len(rest)}+doc/{place}{_query(ask)}", status=302)


def _query(ask: Ask) -> str:
    query = ask.request.rel_url.raw_query_string
    return f"?{query}" if query else ""


def _headers(page: DocumentationPage) -> dict[str, str]:
    public = page.found.public
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": content_type(page.path),
        "Content-Security-Policy": SANDBOX,
        # The zip's: it names every byte of every page in it.
        "ETag": f'"{page.found.attachment.sha256}"',
        "Cache-Control": f"{'public' if public else 'private'}, max-age={CACHE_SECONDS}",
    }
    if public:
        headers["Access-Control-Allow-Origin"] = "*"
    else:
        headers["Vary"] = "Authorization"
    return headers
