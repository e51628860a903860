"""Content codings for pages: made once per page, never per request.

gzip is what pip takes, zstd what uv and poetry prefer. Files are never coded: wheels and sdists are compressed already, and a
range of a coded file is not a range of the file (RFC 9110 14).
"""

from __future__ import annotations

import gzip
import sys
import zlib
from typing import Any, Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZstdError = zstd.ZstdError

CODINGS: Final = ("zstd", "gzip")
"""The codings on offer, the better first."""

_GZIP_LEVEL = 3
"""A page is mostly digests, which no level shrinks: level 6 takes three times as long for 7 % fewer bytes."""
_ZSTD_LEVEL = 1
"""Faster than the levels above, and on pages smaller than most of them."""


def compress(body: bytes, coding: str) -> bytes:
    """Code a body; `identity` returns it as it is. The same input gives the same bytes."""
    if coding == "gzip":
        return gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)
    if coding == "zstd":
        return zstd.compress(body, _ZSTD_LEVEL)
    return body


def decompress(body: bytes, coding: str) -> bytes:
    """What `compress` was given. For bodies of our own: nothing bounds what comes out."""
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "zstd":
        return zstd.decompress(body)
    return body


def zstd_decompressor(memory_bytes: int) -> zstd.ZstdDecompressor:
    """For a stream of somebody else's that may refer back at most so far; raises `ZstdError`."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: memory_bytes.bit_length() - 1})


class Compressor:
    """The same for a body that comes in pieces, of which only the coded form is held."""

    def __init__(self, coding: str) -> None:
        self._coder: Any = None
        if coding == "gzip":
            self._coder = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        elif coding == "zstd":
            self._coder = zstd.ZstdCompressor(_ZSTD_LEVEL)
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self._pieces.append(self._coder.compress(piece) if self._coder else piece)

    def finish(self) -> bytes:
        """The whole body. Nothing can be added any more."""
        if self._coder:
            self._pieces.append(self._coder.flush())
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body
