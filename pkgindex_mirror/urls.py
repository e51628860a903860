"""Cleaning, joining and showing URLs of other servers.

Pure. The links of an upstream's page may have passwords, odd schemes or control characters. The result of `cleaned` can be stored, the
result of `shown` can be logged.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import NewType
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

Origin = NewType("Origin", str)
"""`scheme://host:port`, always with the port. Credentials are bound to an origin."""

URL_LIMIT = 4096
RAW_LIMIT = 8000
"""Largest link in bytes, as written on a page. Longer ones are refused before they fill the caches here and in the standard library."""
_PORTS = {"http": 80, "https": 443}
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}|5(?:[0-2][0-9]|3[0-5])))"
"""1 to 65535."""
_CLEAN = re.compile(rf"https?://[a-z0-9]+(?:[.-][a-z0-9]+)*(?::(?:{_PORT}))?/[!\"$->@-~]*")
"""URLs that cleaning would not change: plain host, no port or a valid one, a path, no query, no fragment."""
PLAIN_MARKS = bytes(mark for mark in range(0x21, 0x7F) if mark not in b"#?")
"""The characters of the path of such a URL."""


_BESIDE_OTHERS = re.compile(r"((?:[^?#]*/(?<!//))?)(?!\.{1,2}\Z)([A-Za-z0-9_.+~=,@!-]+)")
"""A directory and a plain last segment. The directory is cleaned once for all links of a page that have it."""


def cleaned(url: str, base: str = "") -> str | None:
    """An absolute http(s) URL without userinfo and fragment; None when the URL cannot be fetched."""
    if len(url) <= URL_LIMIT and _CLEAN.fullmatch(url):
        return url  # the usual link; splitting and joining it takes ten times as long
    if _is_too_long(url):
        return None
    if base and (parts := _BESIDE_OTHERS.fullmatch(url)):
        directory = _directory(parts[1] or "./", base)
        joined = f"{directory}{parts[2]}" if directory is not None else ""
        return joined if 0 < len(joined) <= URL_LIMIT else None
    return _cleaned(url, base)


def plain_start(url: str) -> str:
    """Scheme, plain host, port and slash of a URL. Followed by `PLAIN_MARKS` only, it is `cleaned` already. Empty if the host is not plain."""
    start = url[: url.find("/", len("https://")) + 1]
    return start if _CLEAN.fullmatch(start) else ""


@lru_cache(maxsize=1024)
def _directory(url: str, base: str) -> str | None:
    return _cleaned(url, base)


def _cleaned(url: str, base: str) -> str | None:
    url = url.strip().replace(" ", "%20")
    if not _is_plain(url):
        return None  # checked before urljoin, which drops tabs and newlines silently
    if base and not url.startswith(("https://", "http://")):
        try:
            url = urljoin(base, url)
        except ValueError:
            return None
    parts = _split(url)
    if parts is None:
        return None
    return urlunsplit((parts.scheme, _host_and_port(parts), parts.path or "/", parts.query, ""))


def as_browsers_read(href: str) -> str:
    r"""The link as a browser reads the attribute (WHATWG URL 4.4): without tabs and line breaks, and with `/` for `\\` in the path."""
    path, mark, rest = re.sub(r"[\t\n\r]", "", href.strip()).partition("?")
    return path.replace("\\", "/") + mark + rest


def problem(url: str, base: str = "") -> str:
    """Why `cleaned` gives None for a URL."""
    if _is_too_long(url):
        return f"its URL is longer than {RAW_LIMIT} bytes"
    if not _is_plain(url.strip().replace(" ", "%20")):
        return "its URL has control characters or blanks"
    try:
        joined = urljoin(base, url.strip())
        scheme = urlsplit(joined).scheme
    except ValueError:
        return "its URL cannot be read"
    if scheme not in _PORTS:
        return f"its URL is no http(s) URL, but {scheme[:20]}:" if scheme else "its URL is no http(s) URL"
    if len(joined) > URL_LIMIT:
        return f"its URL is longer than {URL_LIMIT} characters"
    return "its URL has no valid host or port"


def origin(url: str) -> Origin:
    """The origin of a cleaned URL."""
    return _place(_root(url))[0]


def host(url: str) -> str:
    """The host of a cleaned URL, lower case, without brackets."""
    return _place(_root(url))[1]


def _root(url: str) -> str:
    """A URL up to its path, the key of a cache: many URLs have the same root."""
    return "/".join(url.split("/", 3)[:3])


@lru_cache(maxsize=1024)
def _place(root: str) -> tuple[Origin, str]:
    parts = urlsplit(root)
    host = parts.hostname or ""
    return Origin(f"{parts.scheme}://{host}:{parts.port or _PORTS.get(parts.scheme, 0)}"), host.lower()


def shown(url: str) -> str:
    """A URL for logs and errors: without userinfo, and without the query, which may contain a signature."""
    parts = _split(url)
    if parts is None:
        return "(a URL that cannot be read)"
    return urlunsplit((parts.scheme, _host_and_port(parts), parts.path, "", ""))


def last_segment(url: str) -> str:
    """The last segment of the URL's path, with percent-encoding decoded once."""
    path = url.partition("?")[0].partition("#")[0]
    return unquote(path.rpartition("/")[2])


def with_slash(url: str) -> str:
    """The URL with a slash at its end, so that relative links start below it (RFC 3986 5.2.3)."""
    return url if url.endswith("/") else url + "/"


def with_suffix(url: str, suffix: str) -> str:
    """The URL of a sidecar: the suffix is appended to the path (PEP 658), before a query (as in uv)."""
    path, mark, query = url.partition("?")
    return f"{path}{suffix}{mark}{query}"


def basic(credentials: str) -> str:
    """The Authorization header for `user:password`."""
    return "Basic " + base64.b64encode(credentials.encode()).decode("ascii")


def _split(url: str) -> SplitResult | None:
    if len(url) > URL_LIMIT or _is_too_long(url) or not _is_plain(url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        return None
    return parts


def _is_too_long(url: str) -> bool:
    return len(url) > RAW_LIMIT or (not url.isascii() and len(url.encode("utf-8", "replace")) > RAW_LIMIT)


def _host_and_port(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _is_plain(url: str) -> bool:
    """Whether a URL has no control characters and no blanks of any kind."""
    return " " not in url and url.isprintable()
