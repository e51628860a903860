"""One interface to the decompressors of tar archives and zip members.

    while piece := decompressor.decompress(data, most): …     data is given once, then b""

`most` bounds the output, and `MEMORY_BYTES` the memory that a stream may ask for.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pkgindex_core.compression import ZstdError, zstd_decompressor
from pkgindex_core.formats.archives.bounds import MIB

MEMORY_BYTES: Final = 96 * MIB
"""A stream declares the memory that it needs, which may be gigabytes. `xz -9` needs at most 65 MiB."""

STORED = 0
DEFLATED = 8
BZIP2 = 12
LZMA = 14
ZSTD = 93

DAMAGES: Final = (zlib.error, lzma.LZMAError, ZstdError, OSError, EOFError, ValueError)
"""The errors of decompressors for damaged input."""

_LZMA_HEAD = struct.Struct("<2xHBI")


class Decompressor(Protocol):
    """Takes a stream piece by piece. Raises one of `DAMAGES`."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended. Then nothing more may be given."""
        ...

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most `max_length` bytes; none when more input is needed."""
        ...


class Inflater:
    """A decompressor of zlib that keeps the input which is not processed yet."""

    def __init__(self, window_bits: int) -> None:
        self._inflater = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        waiting = self._inflater.unconsumed_tail
        return self._inflater.decompress(waiting + data if waiting else data, max_length)


class _ZipLzma:
    """LZMA in zips (APPNOTE 5.8): its properties stand before the raw stream."""

    def __init__(self) -> None:
        self._head = b""
        self._decompressor: lzma.LZMADecompressor | None = None

    @property
    def eof(self) -> bool:
        return self._decompressor is not None and self._decompressor.eof

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data if self._decompressor is not None else b""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        if self._decompressor is None:
            self._head += data
            if len(self._head) < _LZMA_HEAD.size:
                return b""
            length, packed, dictionary = _LZMA_HEAD.unpack_from(self._head)
            if length != 5 or packed >= 9 * 5 * 5 or dictionary > MEMORY_BYTES:
                raise ValueError("these properties are malformed, or ask for too much memory")
            filters = [
                {
                    "id": lzma.FILTER_LZMA1,
                    "lc": packed % 9,
                    "lp": packed // 9 % 5,
                    "pb": packed // 45,
                    "dict_size": dictionary,
                }
            ]
            self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
            data, self._head = self._head[_LZMA_HEAD.size :], b""
        return self._decompressor.decompress(data, max_length)


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)


OF_ZIP_MEMBERS: Final[Mapping[int, Callable[[], Decompressor]]] = {
    DEFLATED: lambda: Inflater(-zlib.MAX_WBITS),
    BZIP2: bz2.BZ2Decompressor,
    LZMA: _ZipLzma,
    ZSTD: lambda: zstd_decompressor(MEMORY_BYTES),
}
"""By the method that a zip's headers name."""

OF_STREAMS: Final[Mapping[str, tuple[bytes, Callable[[], Decompressor]]]] = {
    "gzip": (b"\x1f\x8b\x08", lambda: Inflater(16 + zlib.MAX_WBITS)),
    "bzip2": (b"BZh", bz2.BZ2Decompressor),
    "xz": (b"\xfd7zXZ\0", _xz),
}
"""The first bytes of a stream, and its decompressor."""
