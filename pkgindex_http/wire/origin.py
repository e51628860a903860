"""The outside URL of the server and the client of a request, from the settings or from a trusted proxy.

Pages and redirects are relative and do not need the URL. Texts for people and a few absolute links do. A raw `Host` header
is used for those only, and never for anything that is cached or stored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from pkgindex_core.errors import Refused
from pkgindex_http.wire import web

_HOST = re.compile(r"\A[A-Za-z0-9.-]{1,253}(?::\d{1,5})?\Z|\A\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?\Z")
_PREFIX = re.compile(r"\A(?:/[A-Za-z0-9._~@:+-]+)*/?\Z")


class OriginReader:
    """Reads the outside URL, the client address and the browser origin of a request."""

    def __init__(self, *, outside_url: str, trusted_proxies: Sequence[str], mount: str = "") -> None:
        self._outside_url = outside_url.rstrip("/")
        self._mount = mount
        try:
            self._trusted = tuple(map(_network, trusted_proxies))
        except ValueError as error:
            raise Refused(
                f"trusted_proxies: {error}", hint="write addresses or networks, for example 10.0.0.0/8"
            ) from error

    @property
    def trusts_proxies(self) -> bool:
        """Whether headers of some peers count. Otherwise all peers are equal."""
        return bool(self._trusted)

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
        return f"{scheme}://{host}{prefix.rstrip('/') if _PREFIX.match(prefix) else ''}{self._mount}"

    def is_foreign(self, request: web.BaseRequest) -> bool:
        """Whether a browser sends this for a page of another site, or for a sandboxed page.

        Browsers send `Origin` with every request that can change something; other clients send none. Schemes are not compared,
        because the server's own scheme is wrong behind a proxy without `outside_url`.
        """
        origin = request.headers.get("Origin")
        if origin is None:
            return False
        host = origin.partition("://")[2].lower()
        ours = {request.headers.get("Host", ""), urlsplit(self._outside_url).netloc}
        if self.is_trusted(request):
            ours.add(_nearest(request, "X-Forwarded-Host"))
        elif self._may_be_rebound(request):
            return True
        return not host or host not in {each.lower() for each in ours}

    def _may_be_rebound(self, request: web.BaseRequest) -> bool:
        """Whether the name in `Host` may have been pointed at this machine by a stranger (DNS rebinding).

        A page of the stranger then has the same origin as this server, so its requests look like those of this server's pages. Over loopback a
        browser uses a name of this machine, or comes through a proxy on it, which has the name of `outside_url`.
        """
        local = request.transport.get_extra_info("sockname") if request.transport is not None else None
        address = _address(str(local[0])) if isinstance(local, tuple) else None
        if address is None or not address.is_loopback:
            return False
        host = request.headers.get("Host", "").lower()
        if not _HOST.match(host):
            return True
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        known = {"localhost", urlsplit(self._outside_url).hostname}
        return name not in known and not name.endswith(".localhost") and _address(name) is None

    def client(self, request: web.BaseRequest) -> str:
        """The address of the client: the last hop that is not a trusted proxy."""
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
        """Whether the peer of the connection is a trusted proxy."""
        address = _address(request.remote or "")
        return address is not None and any(address in network for network in self._trusted)


def _nearest(request: web.BaseRequest, name: str) -> str:
    """The value that the nearest proxy added: the last one of the last line. Earlier values may come from the client."""
    return ",".join(request.headers.getall(name, [])).rpartition(",")[2].strip()


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A network, or that of an address. One of mapped addresses is an IPv4 network, as its addresses are IPv4 addresses here."""
    network = ipaddress.ip_network(text, strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address. An IPv4 client of a socket for both families, as systemd opens for a port, has its own one and not the mapped one."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
