"""A client for URLs that users of this server name: targets of pushes, and receivers of notices.

It connects only to public addresses and to networks that the operator allowed, checked at the socket (`addresses`). It keeps no
connection and no cookie, and uses no proxy of the environment. Its callers follow no redirects.
"""

from __future__ import annotations

import ssl

import aiohttp

from pkgindex_mirror.settings import MirrorSettings, parse_networks
from pkgindex_mirror.upstreams.addresses import AddressGuard
from pkgindex_mirror.upstreams.connections import user_agent


def guarded_session(settings: MirrorSettings) -> aiohttp.ClientSession:
    """Open the client, in a running event loop. The caller closes it."""
    guard = AddressGuard(parse_networks(settings.allow_networks))
    tls: ssl.SSLContext | bool = True
    if settings.ca_file:
        tls = ssl.create_default_context(cafile=settings.ca_file)
    connector = aiohttp.TCPConnector(limit=0, ssl=tls, force_close=True, socket_factory=guard.open_socket)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": settings.user_agent or user_agent()},
        trust_env=False,
    )
