"""A registry that is far away: what goes to it and what comes from it arrives later, by half of a round trip each.

A connection passes through this process, which is never measured. What a client sends on a new connection waits for a whole round trip more, as it
would for the handshake of TCP. Nothing is lost, nothing is narrow, and there is no TLS.

python -m benchmarks.distance PORT TARGET_PORT ROUND_TRIP_MS
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import uvloop

_CHUNK = 256 * 1024


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds: float, earliest: float
) -> None:
    """Pass on what comes, in its order, each piece `seconds` after it came. Nothing sets out before `earliest`, on the loop's clock."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        with suppress(ConnectionError):
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    arriving = asyncio.ensure_future(arrive())
    data = b"begun"
    while data:
        try:
            data = await reader.read(_CHUNK)
        except ConnectionError:
            data = b""
        under_way.put_nowait((max(loop.time(), earliest) + seconds, data))
    await arriving


async def _serve(port: int, target: int, round_trip: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = asyncio.get_running_loop().time() + round_trip
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(
            _carry(reader, back, seconds=round_trip / 2, earliest=opened),
            _carry(there, writer, seconds=round_trip / 2, earliest=opened),
        )

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1e3))
