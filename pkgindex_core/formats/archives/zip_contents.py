"""The data of zip members, streamed, and held against what their headers promise.

A member's compressed data must end exactly where its header says, unpack to exactly the size it says and have the
checksum it says: otherwise a reader that follows the deflate stream and one that follows the header see different files.
Bounded memory whatever the size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pkgindex_core.formats.archives.bounds import MIB, Budget
from pkgindex_core.formats.archives.member_names import shown
from pkgindex_core.formats.archives.zip_framing import STORED, Member

_PIECE = MIB // 4


class DamagedError(Exception):
    """A member is not what its header promises; the text names it."""


def unpack(file: BinaryIO, member: Member, budget: Budget) -> Iterator[bytes]:
    """The member's bytes, in pieces. Raises `DamagedError` at the end, or as soon as it is certain."""
    pieces = _stored(file, member) if member.method == STORED else _deflated(file, member)
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


def unpack_whole(file: BinaryIO, member: Member, budget: Budget) -> bytes:
    """The member's bytes at once; ask for its size first."""
    return b"".join(unpack(file, member, budget))


def _stored(file: BinaryIO, member: Member) -> Iterator[bytes]:
    file.seek(member.data)
    left = member.packed
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise DamagedError("the zip is cut off")
        left -= len(piece)
        yield piece


def _deflated(file: BinaryIO, member: Member) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    # One byte more than promised: so that the end of the stream is reached, and too much is noticed.
    most = min(member.size + 1, 4 * _PIECE)
    for packed in _stored(file, member):
        if inflater.eof:
            raise DamagedError(f"the member {shown(member.name)} has bytes behind its compressed data")
        waiting = packed
        while waiting and not inflater.eof:
            try:
                piece = inflater.decompress(waiting, most)
            except zlib.error:
                raise DamagedError(f"the compressed data of {shown(member.name)} is damaged") from None
            if piece:
                yield piece
            waiting = inflater.unconsumed_tail
    if not inflater.eof:
        # What was read is all there is; the rest of the output, if any, needs no further input.
        yield from _drain(inflater, member, most)
    if inflater.unused_data:
        raise DamagedError(f"the member {shown(member.name)} has bytes behind its compressed data")


def _drain(inflater: zlib._Decompress, member: Member, most: int) -> Iterator[bytes]:
    """What the inflater still holds back after its last input."""
    piece = b"."
    while piece:
        try:
            piece = inflater.decompress(b"", most)
        except zlib.error:
            raise DamagedError(f"the compressed data of {shown(member.name)} is damaged") from None
        yield piece
    if not inflater.eof:
        raise DamagedError(f"the compressed data of {shown(member.name)} is cut off")
