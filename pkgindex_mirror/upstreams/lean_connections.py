"""HTTP/1.1 connections for small answers: a status, some headers, and a body that is whole or the answer does not count.

They know neither redirects nor retries, and no answer whose end is not told by a Content-Length or by chunks. `NotPlainError` says that
an answer is not one of those, and that the careful client is to ask.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

from msgspec import Struct

Connection = TypeVar("Connection")

HEAD_LIMIT: Final = 16 * 1024
_CHUNK_LINE_LIMIT: Final = 256
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5][0-9]{2})(?: |\r\n|\Z)")
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_IDLE_SECONDS: Final = 15.0
_NO_BODY: Final = frozenset({204, 304})


Trouble = Literal["form", "unconnected", "silent", "broken"]
"""The kind of a trouble: the answer is not plain; no connection; no byte for too long; the connection broke."""


class NotPlainError(Exception):
    """The connection broke, was silent, or gave an answer that is not plain."""

    def __init__(
        self, reason: str, trouble: Trouble = "form", head: tuple[int, Mapping[str, str]] | None = None
    ) -> None:
        super().__init__(reason)
        self.trouble = trouble
        self.head = head
        """Status and headers, if they came before the silence or the break."""


class LeanReply(Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; a header that comes several times is joined with commas."""
    body: bytes


class LeanConnection(asyncio.Protocol):
    """One connection with one question at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[LeanReply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()
        self._limit = 0
        self._silence = self._heard = 0.0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._left = -1
        """Bytes of the body; -1: the head has not come yet; -2: it comes in chunks."""
        self._chunks: list[bytes] = []
        self.is_open = False

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the loop's signature
        self.is_open = False
        self._fail(NotPlainError("the connection broke", "broken", self._head()))

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # without a request
            self.close()
            return
        self._buffer += data
        self._heard = self._loop.time()
        try:
            if self._left == -1 and not self._take_head():
                return
            if self._left == -2:
                self._take_chunks()
            elif len(self._buffer) >= self._left:
                with memoryview(self._buffer) as received:
                    body = bytes(received[: self._left])
                self._reply(body, len(self._buffer) - self._left)
        except NotPlainError as error:
            self._fail(error)
            self.close()

    # For the pool.

    def ask(self, request: bytes, *, limit: int, silence: float) -> asyncio.Future[LeanReply]:
        """Send a request. The answer has at most `limit` bytes, and comes with no pause of `silence` seconds, or `NotPlainError` is raised."""
        assert self._transport is not None
        if self._timer is not None:
            self._timer.cancel()
        self._buffer.clear()
        self._left, self._limit = -1, limit
        waiter = self._waiter = self._loop.create_future()
        self._silence, self._heard = silence, self._loop.time()
        self._timer = self._loop.call_later(silence, self._look)
        self._transport.write(request)
        return waiter

    def rest(self) -> None:
        """Wait for the next request, and not for long: a peer or a router on the way may forget the connection without a word."""
        self._timer = self._loop.call_later(_IDLE_SECONDS, self.close)

    def close(self) -> None:
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def _look(self) -> None:
        """Give up if nothing came for too long."""
        left = self._heard + self._silence - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._fail(NotPlainError("it did not answer in time", "silent", self._head()))
        if self._transport is not None:
            self._transport.abort()

    def _head(self) -> tuple[int, Mapping[str, str]] | None:
        return None if self._left == -1 else (self._status, self._headers)

    def _fail(self, error: NotPlainError) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _reply(self, body: bytes, surplus: int) -> None:
        if surplus:
            raise NotPlainError("more comes than it promised")
        waiter, self._waiter = self._waiter, None
        self._buffer.clear()  # nothing long is kept while the connection idles
        self._chunks = []
        if self._timer is not None:
            self._timer.cancel()
        if self._headers.get("connection", "").lower() not in {"", "keep-alive"}:
            self.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(LeanReply(self._status, self._headers, body))
        else:  # the caller went away
            self.close()

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if (len(self._buffer) if end < 0 else end) > HEAD_LIMIT:
            raise NotPlainError("its head is too long")
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        self._status, self._headers = read_head(head)
        length = body_length(self._status, self._headers)
        self._left, self._chunks = -2 if length is None else length, []
        if self._left > self._limit:
            raise NotPlainError("its body is too long")
        return True

    def _take_chunks(self) -> None:
        position, buffer = 0, bytes(self._buffer)
        while True:
            match = CHUNK_SIZE.match(buffer, position)
            if match is None:
                if len(buffer) - position > _CHUNK_LINE_LIMIT:
                    raise NotPlainError("its chunks cannot be read")
                break
            size = int(match[1], 16)
            stop = match.end() + size
            if size > self._limit or sum(map(len, self._chunks)) + size > self._limit:
                raise NotPlainError("its body is too long")
            if len(buffer) < stop + 2:
                break
            if buffer[stop : stop + 2] != b"\r\n":
                raise NotPlainError("its chunks cannot be read")
            if not size:
                self._reply(b"".join(self._chunks), len(buffer) - stop - 2)
                return
            self._chunks.append(buffer[match.end() : stop])
            position = stop + 2
        del self._buffer[:position]


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    match = _STATUS.match(head)
    if match is None:
        raise NotPlainError("its answer is no plain HTTP")
    headers: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name[0] in " \t":
            raise NotPlainError("its head cannot be read")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return int(match[1]), headers


def body_length(status: int, headers: Mapping[str, str]) -> int | None:
    """The bytes of a body; None when it comes in chunks. Raises `NotPlainError` when neither is told."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if status in _NO_BODY:
        return 0
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise NotPlainError("its body has an unusual form")
        return None
    if length is None or not length.isascii() or not length.isdigit() or len(length) > 15:
        raise NotPlainError("its body has no length")
    return int(length)


class ConnectionPool:
    """The connections to one origin. Those that idle are used again, the latest first."""

    def __init__(self, addresses: Callable[[], Any], port: int, tls: ssl.SSLContext | None, host: str) -> None:
        """`addresses` is awaited for the addresses that may be connected to, before each connection."""
        self._addresses = addresses
        self._port = port
        self._tls = tls
        self._host = host
        self._idle: list[LeanConnection] = []

    async def ask(self, request: bytes, *, limit: int, silence: float, connect_timeout: float) -> LeanReply:
        """Send a request by a connection that idles, or by a new one. Raises `NotPlainError`."""
        connection = self._idling() or await self._new_connection(connect_timeout)
        try:
            reply = await connection.ask(request, limit=limit, silence=silence)
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            connection.rest()
            self._idle.append(connection)
        return reply

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _idling(self) -> LeanConnection | None:
        while self._idle:
            connection = self._idle.pop()  # the one that idles for the shortest time
            if connection.is_open:
                return connection
        return None

    async def connected(self, connect: Callable[..., Awaitable[Connection]], *, timeout: float) -> Connection:
        """Connect to the first address that can be connected to. `connect` takes the arguments of `asyncio.open_connection`.

        Raises `NotPlainError` when there is none within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                for address in await self._addresses():
                    with suppress(OSError):
                        name = self._host if self._tls else None
                        return await connect(address, self._port, ssl=self._tls, server_hostname=name)
        except (OSError, TimeoutError) as error:
            raise NotPlainError("it could not be connected to", "unconnected") from error
        raise NotPlainError("it could not be connected to", "unconnected")

    async def _new_connection(self, connect_timeout: float) -> LeanConnection:
        loop = asyncio.get_running_loop()
        connect = partial(loop.create_connection, lambda: LeanConnection(loop))
        _, made = await self.connected(connect, timeout=connect_timeout)
        return cast("LeanConnection", made)
