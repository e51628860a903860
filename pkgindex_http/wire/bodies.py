"""Reads request bodies within bounds. aiohttp's `request.post()` is not used, because its limits are per field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeVar

import msgspec
from aiohttp.http import HttpVersion11

from pkgindex_core.errors import Refused, TooLarge
from pkgindex_http.errors import UnknownCoding, UnknownTransferCoding
from pkgindex_http.listening.connections import Connection
from pkgindex_http.wire import web

JSON_LIMIT = 1024 * 1024

NESTING_LIMIT: Final = 64
"""The deepest nesting of lists and objects. Stored documents are shown indented, so deeper ones would grow, up to a depth that
cannot be encoded."""

T = TypeVar("T")

_CONTINUED = web.RequestKey("continued", bool)


async def read_json(request: web.BaseRequest, kind: type[T], *, limit: int = JSON_LIMIT) -> T:
    """Read a JSON document of the given type."""
    body = await read_bytes(request, limit=limit)
    try:
        document = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(f"the document does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body is not JSON: {error}") from error
    except RecursionError:
        raise Refused("the document is nested too deeply") from None
    if body.count(b"[") + body.count(b"{") > NESTING_LIMIT and _is_deep(document):
        raise Refused("the document is nested too deeply", hint=f"use at most {NESTING_LIMIT} levels")
    return document


def _is_deep(document: object) -> bool:
    """Whether a document is nested deeper than `NESTING_LIMIT`."""
    level = [document] if isinstance(document, dict | list) else []
    for _ in range(NESTING_LIMIT):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


async def read_bytes(request: web.BaseRequest, *, limit: int) -> bytes:
    """Read the whole body. Raises `TooLarge` beyond `limit` bytes."""
    body = bytearray()
    async for chunk in chunks(request):
        body += chunk
        if len(body) > limit:
            raise TooLarge("the document", limit)
    return bytes(body)


async def chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises `Refused` when the client closes the connection."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding != "identity":
        raise UnknownCoding(coding)
    if is_awaiting(request) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request[_CONTINUED] = True
    connection = request.protocol
    assert isinstance(connection, Connection)
    try:
        async for data in connection.body(request.content):
            yield data
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refused("the client closed the connection before the end of the body") from error


def is_awaiting(request: web.BaseRequest) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body (RFC 9110 10.1.1)."""
    expects = request.headers.get("Expect", "").strip().lower() == "100-continue"
    return expects and request.version >= HttpVersion11 and _CONTINUED not in request


def is_misframed(request: web.BaseRequest) -> bool:
    """Whether proxies may disagree about the end of this request, so that the connection must close after it.

    RFC 9112 6.1: a server that receives an HTTP/1.0 message with Transfer-Encoding "MUST treat the message as if the framing is faulty,
    even if a Content-Length is present, and close the connection after processing the message".
    """
    coding = request.headers.get("Transfer-Encoding")
    return coding is not None and (request.version < HttpVersion11 or coding.strip().lower() != "chunked")


def check_framing(request: web.BaseRequest) -> None:
    """Refuse a body of uncertain length."""
    if not is_misframed(request):
        return
    if request.version < HttpVersion11:
        raise Refused("HTTP/1.0 has no Transfer-Encoding", hint="send a Content-Length, or use HTTP/1.1")
    raise UnknownTransferCoding(", ".join(request.headers.getall("Transfer-Encoding")))
