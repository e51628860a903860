"""The style sheet and the script of the pages for people. They are files of their own, since the pages permit neither in them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from pkgindex_core.digests import sha256_of
from pkgindex_core.rules.stamping import matches
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply

_HTML: Final = Path(__file__).parents[1] / "html"


async def style(ask: Ask) -> Reply:
    """The style sheet."""
    return await _asset(ask, _HTML / "working" / "working.css", "text/css; charset=utf-8")


async def search_script(ask: Ask) -> Reply:
    """The script of the page to search."""
    return await _asset(ask, _HTML / "pages" / "search.js", "text/javascript; charset=utf-8")


async def _asset(ask: Ask, path: Path, content_type: str) -> Reply:
    body = await ask.engine.in_worker(partial(path.read_bytes))
    etag = f'"{sha256_of(body)[:32]}"'
    headers = {
        "Content-Type": content_type,
        "Cache-Control": "public, max-age=600",
        "ETag": etag,
        **SECURITY_HEADERS,
    }
    if matches(ask.request.headers.get("If-None-Match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=body)
