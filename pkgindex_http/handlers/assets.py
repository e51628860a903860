"""The style sheet and the script of the pages for people, which are files of their own since the pages permit neither in them; and `/robots.txt`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pkgindex_core.errors import Unavailable
from pkgindex_core.rules.stamping import matches
from pkgindex_http.assets import SEARCH_SCRIPT, STYLE_SHEET, version_of
from pkgindex_http.requests import Ask
from pkgindex_http.wire.replies import SECURITY_HEADERS, TEXT, Reply

_STAY_AWAY: Final = b"User-agent: *\nDisallow: /\n"
_YEAR: Final = "public, max-age=31536000, immutable"


async def style(ask: Ask) -> Reply:
    """The style sheet."""
    return await _asset(ask, STYLE_SHEET, "text/css; charset=utf-8")


async def search_script(ask: Ask) -> Reply:
    """The script of the page to search."""
    return await _asset(ask, SEARCH_SCRIPT, "text/javascript; charset=utf-8")


async def robots(ask: Ask) -> Reply:
    """The file of the option `robots_txt`, for crawlers (RFC 9309). Without one they are asked to stay away."""
    path = ask.settings.robots_txt
    try:
        body = await ask.engine.in_worker(Path(path).read_bytes) if path else _STAY_AWAY
    except OSError as error:
        raise Unavailable("the file of the option robots_txt cannot be read") from error
    return Reply(headers={"Content-Type": TEXT, "Cache-Control": "public, max-age=3600", **SECURITY_HEADERS}, body=body)


async def _asset(ask: Ask, path: Path, content_type: str) -> Reply:
    body = await ask.engine.in_worker(path.read_bytes)
    version = version_of(body)
    etag = f'"{version}"'
    headers = {
        "Content-Type": content_type,
        # A page that was made by another version of the server may ask for bytes that this one does not have.
        "Cache-Control": _YEAR if ask.query("v") == version else "public, max-age=600",
        "ETag": etag,
        **SECURITY_HEADERS,
    }
    if matches(ask.request.headers.get("If-None-Match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(headers=headers, body=body)
