"""SOCKS proxies, by the optional package aiohttp-socks.

The proxy resolves the names of hosts, as for bandersnatch: behind such a proxy there is often no other way to resolve them.
A socks4 proxy has to take names for that (SOCKS4a).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pkgindex_core.errors import Refused

if TYPE_CHECKING:
    import aiohttp

SCHEMES: Final = ("socks4", "socks5")


def is_socks(proxy: str) -> bool:
    """Whether the URL of a proxy is one of a SOCKS proxy."""
    return urlsplit(proxy).scheme.lower() in SCHEMES


def require_socks() -> None:
    """Raise `Refused` if the package that speaks SOCKS is not installed."""
    try:
        import aiohttp_socks  # noqa: F401 - loads aiohttp, so it is imported at its first use
    except ImportError as error:
        raise Refused(
            "the proxy is a SOCKS proxy, and the package aiohttp-socks is not installed",
            hint="install the extra `socks`: pip install 'pkgindex[socks]'; or name an http proxy",
        ) from error


def socks_connector(proxy: str, tls: ssl.SSLContext | bool) -> aiohttp.BaseConnector:
    """A pool of connections by a SOCKS proxy. Called inside the loop."""
    require_socks()
    from aiohttp_socks import ProxyConnector

    connector: aiohttp.BaseConnector = ProxyConnector.from_url(proxy, rdns=True, limit=0, ssl=tls)
    return connector


def socks_errors() -> tuple[type[Exception], ...]:
    """The exceptions of a request whose proxy is down, refuses, or could not connect."""
    require_socks()
    from aiohttp_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError

    return ProxyError, ProxyConnectionError, ProxyTimeoutError
