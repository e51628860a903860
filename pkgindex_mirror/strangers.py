"""A client for URLs that users of this server name: where to push, whom to tell of an upload.

Such a URL may lead to public addresses and to the networks that the operator allowed, judged at the socket (`addresses`). No connection
is kept, no cookie, and no proxy of the environment is used; whoever sends follows no redirect.
"""

from __future__ import annotations

import ssl

import aiohttp

from pkgindex_mirror.addresses import AddressGuard, parse_networks
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstream import user_agent


def guarded_session(settings: MirrorSettings) -> aiohttp.ClientSession:
    """Open the client. To be made within a running loop, and closed by its owner."""
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
