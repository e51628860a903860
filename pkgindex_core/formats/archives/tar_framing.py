"""Reads tar headers one by one from a stream, and refuses archives that readers could read differently.

Three dialects (ustar, pax, GNU) extend one another, and their readers disagree when a header says a thing twice:
a pax size beside the plain one, a GNU long name beside a pax path, data after a directory. Such values must be equal.
Features that only some readers know (sparse files, multiple volumes, volume labels) are refused. POSIX pax
"ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from pkgindex_core.formats.archives.bounds import ArchiveLimits, Budget
from pkgindex_core.formats.archives.compressed_stream import CompressedStream, StreamError
from pkgindex_core.formats.archives.member_names import decode_name, shown

_BLOCK = 512
_END = bytes(_BLOCK)
_PADDING_LIMIT = 1024 * 1024
"""The most zero bytes after the end: tar fills its last record, of 10 KiB by default."""
_EXTENSION_LIMIT = 1024 * 1024
"""The most bytes of one extended header. A path has at most some thousand."""

_KINDS: dict[bytes, Literal["file", "directory", "link", "symlink"]] = {
    b"0": "file",
    b"\0": "file",
    b"5": "directory",
    b"1": "link",
    b"2": "symlink",
}
_REFUSED_TYPES = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"D": "a GNU directory listing",
    b"M": "a part of another volume",
    b"V": "a volume label",
    b"7": "a contiguous file",
}


class TarMember(Struct, frozen=True, gc=False):
    """One entry of a tar. Its data follows in the stream."""

    name: str
    """Without the trailing slash of a directory."""
    kind: Literal["file", "directory", "link", "symlink"]
    size: int
    target: str
    """For links: the target, as spelled."""


class _Extension(Struct):
    """The values of extended headers for the next member."""

    path: str | None = None
    target: str | None = None
    size: int | None = None
    pax: bool = False
    gnu: bool = False

    @property
    def given(self) -> bool:
        return self.pax or self.gnu


def tar_members(stream: CompressedStream, limits: ArchiveLimits, budget: Budget) -> Iterator[TarMember]:
    """The members in order. The caller must take or skip exactly `padded(member.size)` bytes after each.

    Raises `StreamError` where the archive is malformed.
    """
    extension = _Extension()
    extended = 0
    dangling = False
    while True:
        block = stream.take(_BLOCK)
        if block == _END:
            break
        size = _size(block)
        kind = block[156:157]
        if kind in b"xgLK" and kind:
            extended += size
            if size > _EXTENSION_LIMIT or extended > limits.directory_bytes:
                raise StreamError("the tar's extended headers are too large")
            body = stream.take(padded(size))
            if body[size:] != bytes(len(body) - size):
                # Python's tarfile reads to the end of the block, others to the size.
                raise StreamError("the tar has an extended header that goes on behind its end")
            _extend(extension, kind, body[:size])
            dangling = True
            budget.check()
            continue
        yield _member(block, kind, size, extension)
        extension = _Extension()
        dangling = False
    if dangling:
        raise StreamError("the tar ends with an extended header that belongs to no member")
    stream.finish(_PADDING_LIMIT)


def padded(size: int) -> int:
    """The bytes that a member's data takes in the stream."""
    return -(-size // _BLOCK) * _BLOCK


def _size(block: bytes) -> int:
    """Check the numbers of a header; return the size."""
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    usual = _USUAL_NUMBERS.match(block, 100)
    if usual is not None and int(usual[2], 8) == total and block[329:345] in _USUAL_DEVICES:
        return int(usual[1], 8)
    try:
        damaged = _number(block[148:156], "checksum") != total
    except StreamError:
        damaged = True
    if damaged:
        raise StreamError("the file is not a tar archive, or is damaged: a header has a wrong checksum")
    # These fields are not used, but Python's tarfile parses all of them, and fails on malformed numbers.
    for field in (block[100:108], block[108:116], block[116:124], block[329:337], block[337:345]):
        _number(field, "mode, owner or device")
    if block[136] != 0xFF:  # a time may be negative: before 1970
        _number(block[136:148], "time")
    return _number(block[124:136], "size")


def _number(field: bytes, what: str) -> int:
    """A number in octal digits, or in GNU's base 256 when its first bit is set."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise StreamError(f"a tar header has a negative or excessive {what}")
        return int.from_bytes(field[1:])
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise StreamError(f"a tar header has a malformed {what}")
    return int(digits, 8) if digits else 0


def _extend(extension: _Extension, kind: bytes, body: bytes) -> None:
    if kind in b"xg":
        records = _pax_records(body)
        if "hdrcharset" in records:
            raise StreamError("the tar has a pax header in another character set than UTF-8")
        if any(key.startswith("GNU.sparse.") for key in records):
            raise StreamError("the tar has a sparse file")
        telling = {key: value for key, value in records.items() if key in {"path", "linkpath", "size"}}
        if kind == b"g":
            # A global header applies to all following members. git archives have their commit in one.
            if telling:
                raise StreamError("the tar has a global extended header that renames members")
            return
        if extension.given:
            raise StreamError("the tar has several extended headers for one member")
        extension.pax = True
        extension.path = telling.get("path")
        extension.target = telling.get("linkpath")
        size = telling.get("size")
        if size is not None:
            if not (size.isascii() and size.isdecimal() and len(size) < 20):
                raise StreamError("a pax header has a malformed size")
            extension.size = int(size)
        return
    raw, _, rest = body.partition(b"\0")
    if rest.strip(b"\0"):
        raise StreamError("the tar has a long name with a null byte inside")
    text = decode_name(raw)
    if text is None:
        raise StreamError("the tar has a long name that is not UTF-8")
    already = extension.path if kind == b"L" else extension.target
    if extension.pax or already is not None:
        raise StreamError("the tar has several extended headers for one member")
    extension.gnu = True
    if kind == b"L":
        extension.path = text
    else:
        extension.target = text


def _pax_records(body: bytes) -> dict[str, str]:
    """Records of the form `length key=value`, each ended by a line feed; the length counts itself."""
    records: dict[str, str] = {}
    position = 0
    while position < len(body):
        digits, space, _ = body[position : position + 9].partition(b" ")
        if not space or not digits.isdigit():
            raise StreamError("the tar has a malformed pax header")
        end = position + int(digits)
        record = body[position + len(digits) + 1 : end]
        if end > len(body) or not record.endswith(b"\n") or b"=" not in record:
            raise StreamError("the tar has a malformed pax header")
        raw_key, _, raw_value = record[:-1].partition(b"=")
        key = decode_name(raw_key)
        # Other keys may hold any bytes (extended attributes); the keys that matter hold names and numbers.
        value = decode_name(raw_value)
        if key is None or (value is None and key in {"path", "linkpath", "size"}):
            raise StreamError("the tar has a pax header that is not UTF-8")
        if key in records:
            raise StreamError(f"the tar has a pax header that says {shown(key)} twice")
        records[key] = value or ""
        position = end
    return records


def _member(block: bytes, kind: bytes, size: int, extension: _Extension) -> TarMember:
    name = extension.path if extension.path is not None else _plain_name(block)
    if kind not in _KINDS:
        what = _REFUSED_TYPES.get(kind, f"of the unknown type {kind!a}")
        raise StreamError(f"the member {shown(name)} is {what}; only files, directories and links are taken")
    sort = _KINDS[kind]
    if name.endswith("/"):
        # The oldest tars mark a directory by its slash only. Readers differ for a declared file with a slash.
        if kind == b"\0":
            sort = "directory"
        elif sort != "directory":
            raise StreamError(f"the member {shown(name)} is not a directory, but its name ends with a slash")
        name = name[:-1]
    if extension.size is not None:
        # A reader that ignores the pax size would go on in the middle of the data, and could find other members there.
        if size not in {0, extension.size} or (size == 0 and extension.size and extension.size < 8**11):
            raise StreamError(f"the two sizes of {shown(name)} differ")
        size = extension.size
    if sort != "file" and size:
        raise StreamError(f"the member {shown(name)} is not a file, but has data")
    target = ""
    if sort in {"link", "symlink"}:
        plain = decode_name(block[157:257].partition(b"\0")[0])
        if extension.target is None and plain is None:
            raise StreamError(f"the target of {shown(name)} is not UTF-8")
        target = extension.target if extension.target is not None else plain or ""
    return TarMember(name, sort, size, target)


def _plain_name(block: bytes) -> str:
    raw = block[:100].partition(b"\0")[0]
    magic = block[257:263]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix:
        # Only ustar has a prefix. GNU's and the oldest headers have other fields here, and readers differ.
        if magic != b"ustar\0":
            raise StreamError("a tar header has data in an unexpected place")
        raw = prefix + b"/" + raw
    name = decode_name(raw)
    if name is None:
        raise StreamError(f"the member name {raw[:120]!a} is not UTF-8")
    return name


# Mode, owner, group, size, time and checksum, and the device, in the form of nearly every writer.
_USUAL_DEVICES = frozenset({bytes(16), b"0000000\0" * 2})
_USUAL_NUMBERS = re.compile(rb"(?:[0-7]{7}[\0 ]){3}([0-7]{11})[\0 ][0-7]{11}[\0 ]([0-7]{6})\0 ")
