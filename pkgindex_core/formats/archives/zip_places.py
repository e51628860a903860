"""Finds and unpacks single members of a zip, without the rest of it.

A member is looked up in the zip's directory, which stands at its end, and unpacked from its own bytes. So no name in a zip becomes a path of
the file system, and reading a member reads only the directory and that member.

    directory = read_directory(tail, size)             the last bytes of the zip; `TooShortError` says how many more
    place = directory.members["guide/index.html"]      the span of its bytes
    unpacking = Unpacking(place)                        fed with these, gives the member, or `DamagedError`

Zips from elsewhere may be unchecked: members that an upload could not have are not found in them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping

from msgspec import Struct

from pkgindex_core.clock import SystemClock
from pkgindex_core.formats.archives.bounds import DEFAULT_LIMITS, MIB, ArchiveLimits, Budget
from pkgindex_core.formats.archives.decompressors import DAMAGES, LZMA, OF_ZIP_MEMBERS, STORED, Decompressor
from pkgindex_core.formats.archives.member_names import name_problem, shown
from pkgindex_core.formats.archives.zip_contents import DamagedError
from pkgindex_core.formats.archives.zip_framing import read_entries
from pkgindex_core.formats.upload_rules import Findings

_LOCAL = struct.Struct("<4s22x2H")
_PIECE = MIB
_ENCRYPTED = 1


class MemberPlace(Struct, frozen=True, gc=False):
    """The position of one member in a zip, and the size and checksum of its unpacked bytes. In bytes."""

    name: str
    start: int
    """The start of its header. The data follow the header."""
    stop: int
    """The start of the next member or of the directory."""
    packed: int
    size: int
    crc: int
    method: int


class ZipDirectory(Struct, frozen=True):
    """The members of a zip that can be read, by path, and the number of others. Directories are neither."""

    members: Mapping[str, MemberPlace]
    left_out: int


class TooShortError(Exception):
    """The directory begins at `start`, before the given bytes."""

    def __init__(self, start: int) -> None:
        super().__init__(f"the directory begins at {start}")
        self.start = start


def read_directory(tail: bytes, size: int, limits: ArchiveLimits = DEFAULT_LIMITS) -> ZipDirectory:
    """Read the directory of a zip of `size` bytes from its last bytes, `tail`.

    Raises `Refused` for a malformed zip.
    """
    entries, directory = read_entries(
        _Tail(tail, size - len(tail)), size, limits, Budget(limits, SystemClock()), Findings()
    )
    entries.sort(key=lambda entry: entry.offset)
    stops = [*(entry.offset for entry in entries[1:]), directory]
    members: dict[str, MemberPlace] = {}
    left_out = 0
    for entry, stop in zip(entries, stops, strict=True):
        if entry.name.endswith("/"):
            continue
        takes = (entry.method == STORED or entry.method in OF_ZIP_MEMBERS) and not entry.flags & _ENCRYPTED
        if takes and stop > entry.offset and entry.name not in members and name_problem(entry.name) is None:
            members[entry.name] = MemberPlace(
                entry.name, entry.offset, stop, entry.packed, entry.size, entry.crc, entry.method
            )
        else:
            left_out += 1
    return ZipDirectory(members, left_out)


class Unpacking:
    """Unpacks one member: takes the bytes of its span, and gives the unpacked bytes in pieces of at most a mebibyte.

    Damage raises `DamagedError`, at the latest in `finish`. A caller that holds the last piece back until then never sends a
    complete page with wrong bytes.
    """

    def __init__(self, place: MemberPlace) -> None:
        self._place = place
        self._decompressor = None if place.method == STORED else OF_ZIP_MEMBERS[place.method]()
        self._header: bytes | None = b""
        self._packed_left = place.packed
        self._size = 0
        self._crc = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the span; yield the unpacked ones."""
        if self._header is not None:
            data = self._skip_header(self._header + data)
        data = data[: self._packed_left]
        self._packed_left -= len(data)
        if self._decompressor is None:
            pieces: Iterator[bytes] = iter((data,) if data else ())
        else:
            pieces = self._decompressed(self._decompressor, data)
        for piece in pieces:
            self._size += len(piece)
            if self._size > self._place.size:
                raise DamagedError(f"the member {shown(self._place.name)} is larger than its header says")
            self._crc = zlib.crc32(piece, self._crc)
            yield piece

    def finish(self) -> None:
        """Raise unless all bytes came and match the directory."""
        # APPNOTE 4.4.4: an LZMA stream may lack an end mark; then the size decides.
        has_end = self._decompressor is None or self._decompressor.eof or self._place.method == LZMA
        if self._packed_left or self._header is not None or not has_end:
            raise DamagedError(f"the member {shown(self._place.name)} is cut off")
        if self._size != self._place.size or self._crc != self._place.crc:
            raise DamagedError(f"the member {shown(self._place.name)} has a wrong size or checksum")

    def _skip_header(self, data: bytes) -> bytes:
        self._header = data
        if len(data) < _LOCAL.size:
            return b""
        signature, name_size, extra_size = _LOCAL.unpack_from(data)
        if signature != b"PK\x03\x04":
            raise DamagedError(f"the member {shown(self._place.name)} is not where the directory says")
        length = _LOCAL.size + name_size + extra_size
        if len(data) < length:
            return b""
        self._header = None
        return data[length:]

    def _decompressed(self, decompressor: Decompressor, data: bytes) -> Iterator[bytes]:
        while not decompressor.eof:
            try:
                piece = decompressor.decompress(data, _PIECE)
            except DAMAGES:
                raise DamagedError(f"the compressed data of {shown(self._place.name)} is damaged") from None
            if not piece:
                return
            yield piece
            data = b""


class _Tail(io.BytesIO):
    """The end of a file, addressed by the positions of the whole."""

    def __init__(self, data: bytes, base: int) -> None:
        super().__init__(data)
        self._base = base

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise ValueError("by position only")
        if offset < self._base:
            raise TooShortError(offset)
        return super().seek(offset - self._base) + self._base
