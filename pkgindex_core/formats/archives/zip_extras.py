"""The extra fields of zip headers, as far as they change what a reader sees.

Two do. ZIP64 (0x0001) replaces sizes and offsets that do not fit; readers disagree on how when it is longer or shorter
than needed. Info-ZIP's Unicode path (0x7075) replaces the name for those who know it. Both may stand once, and
must say what every reader would see without them or would agree on with them (APPNOTE 4.5.3, 4.6.9; standards VA-24).
"""

from __future__ import annotations

import struct
import zlib

ZIP64 = 0x0001
UNICODE_PATH = 0x7075

NO_16 = 0xFFFF
NO_32 = 0xFFFFFFFF
"""The value that says: look into the ZIP64 field."""


class ExtraError(Exception):
    """The extra field is wrong; the text says how, to follow 'the member …'."""


def split_extra(raw: bytes) -> dict[int, bytes]:
    """Take an extra field apart; ids that matter may stand once."""
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
    """A Unicode path must be the very name that stands in the header."""
    raw = fields.get(UNICODE_PATH)
    if raw is None:
        return
    if len(raw) < 5 or raw[0] != 1:
        raise ExtraError("has a malformed Unicode path")
    if raw[5:] != name or int.from_bytes(raw[1:5], "little") != zlib.crc32(name):
        raise ExtraError("has a Unicode path that differs from its name")


def central_sizes(fields: dict[int, bytes], size: int, packed: int, offset: int, disk: int) -> tuple[int, int, int]:
    """Size, compressed size and offset of a central directory header, with ZIP64 applied."""
    raw = fields.get(ZIP64)
    if raw is None:
        if NO_32 in {size, packed, offset} or disk == NO_16:
            raise ExtraError("needs a ZIP64 field and has none")
        return size, packed, offset
    # A field for only the compressed size never happens in earnest, and some readers take values by position.
    if packed == NO_32 and size != NO_32:
        raise ExtraError("has an ambiguous ZIP64 field")
    wanted = [value == NO_32 for value in (size, packed, offset)]
    if len(raw) == 8 * sum(wanted) + 4 * (disk == NO_16):
        # The standard form: exactly what does not fit, in this order. Compressed and plain size must not be confused
        # by those who read by position: after a plain size only the compressed one may follow.
        if size == NO_32 and packed != NO_32 and len(raw) > 8:
            raise ExtraError("has an ambiguous ZIP64 field")
        values = iter(struct.unpack_from(f"<{sum(wanted)}Q", raw))
        size, packed, offset = (
            next(values) if missing else value for missing, value in zip(wanted, (size, packed, offset), strict=True)
        )
        if disk == NO_16 and raw[-4:] != bytes(4):
            raise ExtraError("is on another disk")
        return size, packed, offset
    return _full_form(raw, size, packed, offset)


def local_sizes(fields: dict[int, bytes], size: int, packed: int, *, stored: bool) -> tuple[int, int]:
    """Size and compressed size of a local header, with ZIP64 applied."""
    raw = fields.get(ZIP64)
    if raw is None:
        if NO_32 in {size, packed}:
            raise ExtraError("needs a ZIP64 field and has none")
        return size, packed
    if not raw:
        if NO_32 in {size, packed}:
            raise ExtraError("has an empty ZIP64 field and needs one")
        return size, packed
    if len(raw) == 8:
        # APPNOTE wants both sizes here. One alone means the same to everybody only if they are equal.
        (only,) = struct.unpack("<Q", raw)
        if not stored or size not in {only, NO_32} or packed not in {only, NO_32}:
            raise ExtraError("has a ZIP64 field with one size instead of two")
        return only, only
    if len(raw) != 16:
        raise ExtraError("has a ZIP64 field of a wrong length")
    size, packed, _ = _full_form(raw, size, packed, 0)
    return size, packed


def _full_form(raw: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """ZIP64 with values that were not needed: harmless when they repeat what the header says."""
    if len(raw) not in {0, 8, 16, 24, 28}:
        raise ExtraError("has a ZIP64 field of a wrong length")
    values = struct.unpack_from(f"<{min(len(raw) // 8, 3)}Q", raw)
    merged = []
    needed = 0
    for place, value in enumerate((size, packed, offset)):
        if place >= len(values):
            if value == NO_32:
                raise ExtraError("has a ZIP64 field that lacks a value")
            merged.append(value)
            continue
        if value == NO_32:
            # Python's zipfile takes the next unused value here, others the one that stands in this place.
            if values[needed] != values[place]:
                raise ExtraError("has an ambiguous ZIP64 field")
            needed += 1
        elif value != values[place]:
            raise ExtraError("has a ZIP64 field that contradicts its header")
        merged.append(values[place])
    if len(raw) == 28 and raw[24:] != bytes(4):
        raise ExtraError("is on another disk")
    size, packed, offset = merged
    return size, packed, offset
