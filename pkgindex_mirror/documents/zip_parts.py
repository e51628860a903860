"""Finding one member in a zip archive of which only parts are known. Pure: bytes in, positions and bytes out.

A zip is read from its end: the end record has the position of the central directory, the directory has the positions of the members.
Supports what a wheel's METADATA needs. An archive that installers may read differently (several discs, encryption, unknown methods, two
candidates) is `Odd`.
"""

from __future__ import annotations

import struct
import zlib

from msgspec import Struct

from pkgindex_core.names import ProjectName, normalized_or_none

END_SIZE = 22
COMMENT_LIMIT = 65_535
DIRECTORY_LIMIT = 64 * 1024 * 1024
METADATA_LIMIT = 16 * 1024 * 1024
LOCAL_SIZE = 30
_END = b"PK\x05\x06"
_LOCATOR_SIZE = 20
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1


class DirectorySpan(Struct, frozen=True):
    """The position of the central directory."""

    start: int
    size: int


class LargeEnd(Struct, frozen=True):
    """The archive is ZIP64: read its end record (56 bytes) at `start` and give it to `large_directory`."""

    start: int


class MemberSpan(Struct, frozen=True, kw_only=True):
    """One file inside the archive."""

    name: str
    start: int
    """The position of its local header."""
    compressed: int
    size: int
    method: int
    crc: int


class Odd(Struct, frozen=True):
    """Why the archive cannot be read."""

    reason: str


def directory(tail: bytes, size: int) -> DirectorySpan | LargeEnd | Odd | None:
    """Find the central directory, given the last bytes of an archive of `size` bytes; None: give more of them."""
    place = tail.rfind(_END)
    while place >= 0:
        if len(tail) - place >= END_SIZE:
            fields = struct.unpack_from("<4s4H2LH", tail, place)
            if place + END_SIZE + fields[7] == len(tail):
                break
        place = tail.rfind(_END, 0, place)
    if place < 0:
        whole = len(tail) == size or len(tail) >= END_SIZE + COMMENT_LIMIT
        return Odd("it is no zip archive, or was cut off") if whole else None
    _, disc, first_disc, here, entries, length, start, _ = fields
    if 0xFFFF in {here, entries} or 0xFFFF_FFFF in {length, start}:
        locator = place - _LOCATOR_SIZE
        if locator < 0:
            return None if len(tail) < size else Odd("its ZIP64 locator is missing")
        mark, _, where, _ = struct.unpack_from("<4sLQL", tail, locator)
        if mark != b"PK\x06\x07":
            return Odd("its ZIP64 locator is missing")
        return LargeEnd(where)
    if disc or first_disc or here != entries:
        return Odd("it spans several discs")
    return _checked(start, length, size)


def large_directory(record: bytes, size: int) -> DirectorySpan | Odd:
    """Find the central directory with a ZIP64 end record."""
    if len(record) < 56 or record[:4] != b"PK\x06\x06":
        return Odd("its ZIP64 end record is broken")
    length, start = struct.unpack_from("<2Q", record, 40)
    return _checked(start, length, size)


def _checked(start: int, length: int, size: int) -> DirectorySpan | Odd:
    if start + length > size:
        return Odd("its directory lies beyond its end")
    if length > DIRECTORY_LIMIT:
        return Odd("its directory is too large")
    return DirectorySpan(start, length)


def find_metadata(data: bytes, project: ProjectName) -> MemberSpan | Odd:
    """Find the METADATA in the one `*.dist-info` of the project. Its version is not compared: some builders write `_` for `+`."""
    found: list[MemberSpan] = []
    place = 0
    while place + 46 <= len(data):
        (mark, flags, method, crc, compressed, size, name_length, extra_length, comment_length, start) = (
            struct.unpack_from("<4s4xHH4xLLLHHH8xL", data, place)
        )
        if mark != b"PK\x01\x02":
            return Odd("its directory is broken")
        raw = data[place + 46 : place + 46 + name_length]
        extra = data[place + 46 + name_length : place + 46 + name_length + extra_length]
        place += 46 + name_length + extra_length + comment_length
        if not raw.endswith(b".dist-info/METADATA") or raw.count(b"/") != 1:
            continue
        name = raw.decode("utf-8", "replace")
        if not _belongs(name.removesuffix(".dist-info/METADATA"), project):
            continue
        if flags & _ENCRYPTED:
            return Odd("its metadata is encrypted")
        size, compressed, start = _large_fields(extra, size, compressed, start)
        found.append(MemberSpan(name=name, start=start, compressed=compressed, size=size, method=method, crc=crc))
    if len(found) != 1:
        return Odd(f"it has {len(found)} METADATA files of the project {project}")
    member = found[0]
    if member.size > METADATA_LIMIT or member.compressed > METADATA_LIMIT:
        return Odd("its metadata is too large")
    return member


def data_start(header: bytes, member: MemberSpan) -> int | Odd:
    """The position of a member's bytes, from its local header (30 bytes)."""
    if len(header) < LOCAL_SIZE or header[:4] != b"PK\x03\x04":
        return Odd("a local header is not where the directory says")
    name_length, extra_length = struct.unpack_from("<2H", header, 26)
    return member.start + LOCAL_SIZE + int(name_length) + int(extra_length)


def unpack(data: bytes, member: MemberSpan) -> bytes | Odd:
    """A member's bytes, checked against its size and checksum."""
    if member.method == _STORED:
        plain = data
    elif member.method == _DEFLATED:
        try:
            plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error:
            return Odd("its metadata cannot be decompressed")
    else:
        return Odd(f"its metadata is compressed by method {member.method}")
    if len(plain) != member.size or zlib.crc32(plain) != member.crc:
        return Odd("its metadata does not match the checksum")
    return plain


def _belongs(stem: str, project: ProjectName) -> bool:
    """Whether the `name-version` before `.dist-info` is of this project. The name may have dashes, from old tools."""
    normal = normalized_or_none(stem.partition("-")[0])
    if normal == project:
        return True
    parts = stem.split("-")
    return any(normalized_or_none("-".join(parts[:cut])) == project for cut in range(2, min(len(parts), 12)))


def _large_fields(extra: bytes, size: int, compressed: int, start: int) -> tuple[int, int, int]:
    """Size, compressed size and start, with ZIP64. The extra field has only those that overflowed, in this order."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            values = [
                int.from_bytes(extra[at : at + 8], "little") for at in range(place + 4, place + 4 + length - 7, 8)
            ]
            fields = [size, compressed, start]
            for number, field in enumerate(fields):
                if field == 0xFFFF_FFFF and values:
                    fields[number] = values.pop(0)
            return fields[0], fields[1], fields[2]
        place += 4 + length
    return size, compressed, start
