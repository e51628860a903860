"""Connections as aiohttp keeps them, except for how they end: when a client is slow, when there are too many, when the server stops.

A client that sends nothing holds a descriptor, and descriptors are few. So everything that is waited for has an end:

    a request's head     `stall_timeout` after its first byte, or after the connection was made
    the next request     75 seconds, since a proxy keeps its connections for about 60
    a body               `stall_timeout` without a byte, and `least_body_rate` on average
    an answer's reader   two minutes without a byte

At `max_connections` the connections that have been silent longest are closed: first those without a request, then those whose body does
not come. A connection whose request is being answered is never closed for that.

When a request is malformed, aiohttp's error page repeats up to a whole line of it, and so does its traceback in the log: an
Authorization header with a stray byte would stand in both. Here the client is told which rule it broke in words of ours, and the log gets
a short line at debug level, since everybody who reaches the port could fill a disk otherwise.

When the server stops, aiohttp takes no more bytes from any connection, so an upload that is under way can never finish; it waits twice
as long as it is told to; and what a slow client has not read yet is lost when the process ends. Here, within one bound:

    idle connections are closed  ->  each busy one is closed when it is idle  ->  closed ones stay until the client has
    everything that was written  ->  what is left then is cut
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from msgspec import Struct

from pkgindex_http.errors import BodyStalled
from pkgindex_http.push_method import PushingConnection
from pkgindex_http.replies import WholeResponse, text_reply

if sys.platform != "win32":
    import resource

logger = logging.getLogger("pkgindex.http")

UNREAD_SECONDS: Final = 120
"""How long a client may read nothing of what was written to it."""
_LOOK_SECONDS = 0.01
_SWEEP_SECONDS = 5.0
_SILENT_SECONDS = 2.0
"""How long a connection is silent before it is one of those that are closed to make room: a head that is on its way takes less."""
_AT_ONCE = 32
"""One in so many connections is closed when there are too many, so that not every new one has to look at all of them."""
_SPARE_DESCRIPTORS = 64
"""For databases, logs and the like."""


class Patience(Struct, frozen=True):
    """How long clients are waited for, and how many there may be."""

    stall_seconds: float = 30.0
    bytes_per_second: int = 500
    connections: int = 0
    """0: as many as the limit of descriptors leaves room for."""


class Connection(PushingConnection):
    """One connection: parses requests and has them answered one after the other."""

    def __init__(self, manager: Connections, *, patience: Patience, **options: Any) -> None:
        super().__init__(manager, **options)
        self._patience = patience
        self._heard = self._begun = self._loop.time()
        self._awaits_body = False
        self._unread = (0, 0.0)
        self.gave_up = False
        """The body of the request did not come."""

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if data:
            self._heard = self._loop.time()
            if self.is_between_requests:
                self._begun = self._heard
        super().data_received(data)

    async def body(self, content: StreamReader) -> AsyncIterator[bytes]:
        """The body of a request as it comes in. Raises `BodyStalled` when it stops coming, or comes too slowly.

        Only the time counts in which we wait for the client, not the time in which it waits for us.
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
        """Answer what could not be parsed, and close."""
        if isinstance(exc, ConnectionError):
            raise exc  # nobody is left to be told
        if status >= 500:
            # Handlers end with a reply (see `server`): this is a mistake in the server around them.
            logger.error("a request could not be answered", exc_info=exc)
            text = "the server failed; this is not your mistake"
        elif isinstance(exc, LineTooLong):
            status, text = 431, "a line of the request is too long"
        else:
            text = "this is not a well-formed HTTP request"
        logger.debug("malformed request from %s: %s", request.remote, type(exc).__name__)
        return WholeResponse(text_reply(text, status=status, headers={"Cache-Control": "no-store"}), close=True)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has gone."""
        task = self._task_handler
        reads_the_rest = task is not None and not self._request_in_progress and self._waiter is None
        super().connection_lost(exc)
        if task is not None and reads_the_rest:
            # aiohttp reads on what is left of an answered request, up to `lingering_time`, also from a connection that is no more:
            # a stop would wait for that.
            task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether nothing was asked that is not answered: it waits for a request, and none has come in this very moment."""
        return self._waiter is not None and not self._messages

    def expendability(self, now: float) -> tuple[int, float] | None:
        """What sorts connections in the order in which they are closed to make room; None: this one is not."""
        silent = now - self._heard >= _SILENT_SECONDS
        if self.is_idle:
            return (0 if silent else 2), self._heard
        reads_the_rest = not self._request_in_progress and self._waiter is None
        if self._awaits_body or reads_the_rest:
            return (1 if silent else 2), self._heard
        return None

    def look_after(self, now: float, transport: asyncio.Transport) -> None:
        """Close the connection when its client lets us wait for a head, or for the moment in which it reads."""
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
    """Makes a `Connection` for every client, and looks after all of them."""

    def __init__(self, handler: Any, *, patience: Patience, **options: Any) -> None:
        super().__init__(handler, **options)
        self._patience = patience
        self.most = patience.connections or _connections_for(_descriptors())
        self._sweeping: asyncio.Task[None] | None = None
        self._told = -60.0

    def __call__(self) -> web.RequestHandler:
        return Connection(self, patience=self._patience, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """A client has come; another one may have to go."""
        super().connection_made(handler, transport)
        if self._sweeping is None:
            self._sweeping = self._loop.create_task(self._sweep_for_ever())
        if len(self._connections) > self.most:
            self._make_room()

    def sweep(self, now: float) -> None:
        """Look after every connection."""
        for connection, transport in list(self._connections.items()):
            if isinstance(connection, Connection):
                connection.look_after(now, transport)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._patience.stall_seconds / 4))
            self.sweep(self._loop.time())

    def _make_room(self) -> None:
        """Close some of the connections that are silent; one that is not, if need be; the newest when all are busy."""
        now = self._loop.time()
        staying = [each for each in self._connections if isinstance(each, Connection) and each.connected]
        if len(staying) <= self.most:
            return  # others are on their way out
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
                "%d connections are all that fit: the most silent are closed, %d now (raise the limit of open files, or max_connections)",
                self.most, len(chosen),
            )  # fmt: skip

    @property
    def busy(self) -> int:
        """How many connections have a request that is not answered yet."""
        return sum(isinstance(each, Connection) and not each.is_idle for each in self.connections)

    async def drain(self, seconds: float) -> None:
        """Let what is under way finish, for so long at most. Nobody new may come in meanwhile."""
        deadline = self._loop.time() + seconds
        while self.connections and self._loop.time() < deadline:
            for connection in self.connections:
                if isinstance(connection, Connection) and connection.is_idle:
                    connection.force_close()  # what was written before is still sent
            await asyncio.sleep(_LOOK_SECONDS)

    async def shutdown(self, timeout: float | None = None) -> None:
        """Cut what is left."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await super().shutdown(timeout)


def _descriptors() -> int:
    """How many files and connections this process may have open."""
    if sys.platform == "win32":
        return 2048
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 65_536


def _connections_for(descriptors: int) -> int:
    """Three quarters of what is left beside databases: a download or an upload opens a file, or two, beside its connection."""
    return max(16, (descriptors - _SPARE_DESCRIPTORS) * 3 // 4)
