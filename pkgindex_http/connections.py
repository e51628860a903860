"""Connections as aiohttp keeps them, except for what it says and logs when a request is malformed.

Its own error page repeats up to a whole line of the request, and its log record a traceback with the same: an Authorization header with
a stray byte would be written down in both. Here the client is told which rule it broke in words of ours, and the log gets
a short line at debug level: whoever can reach the port could fill a disk otherwise.
"""

from __future__ import annotations

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


class Connections(web.Server):
    """Makes a `Connection` for every client."""

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)
