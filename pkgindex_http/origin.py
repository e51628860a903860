"""How this server is reached from outside: configured, or told by a proxy that is trusted to tell.

Pages and redirects are relative and never need it; only texts for people and a few absolute links do. A raw `Host` header is
believed for those texts alone and never ends up in anything cached or stored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from pkgindex_core.errors import Refused

_HOST = re.compile(r"\A[A-Za-z0-9.-]{1,253}(?::\d{1,5})?\Z|\A\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?\Z")
_PREFIX = re.compile(r"\A(?:/[A-Za-z0-9._~@:+-]+)*/?\Z")


class Origin:
    """Tells the outside URL and the real client address of a request."""

    def __init__(self, *, outside_url: str, trusted_proxies: Sequence[str]) -> None:
        self._outside_url = outside_url.rstrip("/")
        try:
            self._trusted = tuple(ipaddress.ip_network(each, strict=False) for each in trusted_proxies)
        except ValueError as error:
            raise Refused(
                f"trusted_proxies: {error}", hint="write addresses or networks, for example 10.0.0.0/8"
            ) from error

    def url(self, request: web.BaseRequest) -> str:
        """The URL of the server's root, without a slash at the end."""
        if self._outside_url:
            return self._outside_url
        scheme, host, prefix = request.scheme, request.headers.get("Host", ""), ""
        if self.is_trusted(request):
            scheme = _nearest(request, "X-Forwarded-Proto") or scheme
            host = _nearest(request, "X-Forwarded-Host") or host
            prefix = _nearest(request, "X-Forwarded-Prefix")
        if scheme not in {"http", "https"} or not _HOST.match(host):
            return "http://localhost"
        return f"{scheme}://{host}{prefix.rstrip('/') if _PREFIX.match(prefix) else ''}"

    def is_foreign(self, request: web.BaseRequest) -> bool:
        """Whether a browser says that it sends this for a page that is not of this server: another site's, or a sandboxed one.

        Programs send no `Origin`, browsers send one with everything that could change anything. Schemes are not compared: behind a
        proxy that nobody configured ours is the wrong one.
        """
        origin = request.headers.get("Origin")
        if origin is None:
            return False
        host = origin.partition("://")[2].lower()
        ours = {request.headers.get("Host", ""), urlsplit(self._outside_url).netloc}
        if self.is_trusted(request):
            ours.add(_nearest(request, "X-Forwarded-Host"))
        return not host or host not in {each.lower() for each in ours}

    def client(self, request: web.BaseRequest) -> str:
        """The address that a request comes from: the last hop that no trusted proxy vouches for."""
        peer = request.remote or ""
        if not self._trusted or not self.is_trusted(request):
            return peer
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", [])).split(",")):
            address = _address(hop.strip())
            if address is None:
                break
            peer = str(address)
            if not any(address in network for network in self._trusted):
                break
        return peer

    def is_trusted(self, request: web.BaseRequest) -> bool:
        """Whether the peer itself, not what it forwards for, is a proxy that is believed."""
        address = _address(request.remote or "")
        return address is not None and any(address in network for network in self._trusted)


def _nearest(request: web.BaseRequest, name: str) -> str:
    """The value that the nearest proxy added: the last one of the last line. What stands before came from the client."""
    return ",".join(request.headers.getall(name, [])).rpartition(",")[2].strip()


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
