"""HTTP without a client library in between: what is sent is what was written, what comes back is looked at byte by byte.

A client library normalises paths, refuses odd header values and hides what a parser would trip over. The tests of bad input
want none of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct

_BATCH = 24
"""Requests sent ahead of their answers; the server queues 32 of a connection."""


class RawAnswer(Struct, frozen=True):
    """One answer, as it stood on the wire."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    head: bytes
    body: bytes

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}

    def header(self, name: str) -> str | None:
        """The value of a header that stands there once; None when it does not."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None


class RawRequest(Struct, frozen=True):
    """One request; `target` is bytes, and goes out as it is."""

    method: str
    target: bytes
    headers: tuple[bytes, ...] = ()
    body: bytes = b""

    def encode(self) -> bytes:
        lines = [b"%s %s HTTP/1.1" % (self.method.encode(), self.target), b"Host: localhost", *self.headers]
        if self.body or self.method not in {"GET", "HEAD"}:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed at the end whatever happened."""
    reader, writer = await asyncio.open_connection(*address, limit=1024 * 1024)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            reader.feed_eof()


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> RawAnswer:
    """Read one answer; anything that is not well-formed HTTP fails."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head[:-4].split(b"\r\n")
    version, status, reason = lines[0].decode("latin-1").split(" ", 2)
    assert version in {"HTTP/1.0", "HTTP/1.1"}, head
    headers = []
    for line in lines[1:]:
        name, colon, value = line.decode("latin-1").partition(":")
        assert colon, head
        assert name.replace("-", "").isalnum(), head
        assert not set(value) & {"\n", "\r", "\0"}, head
        headers.append((name, value.strip()))
    answer = RawAnswer(int(status), reason, tuple(headers), head, b"")
    if method == "HEAD" or answer.status in {204, 304} or answer.status < 200:
        return answer
    return RawAnswer(answer.status, reason, tuple(headers), head, await _body(reader, answer))


async def _body(reader: asyncio.StreamReader, answer: RawAnswer) -> bytes:
    if answer.header("Transfer-Encoding") == "chunked":
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
        return bytes(body)
    length = answer.header("Content-Length")
    return await (reader.readexactly(int(length)) if length is not None else reader.read())


async def ask_raw(address: tuple[str, int], data: bytes, *, method: str = "GET") -> RawAnswer:
    """Send bytes on a connection of their own and read the first answer."""
    async with connected(address) as (reader, writer):
        writer.write(data)
        return await read_answer(reader, method)


async def ask_all(address: tuple[str, int], requests: Iterable[RawRequest]) -> list[RawAnswer]:
    """Send many requests over few connections, several ahead; one answer each, in order."""
    waiting = list(requests)
    answers: list[RawAnswer] = []
    while len(answers) < len(waiting):
        before = len(answers)
        async with connected(address) as (reader, writer):
            await _ask_some(reader, writer, waiting[before:], answers)
        assert len(answers) > before, f"no answer to {waiting[before].encode()[:300]!r}"
    return answers


async def _ask_some(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    requests: Sequence[RawRequest],
    answers: list[RawAnswer],
) -> None:
    """Ask until everything is answered or the server closes the connection, which it may after a malformed request."""
    for start in range(0, len(requests), _BATCH):
        batch = requests[start : start + _BATCH]
        writer.write(b"".join(request.encode() for request in batch))
        for request in batch:
            try:
                answer = await read_answer(reader, request.method)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            answers.append(answer)
            if answer.header("Connection") == "close":
                return
