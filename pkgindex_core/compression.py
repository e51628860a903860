"""Content codings of pages. A page is compressed once, not for each request.

pip takes gzip; uv and poetry prefer zstd. Files are never coded: wheels and sdists are compressed already, and a
range of a coded file is not a range of the file (RFC 9110 14).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from isal import isal_zlib
from msgspec import Struct

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZstdError = zstd.ZstdError
InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub declares an instance

CODINGS: Final = ("zstd", "gzip")
"""The supported codings, the best first."""

_GZIP_LEVEL = 1
"""A page is mostly digests, which do not compress. The higher levels of ISA-L take longer and give more bytes; level 3 of zlib takes at least three
times as long for 10 % more bytes."""
_GZIP_BITS = 16 + isal_zlib.MAX_WBITS
"""A window of 32 KiB, and the header of gzip in place of zlib's."""
GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_RECODED_BYTES = 256 * 1024
_ZSTD_LEVEL = 1
"""Faster than higher levels, and its pages are smaller than those of most of them."""


def compress(body: bytes | memoryview, coding: str) -> bytes:
    """Compress a body; `identity` returns it unchanged. The same input gives the same bytes."""
    if coding == "gzip":
        return isal_zlib.compress(body, _GZIP_LEVEL, _GZIP_BITS)  # its header says no time
    if coding == "zstd":
        return zstd.compress(body, _ZSTD_LEVEL)
    return bytes(body)  # no copy of bytes


def decompress(body: bytes | memoryview, coding: str) -> bytes:
    """Undo `compress`. For trusted bodies only: the size of the result is not bounded."""
    if coding == "gzip":
        return isal_zlib.decompress(body, _GZIP_BITS)
    if coding == "zstd":
        return zstd.decompress(body)
    return bytes(body)  # no copy of bytes


def zstd_decompressor(memory_bytes: int) -> zstd.ZstdDecompressor:
    """Make a decompressor for an untrusted stream with a window of at most `memory_bytes`; it raises `ZstdError`."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: memory_bytes.bit_length() - 1})


def inflater(coding: str) -> Any:
    """Make a decompressor like `zlib.decompressobj`, more than twice as fast, for an untrusted stream of `gzip` or `deflate` (RFC 9110 8.4.1).

    It verifies the checksum at the end and raises `InflateError`. Unlike zlib it ignores reserved bits in the header of gzip.
    """
    return isal_zlib.decompressobj(isal_zlib.MAX_WBITS if coding == "deflate" else _GZIP_BITS)


class GzipPart(Struct, frozen=True):
    """A piece of a body, compressed without regard to the other pieces, with its checksum and length before."""

    data: bytes | memoryview
    crc: int
    size: int


def gzip_part(piece: bytes, *, is_last: bool = False) -> GzipPart:
    """Compress a piece of a body for `gzip_of`."""
    coder = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    # The flush ends the last block at a whole byte, where other blocks may follow (RFC 1951 3.2.4).
    data = coder.compress(piece) + coder.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_FULL_FLUSH)
    return GzipPart(data, isal_zlib.crc32(piece), len(piece))


def inflated(part: GzipPart) -> bytes:
    """The piece of which a part was made."""
    return isal_zlib.decompressobj(-isal_zlib.MAX_WBITS).decompress(part.data)


def gzip_of(parts: Sequence[GzipPart]) -> tuple[bytes, Sequence[GzipPart]]:
    """Join pieces to one member of gzip (RFC 1952), which every client reads, and return it with the pieces as views of it. The last piece is `is_last`."""
    crc = size = 0
    for part in parts:
        crc = isal_zlib.crc32_combine(crc, part.crc, part.size)
        size += part.size
    ends = struct.pack("<II", crc, size % 2**32)
    body = b"".join([GZIP_HEADER, *(part.data for part in parts), ends])
    view, place, views = memoryview(body), len(GZIP_HEADER), []
    for part in parts:
        views.append(GzipPart(view[place : place + len(part.data)], part.crc, part.size))
        place += len(part.data)
    return body, views


def recoded(body: bytes | memoryview, coding: str) -> bytes:
    """Compress a trusted body of gzip by another coding, piece by piece."""
    plain, coder = inflater("gzip"), Compressor(coding)
    for start in range(0, len(body), _RECODED_BYTES):
        coder.add(plain.decompress(body[start : start + _RECODED_BYTES]))
    return coder.finish()


class Compressor:
    """Compresses a body that comes in pieces. Only the compressed form is held in memory."""

    def __init__(self, coding: str) -> None:
        self._coder: Any = None
        if coding == "gzip":
            self._coder = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP_BITS)
        elif coding == "zstd":
            self._coder = zstd.ZstdCompressor(_ZSTD_LEVEL)
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self._pieces.append(self._coder.compress(piece) if self._coder else piece)

    def finish(self) -> bytes:
        """Return the whole compressed body. Nothing can be added afterwards."""
        if self._coder:
            self._pieces.append(self._coder.flush())
        body = b"".join(self._pieces)
        self._pieces.clear()
        return body
