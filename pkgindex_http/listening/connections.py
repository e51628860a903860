"""Closes connections of aiohttp: of slow clients, at the limit of connections, and when the server stops.

A client that sends nothing holds a file descriptor, and descriptors are few. So every wait for a client has a limit:

    a request's head     `stall_timeout` after its first byte, or after the connection was made
    the next request     75 seconds, since a proxy keeps its connections for about 60
    a body               `stall_timeout` without a byte, and `least_body_rate` on average
    reading an answer    two minutes without a byte

At `max_connections` the connections that were silent longest are closed: first those without a request, then those whose body does
not come. A connection whose request is being answered is not closed.

aiohttp's error page for a malformed request quotes a line of it, and so does its traceback in the log. That line may be an
Authorization header. Here the error page has a fixed text, and the log gets a short line at debug level, since every client
could fill the disk with more.

When the server stops, aiohttp reads no more bytes, so uploads under way cannot finish; it waits twice as long as it is told; and bytes
that a slow client has not read are lost. Here a stop has one time limit and these steps:

    close idle connections, new ones a second later  ->  close each busy one when it becomes idle  ->  keep closed ones until the client has read
    all bytes that were written  ->  cut the rest
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import StreamReader
from msgspec import Struct

from pkgindex_http.errors import BodyStalled
from pkgindex_http.listening.replaying import ReplayingConnection
from pkgindex_http.listening.replays import Replays
from pkgindex_http.wire import web
from pkgindex_http.wire.replies import WholeResponse, text_reply

if sys.platform != "win32":
    import resource

logger = logging.getLogger("pkgindex.http")

UNREAD_SECONDS: Final = 120
"""Seconds that a client may read nothing while bytes wait for it."""
_LOOK_SECONDS = 0.01
_SWEEP_SECONDS = 5.0
_SILENT_SECONDS = 2.0
"""Seconds of silence after which a connection may be closed to make room. The head of an honest request takes less."""
_FRESH_SECONDS = 1.0
"""At a stop a connection without a request may send its first one for this long."""
_AT_ONCE = 32
"""At the limit one in 32 connections is closed at once, so that not every new connection sorts all of them."""
_SPARE_DESCRIPTORS = 64
"""Descriptors for databases and logs."""


class Patience(Struct, frozen=True):
    """How long the server waits for clients, and how many connections it takes."""

    stall_seconds: float = 30.0
    bytes_per_second: int = 500
    connections: int = 0
    """0: as many as the limit of descriptors permits."""


class Connection(ReplayingConnection):
    """One connection: parses requests and answers them one after the other."""

    def __init__(self, manager: Connections, *, patience: Patience, **options: Any) -> None:
        super().__init__(manager, **options)
        self._patience = patience
        self._heard = self._begun = self._loop.time()
        self._awaits_body = False
        self._unread = (0, 0.0)
        self.gave_up = False
        """Whether the body of the request stopped coming."""

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if data:
            self._heard = self._loop.time()
            if self.is_between_requests:
                self._begun = self._heard
        super().data_received(data)

    async def body(self, content: StreamReader) -> AsyncIterator[bytes]:
        """The body of a request as it arrives. Raises `BodyStalled` when it stops or is too slow.

        The time in which the client waits for the server does not count.
        """
        stall, rate = self._patience.stall_seconds, self._patience.bytes_per_second
        waited = 0.0
        while True:
            began = self._loop.time()
            self._awaits_body = True
            earned = content.total_bytes / rate if rate else 0.0
            try:
                async with asyncio.timeout(min(stall, stall + earned - waited) if rate else stall):
                    data = await content.readany()
            except TimeoutError:
                self.gave_up = True
                self._lingering_time = 0.0
                raise BodyStalled(content.total_bytes, stall, rate) from None
            finally:
                self._awaits_body = False
            if not data:
                return
            waited += self._loop.time() - began
            yield data

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, and close the connection."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= 500:
            # Handlers always return a reply (see `server`), so this is a defect of the server around them.
            logger.error("a request could not be answered", exc_info=exc)
            text = "the server failed; the request is not the cause"
        elif isinstance(exc, LineTooLong):
            status, text = 431, "a line of the request is too long"
        else:
            text = "this is not a well-formed HTTP request"
        logger.debug("malformed request from %s: %s", request.remote, type(exc).__name__)
        return WholeResponse(text_reply(text, status=status, headers={"Cache-Control": "no-store"}), close=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Clean up after the client or the server has closed the connection."""
        task = self._task_handler
        reads_the_rest = task is not None and not self._request_in_progress and self._waiter is None
        super().connection_lost(exc)
        if task is not None and reads_the_rest:
            # aiohttp goes on reading the rest of an answered request for `lingering_time`, even from a closed connection, and a
            # stop would wait for it.
            task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request."""
        return self._waiter is not None and not self._messages and not self._later

    def is_fresh(self, now: float) -> bool:
        """Whether the connection was made a moment ago, so that its first request may be on its way."""
        return not self._request_count and now - self._begun < _FRESH_SECONDS

    def expendability(self, now: float) -> tuple[int, float] | None:
        """The sort key for closing connections to make room; None if this one must stay."""
        silent = now - self._heard >= _SILENT_SECONDS
        if self.is_idle:
            return (0 if silent else 2), self._heard
        reads_the_rest = not self._request_in_progress and self._waiter is None
        if self._awaits_body or reads_the_rest:
            return (1 if silent else 2), self._heard
        return None

    def look_after(self, now: float, transport: asyncio.Transport) -> None:
        """Close the connection when the head of a request does not come, or when the client reads nothing."""
        unread = transport.get_write_buffer_size()
        if unread != self._unread[0]:
            self._unread = (unread, now)
        elif unread and now - self._unread[1] >= UNREAD_SECONDS:
            transport.abort()
        is_new = not self._request_count
        if (
            self.is_idle
            and (is_new or not self.is_between_requests)
            and now - self._begun >= self._patience.stall_seconds
        ):
            self.force_close()


class Connections(web.Server):
    """Makes a `Connection` for every client, and closes them by the rules of this module."""

    def __init__(self, handler: Any, *, patience: Patience, replays: Replays | None = None, **options: Any) -> None:
        super().__init__(handler, **options)
        self._patience = patience
        self._replays = replays
        self.most = patience.connections or _connections_for(_descriptors())
        self._sweeping: asyncio.Task[None] | None = None
        self._told = -60.0

    def __call__(self) -> web.RequestHandler:
        return Connection(self, patience=self._patience, replays=self._replays, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a new client, and make room when there are too many."""
        super().connection_made(handler, transport)
        if self._sweeping is None:
            self._sweeping = self._loop.create_task(self._sweep_for_ever())
        if len(self._connections) > self.most:
            self._make_room()

    def sweep(self, now: float) -> None:
        """Call `look_after` of every connection."""
        for connection, transport in list(self._connections.items()):
            if isinstance(connection, Connection):
                connection.look_after(now, transport)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._patience.stall_seconds / 4))
            self.sweep(self._loop.time())

    def _make_room(self) -> None:
        """Close some silent connections. If none is silent, close one that may be closed, or else the newest."""
        now = self._loop.time()
        staying = [each for each in self._connections if isinstance(each, Connection) and each.connected]
        if len(staying) <= self.most:
            return  # enough others are closing already
        order = sorted(
            ((rank, each) for each in staying if (rank := each.expendability(now)) is not None),
            key=lambda pair: pair[0],
        )
        silent = [each for rank, each in order if rank[0] < 2]
        chosen = silent[: max(1, self.most // _AT_ONCE)] or [each for _, each in order[:1]] or staying[-1:]
        for connection in chosen:
            connection.force_close()
        if now - self._told >= 60:
            self._told = now
            logger.warning(
                "the limit of %d connections is reached; %d silent ones were closed (raise the limit of open files, or max_connections)",
                self.most, len(chosen),
            )  # fmt: skip

    @property
    def busy(self) -> int:
        """The number of connections whose request is not answered yet."""
        return sum(isinstance(each, Connection) and not each.is_idle for each in self.connections)

    async def drain(self, seconds: float) -> None:
        """Wait until requests under way are answered, for at most `seconds`. Called when the server no longer listens."""
        deadline = self._loop.time() + seconds
        while self.connections and self._loop.time() < deadline:
            now = self._loop.time()
            for connection in self.connections:
                if isinstance(connection, Connection) and connection.is_idle and not connection.is_fresh(now):
                    connection.force_close()  # bytes that were written before are still sent
            await asyncio.sleep(_LOOK_SECONDS)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Cut the connections that are left."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await super().shutdown(timeout)


def _descriptors() -> int:
    """The number of files and connections that this process may have open."""
    if sys.platform == "win32":
        return 2048
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 65_536


def _connections_for(descriptors: int) -> int:
    """Three quarters of the descriptors that databases and logs leave. A download or an upload also opens one or two files."""
    return max(16, (descriptors - _SPARE_DESCRIPTORS) * 3 // 4)
