"""Connections as aiohttp keeps them, except for how requests are told to be malformed, and how it all ends.

When a request is malformed, its own error page repeats up to a whole line of the request, and its log record a traceback with the
same: an Authorization header with a stray byte would be written down in both. Here the client is told which rule it broke in words of
ours, and the log gets a short line at debug level: whoever can reach the port could fill a disk otherwise.

When the server stops, aiohttp takes no more bytes from any connection, so an upload that is under way can never finish; it waits twice
as long as it is told to; and what a slow client has not read yet is lost when the process ends. Here, within one bound:

    idle connections are closed  ->  each busy one is closed when it is idle  ->  closed ones stay until the client has
    everything that was written  ->  what is left then is cut

The parser knows the methods that are registered, and devpi's client has one of its own making. So the word PUSH is replaced by one of the
same length that the parser knows and nobody uses (BIND, RFC 5842) before it sees it, and put back in what it makes of it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage

from pkgindex_http.replies import WholeResponse, text_reply

logger = logging.getLogger("pkgindex.http")

_LOOK_SECONDS = 0.01
_PUSH = b"PUSH "
_STAND_IN = b"BIND "


class Connection(web.RequestHandler):
    """One connection: parses requests and has them answered one after the other."""

    _held = b""
    """The first letters of a request that may become PUSH."""
    _payload: StreamReader | None = None
    """The body of the last request that was parsed; at its end, the next one may begin."""
    _in_head = False
    """A request has begun, and its head is not complete."""

    def data_received(self, data: bytes) -> None:
        """Take what the client sent."""
        if data and not self._in_head and (self._payload is None or self._payload.is_eof()):
            data, self._held = self._held + data, b""
            if _PUSH.startswith(data) and data != _PUSH:
                self._held = data
                return
            if data.startswith(_PUSH):
                data = _STAND_IN + data[len(_PUSH) :]
            self._in_head = True
        parsed = self._request_count
        super().data_received(data)
        if self._request_count != parsed:
            self._in_head = False
            self._payload = self._messages[-1][1]

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


class Connections(web.Server):
    """Makes a `Connection` for every client."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def _make_request(self, message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if message.method == _STAND_IN.decode().strip():
            message = message._replace(method=_PUSH.decode().strip())
        return super()._make_request(message, *rest)

    async def drain(self, seconds: float) -> None:
        """Let what is under way finish, for so long at most. Nobody new may come in meanwhile."""
        deadline = self._loop.time() + seconds
        while self.connections and self._loop.time() < deadline:
            for connection in self.connections:
                if isinstance(connection, Connection) and connection.is_idle:
                    connection.force_close()  # what was written before is still sent
            await asyncio.sleep(_LOOK_SECONDS)
