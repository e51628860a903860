"""URLs with credentials in them. They are split where they enter, and never stored or shown whole."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

from pkgindex_core.errors import Refused

_PORTS = {"http": 80, "https": 443}
_USERINFO = re.compile(r"(://)\S*@")


def without_credentials(url: str) -> tuple[str, str]:
    """Split `https://user:password@host/…` into the URL without credentials and `user:password` (decoded; "" when there is none)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Refused(f"this is not a URL: {error}") from error
    if not host:
        raise Refused("the URL names no host", hint="write it as https://host/path/")
    if parts.username is None and parts.password is None:
        return url, ""
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment)), credentials


def same_server(one: str, other: str) -> bool:
    """Whether two URLs have the same server and protocol, so that credentials for one may be sent to the other."""
    try:
        first, second = urlsplit(one), urlsplit(other)
        ports = tuple(parts.port or _PORTS.get(parts.scheme) for parts in (first, second))
    except ValueError:
        return False
    return (first.scheme, first.hostname) == (second.scheme, second.hostname) and ports[0] == ports[1]


def masked(text: str) -> str:
    """Replace the credentials of every URL in a text with `***`."""
    return _USERINFO.sub(r"\1***@", text)
