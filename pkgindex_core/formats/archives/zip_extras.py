"""Checks the two extra fields of zip headers that change what a reader sees (APPNOTE 4.5.3, 4.6.9).

ZIP64 (0x0001) replaces sizes and offsets that do not fit. Readers disagree when it is longer or shorter than needed. Info-ZIP's
Unicode path (0x7075) replaces the name for readers that know it. Each may stand once, and must not make readers see different
members.
"""

from __future__ import annotations

import struct
import zlib

ZIP64 = 0x0001
UNICODE_PATH = 0x7075

NO_16 = 0xFFFF
NO_32 = 0xFFFFFFFF
"""The value that means: the number is in the ZIP64 field."""


class ExtraError(Exception):
    """A wrong extra field. The text continues 'the member …'."""


def split_extra(raw: bytes) -> dict[int, bytes]:
    """Split an extra field by ids. The two relevant ids may stand once."""
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(raw):
        if position + 4 > len(raw):
            raise ExtraError("has a truncated extra field")
        kind, length = struct.unpack_from("<HH", raw, position)
        position += 4
        if position + length > len(raw):
            raise ExtraError("has an extra field that ends beyond its header")
        if kind in fields and kind in {ZIP64, UNICODE_PATH}:
            raise ExtraError(f"has the extra field {kind:#06x} twice")
        fields[kind] = raw[position : position + length]
        position += length
    return fields


def check_unicode_path(fields: dict[int, bytes], name: bytes) -> None:
    """Refuse a Unicode path that differs from the name in the header."""
    raw = fields.get(UNICODE_PATH)
    if raw is None:
        return
    if len(raw) < 5 or raw[0] != 1:
        raise ExtraError("has a malformed Unicode path")
    if raw[5:] != name or int.from_bytes(raw[1:5], "little") != zlib.crc32(name):
        raise ExtraError("has a Unicode path that differs from its name")


def central_sizes(fields: dict[int, bytes], size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int]:
    """Size, compressed size and offset of a central directory header, with ZIP64 applied.

    The field must hold exactly the values that do not fit, in this order. Some readers read a longer one by position,
    others by need, and uv refuses it.
    """
    raw = fields.get(ZIP64, b"")
    values = [size, packed, offset]
    wanted = [place for place, value in enumerate(values) if value == NO_32]
    if len(raw) != 8 * len(wanted) + 4 * (disk == NO_16):
        raise ExtraError("has a ZIP64 field that is longer or shorter than needed")
    # A reader by position would take a compressed size for a plain one, or an offset for a compressed size.
    if (packed == NO_32 and size != NO_32) or (size == NO_32 and packed != NO_32 and offset == NO_32):
        raise ExtraError("has an ambiguous ZIP64 field")
    for place, value in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", raw), strict=True):
        values[place] = value
    if disk == NO_16 and raw[-4:] != bytes(4):
        raise ExtraError("is on another disk")
    return values[0], values[1], values[2]


def local_sizes(fields: dict[int, bytes], size: int, packed: int, *, stored: bool) -> tuple[int, int]:
    """Size and compressed size of a local header, with ZIP64 applied.

    APPNOTE requires both sizes here or none. Writers may reserve both although they are not needed.
    """
    raw = fields.get(ZIP64, b"")
    missing = (size == NO_32, packed == NO_32)
    if len(raw) == 16 and missing in {(True, True), (False, False)}:
        values: tuple[int, int] = struct.unpack("<QQ", raw)
        if missing == (False, False) and values != (size, packed):
            raise ExtraError("has a ZIP64 field that contradicts its header")
        return values
    if len(raw) == 8 and stored and missing == (True, False) and raw == struct.pack("<Q", packed):
        # A single size has the same meaning for all readers only if both sizes are equal.
        return packed, packed
    if raw or missing != (False, False):
        raise ExtraError("has a ZIP64 field that is longer or shorter than needed")
    return size, packed
