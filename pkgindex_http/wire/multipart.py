"""Reads `multipart/form-data` as it arrives, with bounds on all parts (RFC 7578, RFC 2046 5.1).

Strict where lax readers have had security holes: lines end in CRLF, every part has a Content-Disposition with a name and ends
at its boundary; there is no nesting, no Content-Transfer-Encoding and no `_charset_` field. Text fields are UTF-8.

A general reader awaits line by line and costs several milliseconds a form, more than the rest of an upload. This one
searches for boundaries in the chunks as they arrive. Parts of which all bytes are there, as most are, are taken out of the buffer without
waiting; the others are read step by step.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Refused, TooLarge

_HEAD_LIMIT: Final = 8192
"""The most bytes of one part's header lines."""
_PREAMBLE_LIMIT: Final = _HEAD_LIMIT + 100
"""The most bytes that are searched for the first boundary, which has at most 70 characters."""
_PART_LIMIT: Final = 8192
_BOUNDARY = re.compile(rb"\A[0-9A-Za-z'()+_,./:=? !#$%&*^`|~-]{1,70}\Z")
"""RFC 2046 5.1.1, and the characters of an unquoted parameter (RFC 9110 5.6.2): WebTest's boundary has a `$`."""
_PARAMETER = re.compile(r'[ \t]*;[ \t]*([A-Za-z0-9*_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')


class PartHead(Struct, frozen=True):
    """The name and filename in the header of a part."""

    name: str
    filename: str | None
    """None for a text field."""


class FormReader:
    """Splits a body into parts. Call `run` once, with functions for the parts."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes], *, field_bytes: int) -> None:
        self._delimiter = b"\r\n--" + _boundary_of(content_type)
        self._body = body
        self._field_bytes = field_bytes
        # The first boundary has no CRLF before it. Adding one makes it like the others.
        self._buffer = bytearray(b"\r\n")
        self._place = 0
        """The end of the last part that was taken as a whole. Only `_whole_part` leaves the bytes before it in the buffer."""

    async def run(
        self,
        *,
        field: Callable[[str, str], None],
        begin_file: Callable[[PartHead], Awaitable[None]],
        file_data: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Read the form: each text field as a whole, a file part chunk by chunk. Raises `Refused` for a malformed form."""
        await self._skip_preamble()
        for _ in range(_PART_LIMIT):
            part = self._whole_part()
            if part is not None:
                head, content = part
                if head.filename is None:
                    field(head.name, self._decoded(head.name, content))
                    continue
                await begin_file(head)
                if content:
                    await file_data(content)
                continue
            del self._buffer[: self._place]
            self._place = 0
            if await self._at_end():
                return
            head = _parse_head(await self._head())
            if head.filename is None:
                field(head.name, await self._text(head.name))
            else:
                await begin_file(head)
                async for data in self._content():
                    await file_data(data)
        raise Refused(f"the form has more than {_PART_LIMIT} parts")

    def _whole_part(self) -> tuple[PartHead, bytes] | None:
        """The next part, if the buffer has all of it and the boundary before it is written as usual."""
        buffer, begin = self._buffer, self._place
        if not buffer.startswith(b"\r\n", begin):
            return None
        head_end = buffer.find(b"\r\n\r\n", begin, begin + _HEAD_LIMIT + 4)
        if head_end < 0:
            return None
        # The delimiter of an empty part begins with the line end after the headers.
        end = buffer.find(self._delimiter, head_end + 2)
        if end < 0:
            return None
        self._place = end + len(self._delimiter)
        with memoryview(buffer) as view:
            return _parse_head(bytes(view[begin + 2 : head_end])), bytes(view[head_end + 4 : end])

    async def _more(self) -> None:
        """Add one more chunk to the buffer. Raises `Refused` at the end of the body."""
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            raise Refused(
                "the form ends in the middle of a part", hint="the upload was cut off; send it again"
            ) from None
        self._buffer += chunk

    async def _skip_preamble(self) -> None:
        # The bound is on the position of the boundary, so the size of the chunks makes no difference.
        while (at := self._buffer.find(self._delimiter)) < 0 and len(self._buffer) <= _PREAMBLE_LIMIT:
            await self._more()
        if not 0 <= at <= _HEAD_LIMIT:
            raise Refused("the form does not begin with the boundary that Content-Type names")
        del self._buffer[: at + len(self._delimiter)]

    async def _at_end(self) -> bool:
        """Read the bytes after a boundary: `--` ends the form, a line end begins a part."""
        while len(self._buffer) < 2:
            await self._more()
        mark = bytes(self._buffer[:2])
        if mark == b"--":
            return True
        while b"\r\n" not in self._buffer[:80]:
            if len(self._buffer) > 80:
                raise Refused("a boundary of the form is followed by something else")
            await self._more()
        line_end = self._buffer.index(b"\r\n")
        if self._buffer[:line_end].strip(b" \t"):
            raise Refused("a boundary of the form is followed by something else")
        # The line end stays in the buffer: it begins the blank line of a part without headers.
        del self._buffer[:line_end]
        return False

    async def _head(self) -> bytes:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0 and len(self._buffer) < _HEAD_LIMIT + 4:
            await self._more()
        if not 0 <= end <= _HEAD_LIMIT:
            raise Refused(f"the headers of a form part are longer than {_HEAD_LIMIT} bytes")
        head = bytes(self._buffer[2:end])
        # Two bytes stay in the buffer: the delimiter of an empty part begins with the line end after the headers.
        del self._buffer[: end + 2]
        return head

    async def _content(self) -> AsyncIterator[bytes]:
        """The bytes up to the next boundary."""
        skip = 2  # the line end after the headers
        keep = len(self._delimiter) - 1
        searched = 0
        while (at := self._buffer.find(self._delimiter, searched)) < 0:
            ready = len(self._buffer) - keep
            if ready > skip:
                yield bytes(self._buffer[skip:ready])
                del self._buffer[:ready]
                skip = 0
            searched = max(0, len(self._buffer) - keep)
            await self._more()
        if at > skip:
            yield bytes(self._buffer[skip:at])
        del self._buffer[: at + len(self._delimiter)]

    async def _text(self, name: str) -> str:
        value = bytearray()
        async for data in self._content():
            value += data
            if len(value) > self._field_bytes:
                break
        return self._decoded(name, value)

    def _decoded(self, name: str, value: bytes | bytearray) -> str:
        if len(value) > self._field_bytes:
            raise TooLarge(f"the form field {name[:80]!r}", self._field_bytes)
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(f"the form field {name[:80]!r} is not UTF-8 text") from None


def _boundary_of(content_type: str) -> bytes:
    kind, _, _ = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise Refused(
            f"expected multipart/form-data, not {kind.strip()[:80] or 'a request without Content-Type'!r}",
            hint="upload with twine, uv publish, or any client of the legacy upload API",
        )
    boundary = _parameters(content_type[len(kind) :]).get("boundary", "").encode("latin-1", "replace")
    if not _BOUNDARY.match(boundary):
        raise Refused("the Content-Type has no valid multipart boundary")
    return boundary


@lru_cache(maxsize=256)
def _parse_head(head: bytes) -> PartHead:
    """Parse the headers of a part. Cached, because clients send the same fields with every file."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the headers of a form part are not UTF-8") from None
    headers: dict[str, str] = {}
    for line in text.split("\r\n") if text else []:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name) or key in headers:
            raise Refused("a form part has a malformed header")
        if any(character in value for character in "\r\n\0"):
            raise Refused("a form part has a malformed header")
        headers[key] = value.strip()
    if headers.get("content-transfer-encoding", "binary").lower() not in {"binary", "8bit", "7bit"}:
        raise Refused("a form part has a Content-Transfer-Encoding", hint="send the part unencoded")
    disposition = headers.get("content-disposition", "")
    kind, _, _ = disposition.partition(";")
    if kind.strip().lower() != "form-data":
        raise Refused("a form part has no Content-Disposition: form-data")
    parameters = _parameters(disposition[len(kind) :])
    if "name*" in parameters or "filename*" in parameters:
        # RFC 7578 4.2 forbids them, and readers differ in which of the two names counts.
        raise Refused(
            "a form part has an extended parameter (name* or filename*)", hint="write name= and filename= instead"
        )
    name = parameters.get("name", "")
    if not name or len(name) > 200:
        raise Refused("a form part has no name")
    return PartHead(name, parameters.get("filename"))


def _parameters(text: str) -> dict[str, str]:
    """Parse `; key=value; key="value"`. Raises `Refused` if any of it cannot be parsed."""
    parameters: dict[str, str] = {}
    place = 0
    while match := _PARAMETER.match(text, place):
        key, quoted, plain = match.groups()
        if key.lower() in parameters:
            raise Refused(f"the parameter {key[:80]!r} is there twice")
        # RFC 7578 4.2: backslash escapes, as browsers and clients write them.
        parameters[key.lower()] = re.sub(r"\\(.)", r"\1", quoted) if plain is None else plain
        place = match.end()
    if text[place:].strip(" \t;"):
        raise Refused(f"malformed parameters: {text[place : place + 80]!r}")
    return parameters
