"""The style sheet of the pages to work on. It is a file of its own, since the pages permit no style in them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from pkgindex_core.digests import sha256_of
from pkgindex_core.rules.stamping import matches
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, Reply

_SHEET: Final = Path(__file__).parents[1] / "html" / "working" / "working.css"


async def style(ask: Ask) -> Reply:
    """The style sheet."""
    body = await ask.engine.in_worker(partial(_SHEET.read_bytes))
    etag = f'"{sha256_of(body)[:32]}"'
    headers = {
        "Content-Type": "text/css; charset=utf-8",
        "Cache-Control": "public, max-age=600",
        "ETag": etag,
        **SECURITY_HEADERS,
    }
    if matches(ask.request.headers.get("If-None-Match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=body)
