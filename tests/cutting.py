"""A proxy on loopback that passes bytes on, counts the turns of a conversation, and cuts connections when a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self


class Cutting:
    """Connections to a port, passed on to another one."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.turns = 0
        """How often the client has spoken after the server."""
        self.cut_answer_after: Callable[[bytes], bool] | None = None
        """If it is true of what the client sends, that is passed on, and the connection is cut instead of the answer. Then it is unset."""
        self.is_last = False
        """Whether no connection is taken after that."""
        self.cut = 0
        """Answers that were cut off."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for each in tuple(self._open):
            each.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted transport closes its socket in the next turn

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_last and self.cut:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, to_server}
        self._open |= both
        lost = asyncio.Event()
        heard = True

        async def ask() -> None:
            nonlocal heard
            while data := await reader.read(1 << 20):
                self.turns, heard = self.turns + heard, False
                if self.cut_answer_after is not None and self.cut_answer_after(data):
                    self.cut_answer_after = None
                    lost.set()
                to_server.write(data)
                await to_server.drain()

        async def answer() -> None:
            nonlocal heard
            while data := await from_server.read(1 << 20):
                if lost.is_set():  # the server has done it, and nobody hears of it
                    self.cut += 1
                    return
                heard = True
                writer.write(data)
                await writer.drain()

        tasks = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        with contextlib.suppress(OSError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._open -= both
        for each in both:
            each.transport.abort()
