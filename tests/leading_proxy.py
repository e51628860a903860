"""An HTTP proxy that leads each https connection to one server, whatever host the client names, for clients that ask one host only.

The client and that server speak TLS with each other: the proxy only passes bytes on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def ending_tls(tls: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """Take TLS connections, and pass what is in them on to a server without TLS. The port."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    async with await asyncio.start_server(lead, "localhost", 0, ssl=tls) as listening:
        yield int(listening.sockets[0].getsockname()[1])


@asynccontextmanager
async def leading_to(port: int) -> AsyncIterator[str]:
    """Run the proxy; its URL. `port`: where the server listens on localhost."""

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"CONNECT "), head
        there, back = await asyncio.open_connection("localhost", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    async with await asyncio.start_server(lead, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
