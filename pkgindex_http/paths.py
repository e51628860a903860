"""The one reading of a request path: raw bytes to decoded segments, once, or a refusal.

Percent-escapes are decoded exactly once. A segment that would mean something else to a file system or to another parser
(`.`, `..`, a slash, backslash or NUL in disguise, bytes that are not UTF-8) matches no route. No segment is ever used in a
file path; this only makes sure that every thing has one URL. Slashes too many at the beginning are one slash, as devpi reads them:
clients that join a URL ending in a slash with a path send two.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

PATH_LIMIT = 4096
"""Bytes; longer paths match nothing."""
_WHOLE_URL = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
"""Up to the end of the authority (RFC 3986 3.2): "terminated by the next slash, question mark, or number sign"."""


def split_path(raw: str) -> tuple[str, ...] | None:
    """Decode a raw path into segments; None when no URL of ours could be spelled so.

    >>> split_path("/team/dev/+simple/numpy/")
    ('team', 'dev', '+simple', 'numpy', '')
    >>> split_path("//team/dev")
    ('team', 'dev')
    >>> split_path("/team/%2e%2e/x") is None
    True
    """
    if not raw.startswith("/") or len(raw) > PATH_LIMIT:
        return None
    segments = raw.lstrip("/").split("/")
    if "%" in raw:
        decoded = []
        for segment in segments:
            text = _decode(segment) if "%" in segment else segment
            if text is None:
                return None
            decoded.append(text)
        segments = decoded
    for position, segment in enumerate(segments):
        if segment in {".", ".."} or (not segment and position != len(segments) - 1):
            return None
        if not segment.isprintable() or "\\" in segment or "/" in segment:
            return None
    return tuple(segments)


def origin_form(target: str) -> str:
    """The path and query of a request target. A whole URL is allowed too (RFC 9112 3.2.2); its authority counts for nothing.

    >>> origin_form("http://user:password@host/simple/?x")
    '/simple/?x'
    >>> origin_form("http://host?x=/simple/")
    '/?x=/simple/'
    """
    whole = _WHOLE_URL.match(target)
    if whole is None:
        return target
    behind = target[whole.end() :]
    return behind if behind.startswith("/") else f"/{behind}"


def _decode(segment: str) -> str | None:
    try:
        return unquote_to_bytes(segment).decode("utf-8", "strict")
    except UnicodeError:  # also what was not UTF-8 on the wire and came in as lone surrogates
        return None
