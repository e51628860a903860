"""Decoding an answer's body within bounds, so that a compressed body cannot fill the memory.

Pure: bytes in, bytes out. aiohttp's own decompression is switched off for upstreams, since it has no bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

from pkgindex_core.compression import InflateError, inflater

EXPANSION_LIMIT = 200
"""Largest accepted ratio of decoded to received bytes. Real pages reach 30, deflate can reach 1,000."""
EXPANSION_FLOOR = 16 * 1024 * 1024
"""Decoded bytes up to which the ratio is not checked."""
_STEP = 1024 * 1024


class BodyRefusedError(Exception):
    """The body is larger than allowed, or its encoding is broken; the message says which."""


def too_large(limit: int) -> BodyRefusedError:
    return BodyRefusedError(
        f"the page is larger than {limit} bytes (setting page_limit of the mirror plugin, in [plugins.mirror])"
    )


class BodyDecoder:
    """Collects one body. `encoding` is the Content-Encoding header."""

    def __init__(self, encoding: str, limit: int) -> None:
        self._limit = limit
        self._body = BytesIO()
        self.received = 0
        """Bytes on the wire."""
        self._coding = encoding.strip().lower()
        if self._coding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise BodyRefusedError(f"content encoding {self._coding[:40]!r} was not asked for")
        self._inflater: Any = None if self._coding in {"", "identity"} else inflater(self._coding)

    def feed(self, data: bytes) -> None:
        for piece in self._decoded(data):
            self._take(piece)

    def _decoded(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes, at most `_STEP` at a time if they were compressed."""
        self.received += len(data)
        if self._inflater is None:
            yield data
            return
        while data:
            try:
                yield self._inflater.decompress(data, _STEP)
            except InflateError as error:
                raise BodyRefusedError("the compressed body is broken") from error
            data = self._rest()

    def _rest(self) -> bytes:
        """Bytes that the inflater has not taken yet."""
        if not self._inflater.eof:
            rest: bytes = self._inflater.unconsumed_tail
            return rest
        rest = self._inflater.unused_data
        if rest:  # gzip allows several members behind one another
            self._inflater = inflater(self._coding)
        return rest

    def beginning(self) -> bytes:
        """The bytes decoded so far."""
        return self._body.getvalue()

    def finish(self) -> bytes:
        """The whole body. Raises `BodyRefusedError` if it was cut off."""
        if self._inflater is not None and not self._inflater.eof and self.received:
            self._take(self._inflater.flush(_STEP))
            if not self._inflater.eof:
                raise BodyRefusedError("the compressed body was cut off")
        return self._body.getvalue()  # not a copy: nothing is written any more

    def _take(self, data: bytes) -> None:
        self._body.write(data)
        self._check(self._body.tell())

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise too_large(self._limit)
        if size > EXPANSION_FLOOR and size > self.received * EXPANSION_LIMIT:
            raise BodyRefusedError("the page's compressed body expands suspiciously")


class PieceDecoder(BodyDecoder):
    """Hands one body on in pieces, none of which is kept."""

    def __init__(self, encoding: str, limit: int) -> None:
        super().__init__(encoding, limit)
        self._size = 0
        self._piece = b""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """The decoded bytes, at most a mebibyte at a time if they were compressed."""
        for piece in self._decoded(data):
            self._take(piece)
            yield self._piece

    def last_piece(self) -> bytes:
        """The end of the body. Raises `BodyRefusedError` if it was cut off."""
        self._piece = b""
        self.finish()
        return self._piece

    def _take(self, data: bytes) -> None:
        self._piece = data
        self._size += len(data)
        self._check(self._size)
