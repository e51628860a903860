"""A body of any length that is read while it arrives, over a connection of its own: the list of projects.

The head is judged as that of a short answer (`lean_connections`). Trouble before the body raises `NotPlainError`, so that the careful client
asks; trouble inside the body is the last item of `chunks`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from pkgindex_mirror.upstreams.bodies import BodyRefusedError, PieceDecoder
from pkgindex_mirror.upstreams.lean_connections import (
    CHUNK_SIZE,
    HEAD_LIMIT,
    ConnectionPool,
    NotPlainError,
    body_length,
    read_head,
)
from pkgindex_mirror.upstreams.upstream_answers import CHUNK, Failed, unusable

_END: Final = b"\r\n\r\n"


@asynccontextmanager
async def opened_stream(
    pool: ConnectionPool, request: bytes, *, limit: int, silence: float, connect_timeout: float
) -> AsyncIterator[LeanStream]:
    """Ask, and read the head of the answer. `limit`: bytes of the body, decompressed. `silence`: seconds in which something has to come."""
    reader, writer = await pool.connected(partial(asyncio.open_connection, limit=CHUNK), timeout=connect_timeout)
    try:
        writer.write(request)
        try:
            async with asyncio.timeout(silence):
                head = await reader.readuntil(_END)
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError) as error:
            raise NotPlainError("it gave no answer") from error
        if len(head) > HEAD_LIMIT:
            raise NotPlainError("its head is too long")
        yield LeanStream(reader, head.removesuffix(_END), limit=limit, silence=silence)
    finally:
        writer.close()


class LeanStream:
    """An answer whose head has come."""

    is_delimited: Final = True
    """Whether it is noticed when the answer is cut off."""

    def __init__(self, reader: asyncio.StreamReader, head: bytes, *, limit: int, silence: float) -> None:
        self._reader = reader
        self._silence = silence
        self.status, self.headers = read_head(head)
        self._left = body_length(self.status, self.headers)
        try:
            self._decoder = PieceDecoder(self.headers.get("content-encoding", ""), limit)
        except BodyRefusedError as error:
            raise NotPlainError(str(error)) from error

    async def chunks(self) -> AsyncIterator[bytes | Failed]:
        """The decoded body in pieces as they arrive; the last item is a `Failed` when it is not whole."""
        try:
            async for data in self._body():
                for piece in self._decoder.pieces(data):
                    yield piece
            yield self._decoder.last_piece()
        except BodyRefusedError as error:
            yield unusable(str(error))
        except TimeoutError:
            yield Failed(reason="it did not answer in time", kind="timeout", again=True, healthy=False)
        except (NotPlainError, OSError, EOFError):
            yield Failed(reason="its answer was cut off", kind="cut_off", again=True, healthy=False)

    async def _body(self) -> AsyncIterator[bytes]:
        if self._left is not None:
            async for data in self._next(self._left):
                yield data
            return
        while size := await self._chunk_size():
            async for data in self._next(size):
                yield data
            await self._line()

    async def _next(self, left: int) -> AsyncIterator[bytes]:
        while left:
            async with asyncio.timeout(self._silence):
                data = await self._reader.read(min(left, CHUNK))
            if not data:
                raise EOFError
            left -= len(data)
            yield data

    async def _chunk_size(self) -> int:
        match = CHUNK_SIZE.fullmatch(await self._line())
        if match is None:
            raise NotPlainError("its chunks cannot be read")
        return int(match[1], 16)

    async def _line(self) -> bytes:
        async with asyncio.timeout(self._silence):
            try:
                return await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:
                raise NotPlainError("its chunks cannot be read") from error
