"""Which network addresses an upstream's links may lead to.

A page may point its files at 127.0.0.1, at a cloud's metadata service or at a name that resolves there (server-side request forgery).
Two rules, checked when the socket is made, so that no spelling of an address and no second DNS answer gets around them:

* A host named by a page, by a redirect, or by the owner of an index other than root: only public addresses and the networks
  that the operator allowed.
  By a proxy, which resolves names itself, only hosts that are named by an address are checked.
* The host that the operator configured (the upstream of a mirror below `root`): any address. But a host that first resolved to
  a public address may not resolve to a private one later (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pkgindex_mirror.settings import Network

if TYPE_CHECKING:
    from aiohttp import AddrInfoType
    from aiohttp.abc import ResolveResult

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """A link leads into a network that is not allowed."""


class Resolver(Protocol):
    """Resolves hosts, as `AbstractResolver` of aiohttp does. This module does not load aiohttp, which a run without news does not need."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]: ...

    async def close(self) -> None: ...


def is_public(address: Address) -> bool:
    """Whether an address is public. Of an IPv6 address that stands for an IPv4 one, the IPv4 address counts."""
    inner = _embedded(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not address.is_multicast


def is_address(host: str) -> bool:
    """Whether a host is named by its address."""
    return _parse(host) is not None


class AddressGuard:
    """Checks the addresses of hosts that a stranger named, at the latest when the socket is made."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def permits(self, text: str) -> bool:
        address = _parse(text)
        if address is None:
            return False
        if is_public(address):
            return True
        plain = _embedded(address) or address
        return any(plain in network or address in network for network in self._allowed)

    def permits_unresolved(self, host: str) -> bool:
        """Whether a proxy, which resolves names itself, may be asked to connect to a host.

        Names are for the proxy to judge. Addresses are not, in any spelling that a resolver takes for one, such as `0x7f.1`.
        """
        if host.rstrip(".").rpartition(".")[2].lower() == "localhost":  # RFC 6761 6.3
            return self.permits("127.0.0.1")
        if _parse(host) is not None:
            return self.permits(host)
        try:
            return self.permits(socket.inet_ntoa(socket.inet_aton(host)))
        except (OSError, UnicodeError):
            return True

    async def permits_host(self, host: str, resolver: Resolver) -> bool:
        """Whether a host leads to permitted addresses only, as far as can be told without connecting."""
        if _parse(host) is not None:
            return self.permits(host)
        found = await resolver.resolve(host, 0, socket.AF_UNSPEC)
        return bool(found) and all(self.permits(result["host"]) for result in found)

    def open_socket(self, info: AddrInfoType) -> socket.socket:
        """The `socket_factory` of aiohttp. It gets the address that is connected to next."""
        family, kind, protocol, _, target = info
        if not self.permits(str(target[0])):
            raise AddressRefusedError(f"address {target[0]} is not public and not in allow_networks")
        return socket.socket(family=family, type=kind, proto=protocol)


class SystemResolver:
    """Resolves hosts as the system does, in a thread."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        flags = socket.AI_ADDRCONFIG
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=flags)
        return [
            {"hostname": host, "host": _written(target), "port": port, "family": kind, "proto": protocol, "flags": 0}
            for kind, _, protocol, _, target in found
        ]

    async def close(self) -> None:
        """Nothing is held open."""


class PinningResolver:
    """Resolves configured hosts, and refuses one that moves from public to private addresses while the program runs."""

    def __init__(self, inner: Resolver, guard: AddressGuard) -> None:
        self._inner = inner
        self._guard = guard
        self._first_public: dict[str, bool] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [result for result in found if self._guard.permits(result["host"])]
        if self._first_public.setdefault(host, bool(kept)) and found:
            if not kept:
                raise AddressRefusedError(f"{host} moved from a public to a private address")
            return kept
        return found

    async def close(self) -> None:
        await self._inner.close()


def _written(target: tuple[Any, ...]) -> str:
    """An address as text. One of IPv6 that is valid on one link only names the link."""
    if len(target) == 4 and target[3]:
        return socket.getnameinfo(target, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(target[0])


def _parse(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _embedded(address: Any) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for: mapped, 6to4, Teredo's client, NAT64."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
