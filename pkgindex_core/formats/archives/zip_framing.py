"""Reads the framing of a zip file, and refuses zips that readers could read differently.

A zip describes each member twice: in a header before the member, and in the directory at the end. Installers read the
directory, streaming readers the headers, scanners one or the other. If the two differ, a reviewer sees one package and an
installer another. So this module accepts only

    header data header data … directory [ZIP64 end, ZIP64 locator] end [comment]

with nothing before (except the script of an egg), between or after. Each header must agree with its directory entry in every
field that readers use. The rules are APPNOTE 4.3-4.5 and those of PyPI. The module knows nothing about wheels, and reads
headers only; `zip_contents` checks the data.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits, Budget
from pkgindex_core.formats.archives.decompressors import DEFLATED, STORED
from pkgindex_core.formats.archives.member_names import decode_name, name_problem, shown
from pkgindex_core.formats.archives.zip_descriptors import LONGEST_DESCRIPTOR, descriptor_size
from pkgindex_core.formats.archives.zip_extras import (
    NO_16,
    NO_32,
    ExtraError,
    central_sizes,
    check_unicode_path,
    local_sizes,
    split_extra,
)
from pkgindex_core.formats.upload_rules import Findings

HINT = "rebuild it with a standard build tool; an archive that two readers could read differently is not taken"

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")

_END_SIGNATURE = b"PK\x05\x06"
_LONGEST_COMMENT = 0xFFFF
_LONGEST_SCRIPT = 4096

# 4.5 brought ZIP64; later versions only add compressions and encryption. unzip skips members that need a later version.
_NEWEST_VERSION = 45
_NEWEST_WITH_OTHER_COMPRESSION = 63
_ENCRYPTED = 1 << 0
_DESCRIPTOR = 1 << 3
_UTF8 = 1 << 11
_KNOWN_FLAGS = 0b110 | _UTF8  # the compression level, and that names are UTF-8

_REGULAR, _DIRECTORY, _SYMLINK = 0o100000, 0o040000, 0o120000


class ZipMember(Struct, frozen=True, gc=False):
    """One member of a zip whose header and directory entry agree. Positions and sizes are in bytes."""

    name: str
    method: int
    crc: int
    packed: int
    size: int
    data: int
    """The start of the member's data."""

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")


class DirectoryEntry(Struct, gc=False):
    """An entry of the zip's directory. Positions and sizes are in bytes."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def read_members(
    file: BinaryIO,
    file_size: int,
    limits: ArchiveLimits,
    budget: Budget,
    findings: Findings,
    *,
    descriptors: bool = False,
    script: bool = False,
) -> list[ZipMember]:
    """Read the framing; return the members in the order of the archive.

    `descriptors` takes members with a data descriptor after their data (as in zips of a Mac's Finder), which must agree with the
    directory. `script` takes a shell script before the first member. Problems of single members are collected in `findings`. A
    malformed framing raises `Refused` at once, with all findings so far.
    """
    try:
        start, end, count = _find_directory(file, file_size, limits)
        entries = _read_directory(file, start, end - start, count, budget, findings, descriptors=descriptors)
        _check_total(entries, file_size, limits, findings)
        first = _script_size(file, entries) if script else 0
        members = _read_headers(file, entries, first, start, budget)
    except _BrokenError as broken:
        findings.refuse(str(broken))
        raise Refused(findings.problems, hint=HINT) from None
    return members


def read_entries(
    file: BinaryIO, file_size: int, limits: ArchiveLimits, budget: Budget, findings: Findings
) -> tuple[list[DirectoryEntry], int]:
    """Read only the directory, of a zip that was checked before; return its entries and its position.

    Reads only the end of the file. `findings` are about single members, as in `read_members`.
    """
    try:
        start, end, count = _find_directory(file, file_size, limits)
        return _read_directory(file, start, end - start, count, budget, findings, descriptors=True), start
    except _BrokenError as broken:
        raise Refused(str(broken), hint=HINT) from None


class _BrokenError(Exception):
    """The framing is malformed and cannot be read any further."""


def _find_directory(file: BinaryIO, file_size: int, limits: ArchiveLimits) -> tuple[int, int, int]:
    """Find the start, the end and the number of entries of the central directory."""
    tail_size = min(file_size, _END.size + _LONGEST_COMMENT)
    file.seek(file_size - tail_size)
    tail = file.read(tail_size)
    place = tail.rfind(_END_SIGNATURE)
    if place < 0:
        raise _BrokenError("it is not a zip file, or it is cut off: it has no end record")
    if len(tail) - place < _END.size:
        raise _BrokenError("the zip's end record is cut off, or bytes follow it")
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(tail, place)
    if len(tail) - place - _END.size != comment:
        raise _BrokenError("bytes follow the zip's end record, or its comment is cut off")
    if b"PK" in tail[place + _END.size :]:
        # Some readers look for signatures anywhere near the end.
        raise _BrokenError("the zip's comment looks like a part of a zip")
    end = file_size - tail_size + place
    if disk not in {0, NO_16} or first_disk not in {0, NO_16}:
        raise _BrokenError("the zip has several disks")
    if here != count:
        raise _BrokenError("the zip's end record contradicts itself about the number of members")
    found = _find_directory64(file, end)
    if found is not None:
        end, count64, size64, start64 = found
        if count not in {count64, NO_16} or size not in {size64, NO_32} or start not in {start64, NO_32}:
            raise _BrokenError("the zip's two end records contradict each other")
        count, size, start = count64, size64, start64
    elif NO_16 in {disk, first_disk, count} or NO_32 in {size, start}:
        raise _BrokenError("the zip's end record refers to a ZIP64 record that is not there")
    # Checked before the directory is read, since its size is untrusted.
    if count > limits.members:
        raise _BrokenError(f"the zip has {count} members; the limit is {limits.members}")
    if size > limits.directory_bytes:
        raise _BrokenError(f"the zip's directory has {size} bytes; the limit is {limits.directory_bytes}")
    if start + size != end:
        raise _BrokenError("the zip's directory is not where its end record says: bytes stand before or between")
    if size < count * _CENTRAL.size:
        raise _BrokenError("the zip's directory has fewer members than its end record says")
    return start, end, count


def _find_directory64(file: BinaryIO, end: int) -> tuple[int, int, int, int] | None:
    """The ZIP64 end record: its position, and count, size and start of the directory; None when there is none."""
    if end < _LOCATOR64.size:
        return None
    file.seek(end - _LOCATOR64.size)
    signature, disk, place, disks = _LOCATOR64.unpack(file.read(_LOCATOR64.size))
    if signature != b"PK\x06\x07":
        return None
    if disk != 0 or disks != 1:
        raise _BrokenError("the zip has several disks")
    if place + _END64.size != end - _LOCATOR64.size:
        raise _BrokenError("the zip's ZIP64 end record is not where its locator says")
    file.seek(place)
    signature, length, _, _, disk, first_disk, here, count, size, start = _END64.unpack(file.read(_END64.size))
    if signature != b"PK\x06\x06":
        raise _BrokenError("the zip's ZIP64 locator does not lead to a ZIP64 end record")
    if length != _END64.size - 12:
        raise _BrokenError("the zip's ZIP64 end record has extensible data")
    if disk != 0 or first_disk != 0:
        raise _BrokenError("the zip has several disks")
    if here != count:
        raise _BrokenError("the zip's ZIP64 end record contradicts itself about the number of members")
    return place, count, size, start


def _read_directory(
    file: BinaryIO, start: int, size: int, count: int, budget: Budget, findings: Findings, *, descriptors: bool
) -> list[DirectoryEntry]:
    file.seek(start)
    directory = file.read(size)
    position = 0
    entries = []
    seen: set[str] = set()
    for _ in range(count):
        if position + _CENTRAL.size > size:
            raise _BrokenError("the zip's directory has fewer members than its end record says")
        fixed = _CENTRAL.unpack_from(directory, position)
        signature, made_by, version, flags, method, _, _, crc, packed, plain, name_size, extra_size, comment = fixed[
            :13
        ]
        disk, _, attributes, offset = fixed[13:]
        if signature != b"PK\x01\x02":
            raise _BrokenError("the zip's directory has something between its members")
        position += _CENTRAL.size
        raw_name = directory[position : position + name_size]
        extra = directory[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment
        if position > size:
            raise _BrokenError("the zip's directory is cut off")
        name = _member_name(raw_name, flags, findings)
        try:
            fields = split_extra(extra)
            check_unicode_path(fields, raw_name)
            plain, packed, offset = central_sizes(fields, plain, packed, offset, disk)
        except ExtraError as error:
            raise _BrokenError(f"the directory entry of {shown(name)} {error}") from None
        if comment:
            findings.refuse(f"the member {shown(name)} has a comment")
        if disk not in {0, NO_16}:
            raise _BrokenError("the zip has several disks")
        if version & 0xFF > _newest_version(method):
            findings.refuse(f"the member {shown(name)} asks for a newer zip version ({version & 0xFF})")
        if name in seen:
            findings.refuse(f"the member {shown(name)} stands twice in the zip")
        seen.add(name)
        if flags & _DESCRIPTOR and not descriptors:
            findings.refuse(f"the member {shown(name)} has a data descriptor: its header does not say its size")
        _check_entry(name, flags, method, packed, plain, made_by, attributes, findings)
        entries.append(DirectoryEntry(raw_name, name, flags, method, crc, packed, plain, offset))
        if not len(entries) % 4096:
            budget.check()
    if position != size:
        raise _BrokenError("the zip's directory has more members than its end record says, or bytes between")
    return entries


def _member_name(raw: bytes, flags: int, findings: Findings) -> str:
    name = decode_name(raw)
    if name is None:
        findings.refuse(f"the member name {raw[:120]!a} is not UTF-8")
        return raw.decode("latin-1")
    if not name.isascii() and not flags & _UTF8:
        # APPNOTE D.1: without the flag it is code page 437, and Python's zipfile reads it so.
        findings.refuse(f"the member name {shown(name)} is not ASCII and not marked as UTF-8")
    problem = name_problem(name) if name else "a member has no name"
    if problem:
        findings.refuse(problem)
    return name


def _check_entry(
    name: str, flags: int, method: int, packed: int, size: int, made_by: int, attributes: int, findings: Findings
) -> None:
    """Refuse an encrypted, linked or otherwise unusable member. Arguments are positional because it is called for each member."""
    if flags & _ENCRYPTED:
        findings.refuse(f"the member {shown(name)} is encrypted")
    if flags & ~(_KNOWN_FLAGS | _ENCRYPTED | _DESCRIPTOR):
        findings.refuse(f"the member {shown(name)} has unknown flags ({flags:#06x})")
    if method == STORED and packed != size:
        findings.refuse(f"the member {shown(name)} is stored, but its two sizes differ")
    if name.endswith("/") and size:
        findings.refuse(f"the directory {shown(name)} has data")
    # Some extractors use the upper half as a Unix mode only for entries made on Unix, others always.
    kind = (attributes >> 16) & 0o170000
    if kind == _SYMLINK:
        findings.refuse(f"the member {shown(name)} is a symbolic link (PEP 778 is deferred)")
    elif kind not in {0, _REGULAR, _DIRECTORY} and made_by >> 8 == 3:
        findings.refuse(f"the member {shown(name)} is neither a file nor a directory")


def _newest_version(method: int) -> int:
    return _NEWEST_VERSION if method in {STORED, DEFLATED} else _NEWEST_WITH_OTHER_COMPRESSION


def _check_total(entries: list[DirectoryEntry], file_size: int, limits: ArchiveLimits, findings: Findings) -> None:
    """Refuse a bomb before anything is unpacked. The declared sizes are verified while unpacking."""
    total = sum(entry.size for entry in entries)
    if total > limits.uncompressed_bytes:
        raise _BrokenError(f"the archive unpacks to {total} bytes; the limit is {limits.uncompressed_bytes}")
    if total > limits.free_bytes and total > limits.ratio * file_size:
        raise _BrokenError(
            f"the archive unpacks to {total} bytes, more than {limits.ratio} times its own size: it looks like a zip bomb"
        )
    if any(entry.packed > file_size for entry in entries):
        findings.refuse("a member claims to be larger than the file")


def _script_size(file: BinaryIO, entries: list[DirectoryEntry]) -> int:
    """The size of the shell script before the first member; 0 if something else stands there.

    The script must be printable text, so that it has no signature of a zip, and all readers find the same first member.
    """
    first = min((entry.offset for entry in entries), default=0)
    if first > _LONGEST_SCRIPT:
        return 0
    file.seek(0)
    text = file.read(first).decode("latin-1")
    is_text = text.isascii() and text.replace("\n", "").replace("\t", "").isprintable()
    return first if is_text and text.startswith("#!/bin/sh\n") and text.endswith("\n") else 0


def _read_headers(
    file: BinaryIO, entries: list[DirectoryEntry], position: int, directory: int, budget: Budget
) -> list[ZipMember]:
    """Read the members from `position` like a streaming reader, and compare each with its directory entry."""
    members = []
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset != position:
            what = "overlap" if entry.offset < position else "have bytes before or between them"
            raise _BrokenError(f"the zip's members {what}, at {shown(entry.name)}")
        file.seek(position)
        head = file.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
            raise _BrokenError(f"the member {shown(entry.name)} is not where the directory says")
        _, version, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack(head)
        variable = file.read(name_size + extra_size)
        if len(variable) < name_size + extra_size:
            raise _BrokenError("the zip is cut off")
        raw_name = variable[:name_size]
        if raw_name != entry.raw_name:
            raise _BrokenError(f"the header of {shown(entry.name)} has another name than the directory")
        try:
            fields = split_extra(variable[name_size:])
            check_unicode_path(fields, raw_name)
            if flags & _DESCRIPTOR:
                # APPNOTE 4.4.4: sizes and checksum in the header are zero, or right.
                size, packed, crc = entry.size, entry.packed, entry.crc
            else:
                size, packed = local_sizes(fields, size, packed, stored=method == STORED)
        except ExtraError as error:
            raise _BrokenError(f"the header of {shown(entry.name)} {error}") from None
        if version & 0xFF > _newest_version(method):
            raise _BrokenError(f"the header of {shown(entry.name)} asks for a newer zip version ({version & 0xFF})")
        if (flags, method, crc, packed, size) != (entry.flags, entry.method, entry.crc, entry.packed, entry.size):
            raise _BrokenError(f"the header of {shown(entry.name)} differs from its directory entry")
        data = position + _LOCAL.size + len(variable)
        members.append(ZipMember(entry.name, method, crc, packed, size, data))
        position = data + packed
        if flags & _DESCRIPTOR:
            file.seek(position)
            length = descriptor_size(file.read(LONGEST_DESCRIPTOR), entry.crc, entry.packed, entry.size)
            if length is None:
                raise _BrokenError(f"the data descriptor of {shown(entry.name)} differs from the directory")
            position += length
        if position > directory:
            raise _BrokenError(f"the member {shown(entry.name)} reaches into the directory")
        if not len(members) % 1024:
            budget.check()
    if position != directory:
        raise _BrokenError("the zip has bytes between its last member and its directory")
    return members


def is_also_tar(file: BinaryIO) -> bool:
    """Whether the file is also a tar archive: its first block has a tar header's checksum."""
    file.seek(0)
    block = file.read(512)
    if len(block) < 512:
        return False
    digits = block[148:156].strip(b"\0 ")
    try:
        claimed = int(digits, 8)
    except ValueError:
        return False
    return claimed == sum(block[:148]) + 8 * 0x20 + sum(block[156:])


def is_also_zip(file: BinaryIO, file_size: int) -> bool:
    """Whether the file may also be read as a zip.

    As loose as Python's `zipfile.is_zipfile`, which pip calls before it uses the extension: the signature of an end record
    anywhere near the end is enough.
    """
    tail_size = min(file_size, _END.size + _LONGEST_COMMENT)
    file.seek(file_size - tail_size)
    return _END_SIGNATURE in file.read(tail_size)
