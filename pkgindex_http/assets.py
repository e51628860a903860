"""The files that pages for people load, with URLs that name their bytes.

A page links to `+working.css?v=DIGEST`. Browsers keep such an answer for a year, since another file has another URL.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from pkgindex_core.digests import sha256_of

_HTML: Final = Path(__file__).parent / "html"
STYLE_SHEET: Final = _HTML / "working" / "working.css"
SEARCH_SCRIPT: Final = _HTML / "pages" / "search.js"
_PLACES: Final = {"+working.css": STYLE_SHEET, "+search.js": SEARCH_SCRIPT}


def version_of(body: bytes) -> str:
    """The name of these bytes in a URL."""
    return sha256_of(body)[:16]


@cache
def asset(name: str) -> str:
    """The URL of an asset, below the root of the server. Reads the file at the first call. Templates call it."""
    return f"{name}?v={version_of(_PLACES[name].read_bytes())}"
