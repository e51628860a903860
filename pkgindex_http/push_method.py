"""PUSH, the method that devpi's client has made up, over a parser that knows the registered methods only.

The word is replaced by one of the same length that the parser knows (BIND, RFC 5842) and put back in what the parser makes of it. Only the
first word of a request may be replaced: the same letters in a header or in a body are somebody's data. Where a request begins is the
parser's knowledge, and it does not tell. So what arrives is handed over in pieces that end before each such word, and the parser stands
between two requests when the last byte of a piece has completed one.
"""

from __future__ import annotations

from typing import Final

from aiohttp import StreamReader, web
from aiohttp.http_parser import RawRequestMessage

PUSH: Final = "PUSH"
_WORD: Final = b"PUSH "
_STAND_IN: Final = "BIND"
_END_OF_HEAD: Final = b"\r\n\r\n"
_MISSES: Final = 64
"""How often the word may turn out to be data of a chunked body before it is no longer looked for: a client could make us look for ever."""


class PushingConnection(web.RequestHandler):
    """A connection on which PUSH is a method."""

    _held = b""
    """What has arrived and waits: for the parser to go on, or for the rest of a word that may become PUSH."""
    _payload: StreamReader | None = None
    """The body of the last request that was parsed."""
    _length: int | None = None
    """The bytes of that body, if the request says."""
    _completed = True
    """The last byte that was handed over has completed a request, or none has been handed over."""
    _renamed = False
    """The request that has begun is a PUSH under the name that the parser knows."""
    _misses = 0

    def data_received(self, data: bytes) -> None:
        """Take what the client sent; aiohttp calls this without data when the parser may go on with what it kept."""
        if not data:
            self._parse(b"")
        self._held += data
        if self._upgraded:  # what follows is kept until the request that asked for it is answered
            data, self._held, self._completed = self._held, b"", False
            self._parse(data)
        while self._held and not self._is_full:
            piece = self._next_piece()
            if not piece:
                return
            self._hand_over(piece)

    @property
    def is_between_requests(self) -> bool:
        """Whether every byte that was handed over belongs to a complete request."""
        return self._completed and (self._payload is None or self._payload.is_eof())

    @property
    def _is_full(self) -> bool:
        """Whether the parser keeps what it is given for later: the body is read too slowly, or many requests wait."""
        return self._reading_paused or len(self._messages) >= self._max_msg_queue_size

    @property
    def _left(self) -> int | None:
        """How much of the body is still to come, where the request says how long it is."""
        if self._length is None or self._payload is None or self._payload.is_eof():
            return None
        return self._length - self._payload.total_bytes

    def _next_piece(self) -> bytes:
        """What can be handed over now: up to the next word that may be a method. Nothing while that is still to be seen."""
        start = 0
        if self.is_between_requests:
            self._misses = 0
            if self._held.startswith(_WORD):
                self._held = self._held[len(_WORD) :]
                self._renamed = True
                return f"{_STAND_IN} ".encode()
            if _WORD.startswith(self._held):
                return b""
        elif self._left is not None:
            piece, self._held = self._held[: self._left], self._held[self._left :]
            return piece
        elif self._held.startswith(_WORD):
            self._misses += 1
            start = len(_WORD)
        stop = self._held.find(_WORD, start) if self._misses < _MISSES else -1
        if stop < 0:
            stop = len(self._held)
            if self._held[-1] in _WORD:  # perhaps its beginning
                begun = next((size for size in range(len(_WORD) - 1, 0, -1) if self._held.endswith(_WORD[:size])), 0)
                stop -= begun if begun < stop else 0
        piece, self._held = self._held[:stop], self._held[stop:]
        return piece

    def _hand_over(self, piece: bytes) -> None:
        """Let the parser have a piece, and see whether its last byte completes a request."""
        if self.is_between_requests and not piece.strip(b"\r\n"):
            self._parse(piece)  # RFC 9112 2.2: empty lines before a request are ignored
            return
        if piece.endswith(_END_OF_HEAD):
            # No head goes on behind an empty line: either a body does, or nothing.
            self._parse(piece)
            self._completed = True
            return
        self._completed = False
        if len(piece) > 1:
            self._parse(piece[:-1])
            if self._is_full:
                self._held = piece[-1:] + self._held
                return
        before = self._state()
        self._parse(piece[-1:])
        self._completed = self._state() != before

    def _state(self) -> tuple[int, bool]:
        """What changes when a request is completed: by its head, or by the end of its body."""
        return self._request_count, self._payload is None or self._payload.is_eof()

    def _parse(self, data: bytes) -> None:
        parsed = self._request_count
        super().data_received(data)
        new = self._request_count - parsed
        if not new:
            return
        latest, self._payload = self._messages[-1]
        length = latest.headers.get("Content-Length") if isinstance(latest, RawRequestMessage) else None
        self._length = int(length) if length is not None else None
        if self._renamed:
            self._renamed = False
            first = len(self._messages) - new
            message, payload = self._messages[first]
            if isinstance(message, RawRequestMessage) and message.method == _STAND_IN:
                self._messages[first] = (message._replace(method=PUSH), payload)
