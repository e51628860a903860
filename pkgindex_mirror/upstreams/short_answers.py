"""Pages and sidecars over connections of our own, which cost half of the CPU time of aiohttp.

    question ─► own connection ─► an answer of plain form, whole or cut off ─► `ShortAnswer`, which is judged as any other answer
                              ├─► silence ─► `TimeoutError`
                              └─► anything else ─► None: aiohttp asks, and tells what is wrong

An origin that could not be connected to, or whose answer was not plain, is left to aiohttp for a while: it tries all addresses of a host side
by side, and knows all of HTTP. The same addresses are permitted as there (`connections`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from multidict import CIMultiDict

from pkgindex_mirror import urls
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.upstreams.addresses import AddressGuard, Resolver
from pkgindex_mirror.upstreams.lean_connections import ConnectionPool, LeanReply, NotPlainError

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST: Final = 16 << 20
"""Most bytes of an answer as it comes. It is held in memory whole."""
_CONNECT_SECONDS: Final = 2.0
_RESOLVED_SECONDS: Final = 10.0
"""How long the addresses of a host count, as in aiohttp."""
_LEFT_SECONDS: Final = 300.0
_ORIGINS: Final = 64
_LONGEST_URL: Final = 4096


class _WholeBody:
    """The body of an answer, as a stream that has come, or that ends with an error."""

    def __init__(self, body: bytes, error: Exception | None) -> None:
        self._body = body
        self._error = error

    async def read(self, size: int, /) -> bytes:  # noqa: ARG002 - as that of a stream
        """All of it, and then nothing."""
        if self._error is not None:
            raise self._error
        body, self._body = self._body, b""
        return body

    def at_eof(self) -> bool:
        return True


class ShortAnswer:
    """An answer, with the names that aiohttp gives to its parts."""

    def __init__(self, url: str, reply: LeanReply, error: Exception | None = None) -> None:
        """`error`: why the body did not come whole."""
        self.url = url
        self.status = reply.status
        self.headers: Mapping[str, str] = CIMultiDict(reply.headers)
        length = reply.headers.get("content-length")
        self.content_length = int(length) if length is not None else None
        self.content = _WholeBody(reply.body, error)

    def release(self) -> None:
        """Do nothing: the connection is free already."""

    def close(self) -> None:
        """Do nothing, as above."""


class ShortAnswers:
    """The connections of one client to all origins."""

    def __init__(
        self, settings: MirrorSettings, guard: AddressGuard, *, tls: Callable[[], ssl.SSLContext], agent: str
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._tls = tls
        self._fixed = f"User-Agent: {agent}\r\n"
        self._pools: dict[tuple[urls.Origin, bool], ConnectionPool] = {}
        self._left: dict[urls.Origin, float] = {}
        """The origins that are left to aiohttp, each with the time of the loop until which."""

    async def ask(
        self, url: str, headers: Mapping[str, str], *, is_home: bool, resolver: Resolver
    ) -> ShortAnswer | None:
        """Ask once. None: this is not for these connections. `is_home`: the host is one that the operator configured, so any address is permitted
        that `resolver` gives. Raises `TimeoutError`.
        """
        origin, now = urls.origin(url), asyncio.get_running_loop().time()
        if self._left.get(origin, 0.0) > now or not url.isascii() or url.count("/") < 3:
            return None
        pool = self._pool(origin, url, is_home=is_home, resolver=resolver)
        if pool is None:
            return None
        _, _, place, path = url.split("/", 3)
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        request = f"GET /{path} HTTP/1.1\r\nHost: {place}\r\n{self._fixed}{fields}\r\n".encode("latin-1")
        try:
            reply = await pool.ask(
                request,
                limit=LONGEST,
                silence=self._settings.read_timeout,
                connect_timeout=min(self._settings.connect_timeout, _CONNECT_SECONDS),
            )
        except NotPlainError as error:
            if error.trouble in {"form", "unconnected"}:
                self._left[origin] = now + _LEFT_SECONDS
            broke = TimeoutError() if error.trouble == "silent" else _cut_off() if error.trouble == "broken" else None
            if broke is not None and error.head is not None:
                return ShortAnswer(url, LeanReply(*error.head, b""), broke)
            if isinstance(broke, TimeoutError):
                raise broke from error
            return None  # also if it broke before the answer: the connection may have been idle for too long
        return ShortAnswer(url, reply)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    def _pool(self, origin: urls.Origin, url: str, *, is_home: bool, resolver: Resolver) -> ConnectionPool | None:
        pool = self._pools.get((origin, is_home))
        if pool is None and len(self._pools) < _ORIGINS:
            parts = urlsplit(url)
            addresses = _HostAddresses(urls.host(url), resolver, None if is_home else self._guard)
            secure = parts.scheme == "https"
            pool = self._pools[origin, is_home] = ConnectionPool(
                addresses.known, parts.port or (443 if secure else 80), self._tls() if secure else None, urls.host(url)
            )
        return pool


def _cut_off() -> Exception:
    from aiohttp import ClientPayloadError  # see `UpstreamConnections`

    return ClientPayloadError()


class _HostAddresses:
    """The addresses of a host that may be connected to. Callers share a question."""

    def __init__(self, host: str, resolver: Resolver, guard: AddressGuard | None) -> None:
        self._host = host
        self._resolver = resolver
        self._guard = guard
        self._asking = asyncio.Lock()
        self._until = 0.0
        self._found: Sequence[str] = ()

    async def known(self) -> Sequence[str]:
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                found = [each["host"] for each in await self._resolver.resolve(self._host, 0, socket.AF_UNSPEC)]
                self._found = [each for each in found if self._guard is None or self._guard.permits(each)]
                self._until = now + _RESOLVED_SECONDS
        return self._found
