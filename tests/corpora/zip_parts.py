"""Writes zip files field by field, right or wrong: what `zipfile` would never write.

    assemble([Entry(b"a.py", b"x = 1", local={"crc": 7})])

Each header's fields can be replaced by name, separately in the local header and in the directory, and bytes can be put
wherever none should be.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

STORED = 0
DEFLATED = 8
UTF8 = 1 << 11
DESCRIPTOR = 1 << 3
FULL_16 = 0xFFFF
FULL_32 = 0xFFFFFFFF

_DOS_DATE = 0x21  # 1980-01-01


class Entry(Struct):
    """One member, with everything that may be wrong about it."""

    name: bytes
    data: bytes = b""
    method: int = DEFLATED
    body: bytes | None = None
    """The packed bytes, when they are not what packing `data` gives."""
    local: dict[str, Any] = field(default_factory=dict)
    """Fields of the local header to replace: version, flags, method, crc, packed, size, name, extra."""
    central: dict[str, Any] = field(default_factory=dict)
    """Fields of the directory entry to replace: also made_by, comment, disk, attributes, offset."""
    after: bytes = b""
    """Bytes behind the member's data."""
    in_local: bool = True
    in_central: bool = True

    def packed(self) -> bytes:
        if self.body is not None:
            return self.body
        return deflate(self.data) if self.method == DEFLATED else self.data


def deflate(data: bytes, level: int = 6) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def entries_of(data: bytes) -> list[Entry]:
    """The members of a proper zip, to be spoiled."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [Entry(info.filename.encode(), archive.read(info), info.compress_type) for info in archive.infolist()]


def assemble(
    entries: Sequence[Entry],
    *,
    prefix: bytes = b"",
    count_prefix: bool = True,
    before_directory: bytes = b"",
    before_end: bytes = b"",
    suffix: bytes = b"",
    comment: bytes = b"",
    directory_order: Sequence[int] | None = None,
    end: Mapping[str, int] | None = None,
    end64: Mapping[str, int] | None = None,
    locator: Mapping[str, int] | None = None,
    with_end64: bool = False,
    with_locator: bool = False,
    end64_tail: bytes = b"",
) -> bytes:
    """Put a zip together. `end`, `end64` and `locator` replace fields of those records by name."""
    out = bytearray(prefix)
    shift = 0 if count_prefix else len(prefix)
    offsets = []
    for entry in entries:
        offsets.append(len(out) - shift)
        if entry.in_local:
            out += _local(entry) + entry.packed() + entry.after
    out += before_directory
    start = len(out) - shift
    order = range(len(entries)) if directory_order is None else directory_order
    listed = [index for index in order if entries[index].in_central]
    for index in listed:
        out += _central(entries[index], offsets[index])
    size = len(out) - shift - start
    out += before_end
    fields64 = {
        "length": 44 + len(end64_tail),
        "disk": 0,
        "first_disk": 0,
        "here": len(listed),
        "count": len(listed),
        "size": size,
        "start": start,
    }
    fields64.update(end64 or {})
    fields = {"disk": 0, "first_disk": 0, "here": len(listed), "count": len(listed), "size": size, "start": start}
    place = len(out) - shift
    if with_end64:
        out += (
            struct.pack(
                "<4sQHHII4Q",
                b"PK\x06\x06",
                fields64["length"],
                45,
                45,
                fields64["disk"],
                fields64["first_disk"],
                fields64["here"],
                fields64["count"],
                fields64["size"],
                fields64["start"],
            )
            + end64_tail
        )
    if with_locator:
        located = {"disk": 0, "place": place, "disks": 1, **(locator or {})}
        out += struct.pack("<4sIQI", b"PK\x06\x07", located["disk"], located["place"], located["disks"])
    fields.update(end or {})
    out += struct.pack(
        "<4s4H2IH",
        b"PK\x05\x06",
        fields["disk"],
        fields["first_disk"],
        fields["here"],
        fields["count"],
        fields["size"],
        fields["start"],
        fields.get("comment", len(comment)),
    )
    return bytes(out + comment + suffix)


def zip64_extra(*values: int) -> bytes:
    return struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values)


def unicode_path_extra(name: bytes, crc_of: bytes | None = None, version: int = 1) -> bytes:
    body = struct.pack("<BI", version, zlib.crc32(name if crc_of is None else crc_of)) + name
    return struct.pack("<HH", 0x7075, len(body)) + body


def _fields(entry: Entry, replaced: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": 20,
        "flags": 0 if entry.name.isascii() else UTF8,
        "method": entry.method,
        "crc": zlib.crc32(entry.data),
        "packed": len(entry.packed()),
        "size": len(entry.data),
        "name": entry.name,
        "extra": b"",
        **replaced,
    }


def _local(entry: Entry) -> bytes:
    f = _fields(entry, entry.local)
    head = struct.pack(
        "<4s5H3I2H",
        b"PK\x03\x04",
        f["version"],
        f["flags"],
        f["method"],
        0,
        _DOS_DATE,
        f["crc"],
        f["packed"],
        f["size"],
        len(f["name"]),
        len(f["extra"]),
    )
    return head + bytes(f["name"]) + bytes(f["extra"])


def _central(entry: Entry, offset: int) -> bytes:
    f = _fields(
        entry,
        {"made_by": 0x0314, "comment": b"", "disk": 0, "attributes": 0o100644 << 16, "offset": offset, **entry.central},
    )
    head = struct.pack(
        "<4s6H3I5H2I",
        b"PK\x01\x02",
        f["made_by"],
        f["version"],
        f["flags"],
        f["method"],
        0,
        _DOS_DATE,
        f["crc"],
        f["packed"],
        f["size"],
        len(f["name"]),
        len(f["extra"]),
        len(f["comment"]),
        f["disk"],
        0,
        f["attributes"],
        f["offset"],
    )
    return head + bytes(f["name"]) + bytes(f["extra"]) + bytes(f["comment"])
