"""A registry that is far away: what goes to it and what comes from it arrives later, by half of a round trip each.

A connection passes through this process, which is never measured. What a client sends on a new connection waits for a whole round trip more, as it
would for the handshake of TCP. Nothing is lost, nothing is narrow, and there is no TLS.

python -m benchmarks.distance PORT TARGET_PORT ROUND_TRIP_MS
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable

import uvloop


class _Late:
    """Passes bytes on, in their order, each a while after it came. None is the end."""

    def __init__(self, seconds: float, take: Callable[[bytes | None], object]) -> None:
        self._seconds = seconds
        self._take = take
        self._under_way: deque[bytes | None] = deque()
        self._loop = asyncio.get_running_loop()
        self.earliest = 0.0
        """When the first byte may set out, on the loop's clock."""

    def send(self, data: bytes | None) -> None:
        self._under_way.append(data)
        starts = max(self._loop.time(), self.earliest)
        self._loop.call_at(starts + self._seconds, lambda: self._take(self._under_way.popleft()))


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Late | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.send(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            self.other.send(None)

    def take(self, data: bytes | None) -> None:
        """Write what arrives for this end, or close it."""
        assert self.transport is not None
        if data is None:
            self.transport.close()
        else:
            self.transport.write(data)


class _Near(_End):
    """The client's end. It is read when the other end is there."""

    def __init__(self, target: int, round_trip: float) -> None:
        super().__init__()
        self._target = target
        self._round_trip = round_trip
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.pause_reading()
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        assert self.transport is not None
        loop = asyncio.get_running_loop()
        begun = loop.time()
        _, far = await loop.create_connection(_End, "127.0.0.1", self._target)
        self.other = _Late(self._round_trip / 2, far.take)
        self.other.earliest = begun + self._round_trip
        far.other = _Late(self._round_trip / 2, self.take)
        self.transport.resume_reading()


async def _serve(port: int, target: int, round_trip: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Near(target, round_trip), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1e3))
