"""Unpacks zip members as streams, and compares them with their headers.

A member's compressed data must end exactly where its header says, and have exactly its size and checksum. Otherwise a reader
that follows the compressed stream and one that follows the header see different files. Memory is bounded.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from pkgindex_core.formats.archives.bounds import MIB, Budget
from pkgindex_core.formats.archives.decompressors import BZIP2, DAMAGES, DEFLATED, LZMA, OF_ZIP_MEMBERS, STORED, ZSTD
from pkgindex_core.formats.archives.member_names import shown
from pkgindex_core.formats.archives.zip_framing import ZipMember
from pkgindex_core.formats.upload_rules import Findings, Unusual

_PIECE = MIB // 4
_UNUSUAL = {BZIP2: "bzip2", LZMA: "lzma"}


class DamagedError(Exception):
    """A member does not match its header; the text names the member."""


def check_methods(members: Iterable[ZipMember], findings: Findings) -> None:
    """Check the compression of members. PyPI takes stored and deflated ones only; others are unusual."""
    for member in members:
        if member.method in _UNUSUAL:
            findings.unusual(
                Unusual.COMPRESSION, f"the member {shown(member.name)} is compressed by {_UNUSUAL[member.method]}"
            )
        elif member.method == ZSTD:
            findings.warn("members are compressed by zstd: pip of a Python before 3.14 cannot unpack them (PEP 777)")
        elif member.method not in {STORED, DEFLATED}:
            findings.refuse(method_problem(member))


def method_problem(member: ZipMember) -> str:
    return f"the member {shown(member.name)} is compressed by method {member.method}; only stored and deflated members are taken"


def unpack(file: BinaryIO, member: ZipMember, budget: Budget) -> Iterator[bytes]:
    """Yield the member's bytes, in pieces. Raises `DamagedError` at the end, or as soon as damage is certain."""
    whole = _unpacked_at_once(file, member)
    if whole is not None:
        if whole:
            yield whole
        budget.check()
        return
    pieces = _stored(file, member) if member.method == STORED else _packed(file, member)
    size = 0
    crc = 0
    for piece in pieces:
        size += len(piece)
        if size > member.size:
            raise DamagedError(f"the member {shown(member.name)} is larger than its header says")
        crc = zlib.crc32(piece, crc)
        yield piece
        budget.check()
    if size != member.size:
        raise DamagedError(f"the member {shown(member.name)} is smaller than its header says")
    if crc != member.crc:
        raise DamagedError(f"the member {shown(member.name)} has a wrong checksum")


def _unpacked_at_once(file: BinaryIO, member: ZipMember) -> bytes | None:
    """The bytes of a small member; None if it is large or unusual, or if anything is wrong with it."""
    if max(member.packed, member.size) > _PIECE or member.method not in {STORED, DEFLATED}:
        return None
    file.seek(member.data)
    data = file.read(member.packed)
    if member.method == DEFLATED:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            whole = inflater.decompress(data, member.size + 1)
        except zlib.error:
            return None
        if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail:
            return None
    else:
        whole = data
    return whole if len(whole) == member.size and zlib.crc32(whole) == member.crc else None


def unpack_whole(file: BinaryIO, member: ZipMember, budget: Budget) -> bytes:
    """Read the member's bytes at once. Check its size first."""
    return b"".join(unpack(file, member, budget))


def _stored(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    file.seek(member.data)
    left = member.packed
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise DamagedError("the zip is cut off")
        left -= len(piece)
        yield piece


def _packed(file: BinaryIO, member: ZipMember) -> Iterator[bytes]:
    if member.method not in OF_ZIP_MEMBERS:
        raise DamagedError(f"the member {shown(member.name)} cannot be unpacked")
    decompressor = OF_ZIP_MEMBERS[member.method]()
    # One byte more than the declared size, to reach the end of the stream and to notice excess data.
    most = min(member.size + 1, 4 * _PIECE)
    size = 0
    for data in _stored(file, member):
        if decompressor.eof:
            raise DamagedError(f"the member {shown(member.name)} has bytes behind its compressed data")
        waiting = data
        while not decompressor.eof:
            try:
                piece = decompressor.decompress(waiting, most)
            except DAMAGES:
                raise DamagedError(f"the compressed data of {shown(member.name)} is damaged") from None
            if not piece:
                break
            size += len(piece)
            yield piece
            waiting = b""
    # APPNOTE 4.4.4: an LZMA stream may lack an end mark; then the size decides.
    if not decompressor.eof and not (member.method == LZMA and size == member.size):
        raise DamagedError(f"the compressed data of {shown(member.name)} is cut off")
    if decompressor.unused_data:
        raise DamagedError(f"the member {shown(member.name)} has bytes behind its compressed data")
