"""Lets aiohttp's parser, which knows registered methods only, read devpi's own method PUSH.

The word is replaced by a registered method of the same length (BIND, RFC 5842), and put back in the parsed request. Only the
first word of a request may be replaced, since a header or a body may contain the same letters. The parser does not tell where a
request begins. So bytes are passed to it in pieces that end before each `PUSH `, and the next request begins there if the
last byte of the piece completes a request.
"""

from __future__ import annotations

from typing import Final

from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from pkgindex_http.wire import web

PUSH: Final = "PUSH"
_WORD: Final = b"PUSH "
_STAND_IN: Final = "BIND"
_END_OF_HEAD: Final = b"\r\n\r\n"
_MISSES: Final = 64
"""How often the word may be data of a chunked body before the search for it ends, so that a client cannot cause endless work."""


class PushingConnection(web.RequestHandler):
    """A connection that understands the method PUSH."""

    _held = b""
    """Bytes that arrived and wait for the parser, or for the rest of a word that may be PUSH."""
    _payload: StreamReader | None = None
    """The body of the last request that was parsed."""
    _length: int | None = None
    """The length of that body in bytes, if the request has a Content-Length."""
    _completed = True
    """Whether the last byte that the parser got completed a request. True at the start."""
    _renamed = False
    """Whether the request that the parser reads is a PUSH under the name BIND."""
    _misses = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client. aiohttp calls this without data when the parser can go on with bytes that it kept."""
        if not data:
            self._parse(b"")
        self._held += data
        if self._upgraded:  # the parser keeps all further bytes until the upgrade request is answered
            data, self._held, self._completed = self._held, b"", False
            self._parse(data)
        while self._held and not self._is_full:
            piece = self._next_piece()
            if not piece:
                return
            self._hand_over(piece)

    @property
    def is_between_requests(self) -> bool:
        """Whether all bytes that the parser got belong to complete requests."""
        return self._completed and (self._payload is None or self._payload.is_eof())

    @property
    def _is_full(self) -> bool:
        """Whether the parser takes no more bytes now: the body is read too slowly, or too many requests wait."""
        return self._reading_paused or len(self._messages) >= self._max_msg_queue_size

    @property
    def _left(self) -> int | None:
        """The bytes of the body that are still to come, if its length is known."""
        if self._length is None or self._payload is None or self._payload.is_eof():
            return None
        return self._length - self._payload.total_bytes

    def _next_piece(self) -> bytes:
        """The bytes for the parser, up to the next word that may be a method. Empty while that word is incomplete."""
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
            if self._held[-1] in _WORD:  # the end may be the beginning of the word
                begun = next((size for size in range(len(_WORD) - 1, 0, -1) if self._held.endswith(_WORD[:size])), 0)
                stop -= begun if begun < stop else 0
        piece, self._held = self._held[:stop], self._held[stop:]
        return piece

    def _hand_over(self, piece: bytes) -> None:
        """Pass a piece to the parser, and note whether its last byte completes a request."""
        if self.is_between_requests and not piece.strip(b"\r\n"):
            self._parse(piece)  # RFC 9112 2.2: empty lines before a request are ignored
            return
        if piece.endswith(_END_OF_HEAD):
            # An empty line ends a head, so the request is complete unless it has a body.
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
        """Values that change when a head or a body is complete."""
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
