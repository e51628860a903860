"""Answers: built as bytes and written at once.

A whole answer (status line, headers, body) leaves in one write, which costs less than half of a general response object
(measured: 65 against 150 microseconds). It is still an aiohttp response to the server around it, so keep-alive, access
log and shutdown work as ever. Streams are for bodies that come piece by piece; files go by `sending`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from msgspec import Struct

SERVER: Final = "pkgindex"
JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}
"""On everything that a browser might show. Files get them too: an uploaded file is never a page of ours."""

_INDENTED_BYTES: Final = 64 * 1024
_COPIED_BYTES: Final = 64 * 1024
"""A body up to which one write is better than none of its bytes being copied."""

_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class Reply(Struct, frozen=True, kw_only=True):
    """An answer whose body is known. `reason` replaces the standard phrase (upload clients print it)."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    reason: str = ""


class WholeResponse(web.StreamResponse):
    """Writes a `Reply` in one piece."""

    def __init__(self, reply: Reply, *, close: bool = False) -> None:
        super().__init__(status=reply.status)
        self._reply = reply
        self._close = close

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything; called once by the server."""
        self._req = request
        self._keep_alive = request.keep_alive and not self._close
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client went away")
        body = b"" if request.method == "HEAD" else self._reply.body
        head = head_bytes(self._reply, keep_alive=bool(self._keep_alive), version=request.version)
        if len(body) <= _COPIED_BYTES:
            transport.write(head + body)
        else:  # the same bytes go to everybody who is sent them: a copy each is what many slow clients would hold
            transport.write(head)
            transport.write(body)
        self._body_length = len(body)
        self._eof_sent = True
        self._reply = Reply(status=self._reply.status)  # a request and its response hold each other for a while
        return None

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002 - the server's signature
        """Everything was written; wait until the client has room for the next answer."""
        if self._req is not None:
            await self._req.protocol._drain_helper()


def head_bytes(reply: Reply, *, keep_alive: bool, version: Any, length: int | None = None) -> bytes:
    """Status line and headers. `length` overrides the body's; a 304 and a 204 have none."""
    phrase = clean_header(reply.reason) or _PHRASES.get(reply.status, "Unknown")
    lines = [f"HTTP/1.{version.minor if version.major == 1 else 0} {reply.status} {phrase}"]
    lines.extend(f"{name}: {clean_header(value)}" for name, value in reply.headers.items())
    if reply.status not in {204, 304}:
        lines.append(f"Content-Length: {len(reply.body) if length is None else length}")
    lines.append(f"Date: {rfc822_formatted_time()}")
    lines.append(f"Server: {SERVER}")
    if not keep_alive:
        lines.append("Connection: close")
    elif version.minor == 0:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def clean_header(value: str) -> str:
    """A header value that cannot end its line: anything but visible latin-1 text and blanks becomes `?`."""
    return _VALUE.sub("?", value) if _VALUE.search(value) else value


def json_reply(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A JSON document, as devpi's clients want it: exact content type, a newline at the end; indented for people unless it is long."""
    encoded = msgspec.json.encode(value)
    body = _indented(encoded) + b"\n"
    return Reply(status=status, headers={"Content-Type": JSON, **SECURITY_HEADERS, **(headers or {})}, body=body)


def _indented(encoded: bytes) -> bytes:
    """A document for people to read; as it is when it is long, or would become so: what is nested deeply is indented far."""
    if len(encoded) > _INDENTED_BYTES:
        return encoded
    written = msgspec.json.format(encoded, indent=2)
    return written if len(written) <= 2 * _INDENTED_BYTES else encoded


def text_reply(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None, reason: str = "") -> Reply:
    body = text.encode() if text.endswith("\n") or not text else f"{text}\n".encode()
    return Reply(
        status=status, headers={"Content-Type": TEXT, **SECURITY_HEADERS, **(headers or {})}, body=body, reason=reason
    )


def redirect(location: str, *, status: int = 301) -> Reply:
    """Send the client elsewhere on this server; `location` is relative, so that prefixes and proxies do not matter."""
    return Reply(status=status, headers={"Location": location, "Content-Type": TEXT, **SECURITY_HEADERS})
