"""`/{user}/{index}/+findlinks`: one page with all hosted files, for `pip install --no-index --find-links URL`."""

from __future__ import annotations

from pkgindex_http.requests import Ask
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import HTML, SECURITY_HEADERS, Reply
from pkgindex_http.wire.sending import StreamedResponse


async def page(ask: Ask) -> Reply | web.StreamResponse:
    """The page, from the cache or streamed while it is written."""
    flat = await ask.engine.findlinks.page(
        ask.index,
        principal=ask.principal,
        root=ask.root,
        if_none_match=ask.request.headers.get("If-None-Match"),
    )
    headers = {
        **SECURITY_HEADERS,
        "Content-Type": HTML,
        "ETag": flat.etag,
        "Cache-Control": f"{'public' if flat.public else 'private'}, max-age=0, must-revalidate",
    }
    if not flat.public:
        headers["Vary"] = "Authorization"
    if flat.body is None:
        del headers["Content-Type"]
        return Reply(status=304, headers=headers)
    if isinstance(flat.body, bytes):
        return Reply(headers=headers, body=flat.body)
    return StreamedResponse(Reply(headers=headers), flat.body, length=None)
