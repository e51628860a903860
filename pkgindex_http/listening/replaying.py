"""A connection that repeats kept answers (`replays`), and is an ordinary connection of aiohttp for everything else.

The bytes of one read are looked up only if the connection waits for a request and has nothing else to do:

    no request is unanswered or half received: aiohttp's task waits, its queue is empty, the parser is between requests, no byte is held back
    the connection goes on: it is not closing, not upgraded, neither reading nor writing is paused

A client may send its next request before the task of the answered one has come back to wait for it, which takes a turn of the event loop. Such bytes are taken
a turn later; otherwise a quick client would have each of its requests parsed.

So the answer comes behind all earlier ones, and the parser, which does not see the request, is in the same state before and after it. Bytes that
are not exactly one kept request go to the parser: a part of a request, several requests, a request with a body.

A request is kept with the bytes from which aiohttp parsed it: one read on such a connection, of which the parser made exactly one request, to its last
byte.

A repeated answer counts like another one: for the time of the next keep-alive and of silence, in the number of requests, and in the access log.
"""

from __future__ import annotations

from typing import Any

from pkgindex_http.access_log import AccessLogger
from pkgindex_http.listening.replays import KeptAnswer, Replays, may_be_whole
from pkgindex_http.wire import web
from pkgindex_http.wire.push_method import PushingConnection
from pkgindex_http.wire.replies import write_whole


class ReplayingConnection(PushingConnection):
    """Looks up requests before they are parsed."""

    def __init__(self, manager: web.Server, *, replays: Replays | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._replays = replays
        self._latest: tuple[Any, bytes] | None = None
        """The last parsed request that may be kept, and its bytes."""
        self._later = b""
        """Bytes that are taken in the next turn of the event loop."""
        self._peer: str | None = None

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if data and (self._later or (self._replays is not None and may_be_whole(data) and self._is_returning)):
            if not self._later:
                self._loop.call_soon(self._take_later)
            self._later += data
            return
        self._take(data)

    def _take_later(self) -> None:
        data, self._later = self._later, b""
        if self.transport is not None:
            self._take(data)

    def _take(self, data: bytes) -> None:
        if self._replays is None or not data or not self._is_free:
            super().data_received(data)
            return
        manager = self._manager
        kept = self._replays.find(data, self._remote, connections=len(manager._connections) if manager else 0)
        if kept is not None:
            self._repeat(kept)
            return
        before = self._request_count
        super().data_received(data)
        self._latest = None
        if may_be_whole(data) and self._request_count == before + 1 and self._messages and self.is_between_requests:
            self._latest = self._messages[0][0], data

    def whole(self, request: web.BaseRequest) -> bytes | None:
        """The bytes of a request, if they were one read. They are returned once."""
        latest, self._latest = self._latest, None
        return latest[1] if latest is not None and latest[0] is request._message else None

    @property
    def _is_returning(self) -> bool:
        """Whether the task has nothing to do but to come back and wait, which it does before what is scheduled now."""
        return (
            self._waiter is None
            and not self._request_in_progress
            and not self._messages
            and not self._held
            and self.is_between_requests
            and not (self._close or self._force_close or self._upgraded)
        )

    @property
    def _is_free(self) -> bool:
        """Whether the connection waits for a request and nothing else."""
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self._held
            and self.is_between_requests
            and self._keepalive
            and self._keepalive_handle is not None
            and not (self._close or self._force_close or self._upgraded)
            and not (self._paused or self._reading_paused or self._buffer_paused)
            and self.transport is not None
            and not self.transport.is_closing()
        )

    @property
    def _remote(self) -> str:
        """The address of the peer, as requests have it."""
        if self._peer is None:
            name = self.peername
            self._peer = "" if name is None else str(name[0] if isinstance(name, tuple | list) else name)
        return self._peer

    def _repeat(self, kept: KeptAnswer) -> None:
        """Answer as `RequestHandler.start` and `WholeResponse` do."""
        manager, transport = self._manager, self.transport
        assert manager is not None, "the connection is free"
        assert transport is not None, "the connection is free"
        started = self._loop.time()
        self._request_count += 1
        manager.requests_count += 1
        if kept.file is not None:
            kept.file.write(transport, kept.head)
        else:
            write_whole(transport, kept.head, kept.reply.body if kept.has_body else b"")
        if kept.reply.again is not None:
            kept.reply.again()
        self._next_keepalive_close_time = started + self._keepalive_timeout
        if self._logging_enabled and isinstance(self.access_logger, AccessLogger):
            self.access_logger.logger.add(
                kept.line, kept.client if kept.peer is not None else self._remote, self._loop.time() - started
            )
