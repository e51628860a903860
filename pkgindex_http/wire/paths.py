"""Parses a request path: raw bytes to decoded segments. The only place that does.

Percent-escapes are decoded once. A path with a segment that another parser or a file system could read differently (`.`, `..`,
an escaped slash, backslash or NUL, bytes that are not UTF-8) matches no route. No segment becomes part of a file path; the
rule makes sure that every resource has one URL. Several slashes at the beginning count as one, as in devpi, because clients
that join a URL with a final slash and a path send two.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

PATH_LIMIT = 4096
"""The most bytes of a path. A longer one matches no route."""
_WHOLE_URL = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
"""Up to the end of the authority (RFC 3986 3.2): "terminated by the next slash, question mark, or number sign"."""


def split_path(raw: str) -> tuple[str, ...] | None:
    """Decode a raw path into segments. None for a path that matches no route by its form.

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
    """The path and query of a request target, which may be a whole URL (RFC 9112 3.2.2). Its authority is ignored.

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
    except UnicodeError:  # raised also for raw bytes that are not UTF-8, which arrive as lone surrogates
        return None
