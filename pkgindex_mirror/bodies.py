"""Decoding an answer's body within bounds: what a stranger compressed does not decide how much memory we use.

Pure: bytes in, bytes out. aiohttp's own decompression is switched off for upstreams, since it has no bound.
"""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

EXPANSION_LIMIT = 200
"""Honest pages shrink to a thirtieth; deflate at its extreme reaches a thousandth."""
EXPANSION_FLOOR = 16 * 1024 * 1024
"""Below this size no ratio is too large."""
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
        """Bytes as they came over the wire."""
        coding = encoding.strip().lower()
        if coding in {"", "identity"}:
            self._bits = 0
        elif coding in {"gzip", "x-gzip"}:
            self._bits = 16 + zlib.MAX_WBITS
        elif coding == "deflate":
            self._bits = zlib.MAX_WBITS
        else:
            raise BodyRefusedError(f"content encoding {coding[:40]!r} was not asked for")
        self._inflater: Any = zlib.decompressobj(self._bits) if self._bits else None

    def feed(self, data: bytes) -> None:
        self.received += len(data)
        if self._inflater is None:
            self._take(data)
            return
        while data:
            try:
                self._take(self._inflater.decompress(data, _STEP))
            except zlib.error as error:
                raise BodyRefusedError("the compressed body is broken") from error
            if self._inflater.eof:
                data = self._inflater.unused_data
                if data:  # gzip allows several members behind one another
                    self._inflater = zlib.decompressobj(self._bits)
            else:
                data = self._inflater.unconsumed_tail

    def beginning(self) -> bytes:
        """What has been decoded so far."""
        return self._body.getvalue()

    def finish(self) -> bytes:
        """The whole body; refuses one that was cut off."""
        if self._inflater is not None and not self._inflater.eof and self.received:
            self._take(self._inflater.flush(_STEP))
            if not self._inflater.eof:
                raise BodyRefusedError("the compressed body was cut off")
        return self._body.getvalue()  # not a copy: nothing is written any more

    def _take(self, data: bytes) -> None:
        self._body.write(data)
        size = self._body.tell()
        if size > self._limit:
            raise too_large(self._limit)
        if size > EXPANSION_FLOOR and size > self.received * EXPANSION_LIMIT:
            raise BodyRefusedError("the page's compressed body expands suspiciously")
