"""Writes tar and gzip files header by header, right or wrong: what `tarfile` would never write.

gzipped(tar_of(header(b"a-1/PKG-INFO", data=b"…"), header(b"/etc/passwd", data=b"x")))
"""

from __future__ import annotations

import gzip
import struct
import zlib

_BLOCK = 512
END = bytes(2 * _BLOCK)


def header(
    name: bytes,
    data: bytes = b"",
    *,
    kind: bytes = b"0",
    target: bytes = b"",
    size: int | bytes | None = None,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    checksum: int | None = None,
    mode: bytes = b"0000644\0",
    device: bytes = bytes(16),
) -> bytes:
    """One member with its data, padded. `size` may differ from the data's, or be the raw twelve bytes."""
    length = len(data) if size is None else size
    raw_size = length if isinstance(length, bytes) else b"%011o\0" % length
    block = b"".join(
        [
            name[:100].ljust(100, b"\0"),
            mode,
            b"0000000\0" * 2,
            raw_size,
            b"00000000000\0",
            b" " * 8,
            kind,
            target[:100].ljust(100, b"\0"),
            magic,
            bytes(32 + 32),
            device,
            prefix.ljust(155, b"\0"),
            bytes(12),
        ]
    )
    total = sum(block) if checksum is None else checksum
    block = block[:148] + b"%06o\0 " % total + block[156:]
    return block + data + bytes(-len(data) % _BLOCK)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    body = b"".join(_record(key, value) for key, value in records)
    return header(b"PaxHeader", body, kind=kind)


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    """A GNU long name (`L`) or long link target (`K`)."""
    return header(b"././@LongLink", text + b"\0", kind=kind, magic=b"ustar  \0")


def base256(number: int) -> bytes:
    """A size of twelve bytes as GNU tar writes large ones; negative ones too."""
    return bytes([0x80 if number >= 0 else 0xFF]) + number.to_bytes(11, signed=number < 0)


def tar_of(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


def gzipped(data: bytes, *, level: int = 6) -> bytes:
    return gzip.compress(data, level, mtime=0)


def gzipped_repetition(head: bytes, block: bytes, times: int) -> bytes:
    """A gzip of `head` and `block` over and over, made in the time of one: of any size that one wants.

    The checksum at the end is a wrong one: whoever reads that far has lost.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    repeated = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()
    start = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
    return (
        start + first + repeated * times + last + struct.pack("<II", 0, (len(head) + times * len(block)) & 0xFFFFFFFF)
    )


def _record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body
