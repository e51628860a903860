"""Reads a compressed file as a stream of bytes of bounded size.

The file must be exactly one compressed stream. RFC 1952 2.2 allows several in gzip, but not all readers go on after the
first, so a second one could hide another archive.
"""

from __future__ import annotations

from typing import BinaryIO

from pkgindex_core.formats.archives.bounds import MIB, ArchiveLimits, Budget
from pkgindex_core.formats.archives.decompressors import DAMAGES, OF_STREAMS

_PIECE = MIB // 16
_OUTPUT = MIB // 4


class StreamError(Exception):
    """The stream is damaged, cut off or too large; the text says which."""


class CompressedStream:
    """Reads bytes from the front. Every method raises `StreamError` when there are too few bytes."""

    def __init__(self, file: BinaryIO, file_size: int, compression: str, limits: ArchiveLimits, budget: Budget) -> None:
        self._compression = compression
        self._decompressor = OF_STREAMS[compression][1]()
        self._file = file
        self._file_size = file_size
        self._limits = limits
        self._budget = budget
        self._consumed = 0
        self._piece = b""
        self._position = 0
        self.unpacked = 0
        """The number of unpacked bytes so far."""
        file.seek(0)

    def take(self, size: int) -> bytes:
        """Read the next `size` bytes."""
        end = self._position + size
        if end <= len(self._piece):
            taken = self._piece[self._position : end]
            self._position = end
            return taken
        parts = [self._piece[self._position :]]
        missing = size - len(parts[0])
        while missing:
            if not self._fill():
                raise StreamError("the archive is cut off")
            self._position = min(missing, len(self._piece))
            parts.append(self._piece[: self._position])
            missing -= self._position
        return b"".join(parts)

    def skip(self, size: int) -> None:
        """Skip the next `size` bytes."""
        missing = size - (len(self._piece) - self._position)
        if missing <= 0:
            self._position += size
            return
        while missing > 0:
            if not self._fill():
                raise StreamError("the archive is cut off")
            self._position = min(missing, len(self._piece))
            missing -= self._position

    def finish(self, padding: int) -> None:
        """Read to the end. At most `padding` zero bytes may be left; the trailer must be right, and nothing may follow it."""
        left = self._piece[self._position :]
        length = 0
        while True:
            length += len(left)
            if left != bytes(len(left)) or length > padding:
                raise StreamError("bytes follow the end of the tar archive")
            if not self._fill():
                return
            left = self._piece

    def _fill(self) -> bool:
        """Replace the current piece by the next one; False at the end of the stream."""
        data = b""
        ended = self._decompressor.eof
        while not ended:
            self._budget.check()
            try:
                # Call it without further input too: output of the last round may be left.
                piece = self._decompressor.decompress(data, _OUTPUT)
            except DAMAGES:
                raise StreamError(f"the {self._compression} stream is damaged") from None
            ended = self._decompressor.eof
            if piece:
                self._count(len(piece))
                self._piece = piece
                self._position = 0
                return True
            if not ended:
                data = self._file.read(_PIECE)
                self._consumed += len(data)
                if not data:
                    raise StreamError(f"the {self._compression} stream is cut off")
        self._piece = b""
        self._position = 0
        if self._decompressor.unused_data or self._file.read(1):
            raise StreamError(f"bytes follow the {self._compression} stream")
        return False

    def _count(self, size: int) -> None:
        self.unpacked += size
        limits = self._limits
        if self.unpacked > limits.uncompressed_bytes:
            raise StreamError(f"the archive unpacks to more than the limit of {limits.uncompressed_bytes} bytes")
        if self.unpacked <= limits.free_bytes:
            return
        if (
            self.unpacked > limits.ratio * self._file_size
            or self.unpacked > limits.steep_ratio * self._consumed + _OUTPUT
        ):
            raise StreamError(
                f"the archive unpacks to more than {limits.ratio} times its own size: it looks like a bomb"
            )
