"""A client that notices everything: how much of an answer came, and whether it would take it for whole."""

from __future__ import annotations

import asyncio
import contextlib

from msgspec import Struct

from tests.http.wire import RawRequest

Address = tuple[str, int]


class Got(Struct, frozen=True, kw_only=True):
    """What came of one request."""

    status: int | None = None
    """None: not even a head came."""
    headers: dict[str, str] = {}
    body: bytes = b""
    is_whole: bool = False
    """The body has the length that was promised, or its last chunk came. Without either nobody can tell, so it is not."""


async def ask(address: Address, path: str, **headers: str) -> Got:
    """GET a path on a connection of its own."""
    lines = tuple(f"{name.replace('_', '-')}: {value}".encode() for name, value in headers.items())
    request = RawRequest("GET", path.encode(), lines).encode()
    try:
        reader, writer = await asyncio.open_connection(*address)
    except ConnectionError:
        return Got()
    try:
        writer.write(request)
        return await read_all(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def read_all(reader: asyncio.StreamReader, *, pause: float = 0.0, piece: int = 1 << 16) -> Got:
    """Read one answer, as far as it comes; with a pause before each piece."""
    body = bytearray()
    head: Got | None = None
    whole = False
    try:
        head = _read_head(await reader.readuntil(b"\r\n\r\n"))
        chunks = head.headers.get("transfer-encoding") == "chunked"
        while chunks and (size := int(await reader.readuntil(b"\r\n"), 16)):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        left = int(head.headers.get("content-length", "0"))
        while left:
            if pause:
                await asyncio.sleep(pause)
            data = await reader.read(min(piece, left))
            if not data:
                break
            body += data
            left -= len(data)
        whole = not left and (chunks or "content-length" in head.headers or head.status in {204, 304})
    except asyncio.IncompleteReadError as error:
        if head is not None:
            body += error.partial
    except (ConnectionError, ValueError):
        pass
    if head is None:
        return Got()
    return Got(status=head.status, headers=head.headers, body=bytes(body), is_whole=whole)


def _read_head(head: bytes) -> Got:
    lines = head[:-4].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Got(status=int(lines[0].split(" ")[1]), headers=headers)
