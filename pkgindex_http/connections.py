"""Connections as aiohttp keeps them, except for two things.

When a request is malformed, its own error page repeats up to a whole line of the request, and its log record a traceback with the same: an Authorization header with
a stray byte would be written down in both. Here the client is told which rule it broke in words of ours, and the log gets
a short line at debug level: whoever can reach the port could fill a disk otherwise.

When the server stops, aiohttp takes no more bytes from any connection, so that an upload under way waits for the rest of its body until
it is cancelled. Here such a connection is closed when its request is done.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from pkgindex_http.replies import WholeResponse, text_reply

logger = logging.getLogger("pkgindex.http")


class Connection(web.RequestHandler):
    """One connection: parses requests and has them answered one after the other."""

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


    def close(self) -> None:
        """Close after the request under way, and take the rest of its body before."""
        request = self._current_request
        if request is None or request.content.is_eof():
            super().close()
        else:
            request.content.on_eof(super().close)

    def task_under_way(self) -> asyncio.Task[None] | None:
        """What answers the requests of this connection, while there is one whose body is still coming in."""
        request = self._current_request
        return None if request is None or request.content.is_eof() else self._task_handler


class Connections(web.Server):
    """Makes a `Connection` for every client."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    async def shutdown(self, timeout: float | None = None) -> None:
        """End all connections; requests under way have `timeout` seconds to finish, bodies included."""
        started = self._loop.time()
        uploads = [
            task
            for connection in self.connections
            if isinstance(connection, Connection) and (task := connection.task_under_way()) is not None
        ]
        if uploads:
            await asyncio.wait(uploads, timeout=timeout)
        if timeout is not None:
            timeout = max(0.1, timeout - (self._loop.time() - started))  # to aiohttp, 0 would mean for ever
        await super().shutdown(timeout)
