"""URLs of other people's servers: what is shown of them, where credentials may go, what is never followed.

Pure. An upstream's page is input from a stranger: its links may carry passwords, odd schemes or control characters.
A URL that passed `cleaned` can be stored; one that passed `shown` can be logged.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import NewType
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

Origin = NewType("Origin", str)
"""`scheme://host:port`, the port always written out: what credentials are bound to."""

URL_LIMIT = 4096
RAW_LIMIT = 8000
"""Bytes of a link as it is written. A longer one is not looked at: here and in the standard library, parts of URLs are kept in caches."""
_PORTS = {"http": 80, "https": 443}
_CLEAN = re.compile(r"https?://[a-z0-9]+(?:[.-][a-z0-9]+)*/[!\"$->@-~]*")
"""What taking apart and joining again gives back as it was: plain host, no port, a path, no query, no fragment."""
PLAIN_MARKS = bytes(mark for mark in range(0x21, 0x7F) if mark not in b"#?")
"""Of these such a path consists."""


_BESIDE_OTHERS = re.compile(r"((?:[^?#]*/(?<!//))?)(?!\.{1,2}\Z)([A-Za-z0-9_.+~=,@!-]+)")
"""A plain last segment behind a directory that other links of the page have too."""


def cleaned(url: str, base: str = "") -> str | None:
    """An absolute http(s) URL without userinfo and fragment; None when this is not something to fetch."""
    if len(url) <= URL_LIMIT and _CLEAN.fullmatch(url):
        return url  # nearly every link of a large page; taking it apart costs ten times as much
    if _is_too_long(url):
        return None
    if base and (parts := _BESIDE_OTHERS.fullmatch(url)):
        directory = _directory(parts[1] or "./", base)
        joined = f"{directory}{parts[2]}" if directory is not None else ""
        return joined if 0 < len(joined) <= URL_LIMIT else None
    return _cleaned(url, base)


def plain_start(url: str) -> str:
    """What a URL may begin with that is `cleaned` already, if `PLAIN_MARKS` follow: scheme, plain host, and a slash. Else empty."""
    start = url[: url.find("/", len("https://")) + 1]
    return start if _CLEAN.fullmatch(start) else ""


@lru_cache(maxsize=1024)
def _directory(url: str, base: str) -> str | None:
    return _cleaned(url, base)


def _cleaned(url: str, base: str) -> str | None:
    url = url.strip().replace(" ", "%20")
    if not _is_plain(url):
        return None  # judged before urljoin, which drops tabs and newlines silently
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
    r"""The link that a browser takes an attribute for (WHATWG URL 4.4): no tabs and line breaks, `\\` before a query is `/`."""
    path, mark, rest = re.sub(r"[\t\n\r]", "", href.strip()).partition("?")
    return path.replace("\\", "/") + mark + rest


def problem(url: str, base: str = "") -> str:
    """Why a URL is not `cleaned`."""
    if _is_too_long(url):
        return f"its URL is longer than {RAW_LIMIT} bytes"
    if not _is_plain(url.strip().replace(" ", "%20")):
        return "its URL has characters that no URL has"
    try:
        joined = urljoin(base, url.strip())
        scheme = urlsplit(joined).scheme
    except ValueError:
        return "its URL cannot be read"
    if scheme not in _PORTS:
        return f"its URL is no http(s) URL, but {scheme[:20]}:" if scheme else "its URL is no http(s) URL"
    if len(joined) > URL_LIMIT:
        return f"its URL is longer than {URL_LIMIT} characters"
    return "its URL has no host or port that can be asked"


@lru_cache(maxsize=1024)
def origin(url: str) -> Origin:
    """Where a cleaned URL goes."""
    parts = urlsplit(url)
    return Origin(f"{parts.scheme}://{parts.hostname or ''}:{parts.port or _PORTS.get(parts.scheme, 0)}")


def host(url: str) -> str:
    """The host of a cleaned URL, lower case, without brackets."""
    return (urlsplit(url).hostname or "").lower()


def shown(url: str) -> str:
    """How logs and errors write a URL: no userinfo, and no query, which may carry a signature."""
    parts = _split(url)
    if parts is None:
        return "(a URL that cannot be read)"
    return urlunsplit((parts.scheme, _host_and_port(parts), parts.path, "", ""))


def last_segment(url: str) -> str:
    """The file's name as the URL's path ends, decoded once."""
    path = url.partition("?")[0].partition("#")[0]
    return unquote(path.rpartition("/")[2])


def with_slash(url: str) -> str:
    """An upstream's base URL, with the slash that relative links need (RFC 3986 5.2.3)."""
    return url if url.endswith("/") else url + "/"


def with_suffix(url: str, suffix: str) -> str:
    """The URL of a file's companion: PEP 658 appends to the path; a query stays behind it (as uv asks)."""
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
    """No control characters and no blanks of any kind."""
    return " " not in url and url.isprintable()
