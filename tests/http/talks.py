"""Connections without sockets: bytes go into the server's protocol in the pieces that a test wants, and what it writes is kept.

Two servers over one engine can be told the same, to the byte and to the read.
"""

from __future__ import annotations

import asyncio
import re

from pkgindex_http.listening.connections import Connection
from pkgindex_http.server import Server

_TURNS = 8
"""How many turns of the loop a server must wait for its client to be at rest."""
_PATIENCE = 20.0
_DATE = re.compile(rb"\r\nDate: [^\r]*")
_REFERENCE = re.compile(rb"under [0-9a-f]{8}")


class Line(asyncio.Transport):
    """The server's end of a connection."""

    def __init__(self, peer: str) -> None:
        super().__init__({"peername": (peer, 50_000)})
        self.written = bytearray()
        self.closed = False
        self.paused = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closed:
            self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever full."""

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed and self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        self.closed = True

    abort = close


class Talk:
    """One connection to a server that was started."""

    def __init__(self, server: Server, peer: str = "127.0.0.1") -> None:
        connections = server._connections
        assert connections is not None
        made = connections()
        assert isinstance(made, Connection)
        self.connection = made
        self.line = Line(peer)
        self.line.protocol = made
        self.connection.connection_made(self.line)

    async def say(self, *pieces: bytes, apart: bool = False, turns: int = 0) -> bytes:
        """Send pieces, each as one read, and return what is answered. With `apart` the server comes to rest behind each one; otherwise the loop has some turns."""
        await self.rest()
        for piece in pieces:
            while self.line.paused and not self.line.closed:
                await asyncio.sleep(0)
            if self.line.closed:
                break
            self.connection.data_received(piece)
            if apart:
                await self.rest()
            for _ in range(turns):
                await asyncio.sleep(0)
        await self.rest()
        said = bytes(self.line.written)
        self.line.written.clear()
        return said

    async def rest(self) -> None:
        """Wait until the server waits for the client, or has closed the connection."""
        turns, before = 0, (-1, -1)
        try:
            async with asyncio.timeout(_PATIENCE):
                while turns < _TURNS:
                    await asyncio.sleep(0)
                    # A quick request is begun and answered within a turn, so those that wait are counted too.
                    now = len(self.connection._messages), len(self.line.written)
                    turns = turns + 1 if self.line.closed or (self.waits and now == before) else 0
                    before = now
        except TimeoutError:
            raise AssertionError(f"the server does not come to rest: {self.state}") from None

    @property
    def state(self) -> str:
        """The state of the connection, for a person."""
        names = (
            "_request_in_progress",
            "_waiter",
            "_messages",
            "_completed",
            "_held",
            "_upgraded",
            "_close",
            "_payload",
        )
        return ", ".join(f"{name[1:]}={getattr(self.connection, name)!r}" for name in names)

    @property
    def waits(self) -> bool:
        connection = self.connection
        reads_the_rest = not connection._request_in_progress and connection._waiter is None
        return connection.is_idle or connection._awaits_body or reads_the_rest

    @property
    def is_over(self) -> bool:
        """Whether the connection takes no further request: it is closed, or the last one is not complete."""
        connection = self.connection
        return self.line.closed or not (connection.is_idle and connection.is_between_requests and not connection._held)

    async def end(self) -> None:
        """Go away."""
        self.line.close()
        for _ in range(_TURNS):
            await asyncio.sleep(0)


def without_times(said: bytes) -> bytes:
    """Answers without what differs between two equal ones: the date, and the reference of an error in the log."""
    return _REFERENCE.sub(b"under ########", _DATE.sub(b"", said))


def counted(server: Server) -> list[bytes]:
    """The requests that a server answers without parsing them, from now on."""
    replays = server.replays
    assert replays is not None
    find, repeated = replays.find, []

    def look(data: bytes, peer: str, *, connections: int = 1) -> object:
        kept = find(data, peer, connections=connections)
        if kept is not None:
            repeated.append(data)
        return kept

    replays.find = look  # type: ignore[method-assign, assignment]  # watched, not changed
    return repeated
