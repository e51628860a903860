"""Stopping without cutting anybody off: which connections have a request under way, and how the last of them end.

aiohttp's own shutdown takes no more bytes from any connection, so an upload that is under way can never finish; it waits twice
as long as it is told to; and it does not wait for what a slow client has not read yet, which is lost when the process ends.
Here a stop goes like this, within one bound:

    nobody new is let in  ->  idle connections are closed  ->  each busy one is closed when its answer was written
                          ->  closed ones stay until the client has everything  ->  what is left then is cut
"""

from __future__ import annotations

import asyncio

from aiohttp import web

_LOOK_SECONDS = 0.01


class UnderWay:
    """The connections that are answering a request, until the last byte of the answer was handed to the connection."""

    def __init__(self) -> None:
        self._tasks: dict[web.RequestHandler, asyncio.Task[object]] = {}

    def begin(self, request: web.BaseRequest) -> None:
        """Note a request. Called in its task, in which aiohttp writes the answer as well."""
        task = asyncio.current_task()
        assert task is not None
        connection = request.protocol
        self._tasks[connection] = task
        task.add_done_callback(lambda ended: self._end(connection, ended))

    def __contains__(self, connection: object) -> bool:
        return connection in self._tasks

    def _end(self, connection: web.RequestHandler, ended: asyncio.Task[object]) -> None:
        if self._tasks.get(connection) is ended:  # else the next request of the connection has begun
            del self._tasks[connection]


async def drain(server: web.Server, under_way: UnderWay, *, seconds: float) -> None:
    """Wait until every connection has ended, at most so long. No new ones may come in meanwhile."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while server.connections and loop.time() < deadline:
        for connection in server.connections:
            if connection not in under_way:
                connection.force_close()  # what was written is still sent
        await asyncio.sleep(_LOOK_SECONDS)
