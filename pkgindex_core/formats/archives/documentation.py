"""Zips of documentation: checks a zip, and finds and unpacks single pages of it.

A zip is checked once, from its first to its last byte, before it is kept. It is never extracted: a page is looked up in the
zip's directory, which stands at its end, and unpacked from its own bytes. So no name in a zip becomes a path of the file
system, and serving a page reads only the directory and that page.

    directory = read_directory(tail, size)          the last bytes of the zip; `TooShortError` says how many more
    place = directory.pages["guide/index.html"]     the span of its bytes
    unpacking = Unpacking(place)                     fed with these, gives the page, or `DamagedError`

Imported zips may be unchecked: members that an upload could not have are not found in them.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import MIB, ArchiveLimits, Budget
from pkgindex_core.formats.archives.decompressors import DEFLATED, STORED
from pkgindex_core.formats.archives.member_names import check_tree, name_problem, shown
from pkgindex_core.formats.archives.zip_contents import DamagedError, method_problem, unpack
from pkgindex_core.formats.archives.zip_framing import is_also_tar, read_entries, read_members
from pkgindex_core.formats.upload_rules import Findings

DOCUMENTATION_LIMITS = ArchiveLimits(
    uncompressed_bytes=4096 * MIB, members=50_000, directory_bytes=16 * MIB, seconds=300.0
)
KIND: Final = "doczip"
"""The kind of attachments that are documentation."""
FRONT_PAGE = "index.html"
HINT = "zip the directory that has index.html in it with a standard tool, without links and without encryption"

_LOCAL = struct.Struct("<4s22x2H")
_PIECE = MIB
_ENCRYPTED = 1


class DocumentationFacts(Struct, frozen=True, kw_only=True):
    """The contents of a valid zip of documentation."""

    pages: int
    """Files of any kind."""
    uncompressed_bytes: int
    warnings: tuple[str, ...] = ()


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


class DocumentationPages(Struct, frozen=True):
    """All pages of a zip, by path."""

    pages: Mapping[str, MemberPlace]


class TooShortError(Exception):
    """The directory begins at `start`, before the given bytes."""

    def __init__(self, start: int) -> None:
        super().__init__(f"the directory begins at {start}")
        self.start = start


def inspect_documentation(
    path: Path, limits: ArchiveLimits = DOCUMENTATION_LIMITS, *, clock: Clock | None = None
) -> DocumentationFacts:
    """Read a zip of documentation from its first to its last byte; refuse it if anything is wrong.

    Blocks: run it in a worker thread. An `OSError` means that the file could not be read, not that it is bad.
    """
    budget = Budget(limits, clock or SystemClock())
    findings = Findings()
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if is_also_tar(file):
            raise Refused("the documentation is a tar archive, not a zip", hint=HINT)
        try:
            members = read_members(file, size, limits, budget, findings, descriptors=True)
        except Refused as error:
            raise Refused(error.problems, hint=HINT) from error
        files = [member.name for member in members if not member.is_directory]
        check_tree(files, [member.name[:-1] for member in members if member.is_directory], findings)
        if not files:
            findings.refuse("the zip has no files")
        if FRONT_PAGE not in files:
            findings.warn(f"the documentation has no {FRONT_PAGE} at its top: its own URL shows nothing")
        for member in members:
            if member.method not in {STORED, DEFLATED}:
                findings.refuse(method_problem(member))
                continue
            try:
                for _ in unpack(file, member, budget):
                    pass
            except DamagedError as damage:
                findings.refuse(str(damage))
    findings.raise_problems(HINT)
    return DocumentationFacts(
        pages=len(files), uncompressed_bytes=sum(member.size for member in members), warnings=findings.warnings
    )


def read_directory(tail: bytes, size: int, limits: ArchiveLimits = DOCUMENTATION_LIMITS) -> DocumentationPages:
    """Read the directory of a zip of `size` bytes from its last bytes, `tail`.

    Raises `Refused` for a malformed zip. Members that an upload could not have are left out.
    """
    entries, directory = read_entries(
        _Tail(tail, size - len(tail)), size, limits, Budget(limits, SystemClock()), Findings()
    )
    entries.sort(key=lambda entry: entry.offset)
    stops = [*(entry.offset for entry in entries[1:]), directory]
    pages: dict[str, MemberPlace] = {}
    for entry, stop in zip(entries, stops, strict=True):
        takes = entry.method in {STORED, DEFLATED} and not entry.flags & _ENCRYPTED and stop > entry.offset
        if takes and entry.name not in pages and not entry.name.endswith("/") and name_problem(entry.name) is None:
            pages[entry.name] = MemberPlace(
                entry.name, entry.offset, stop, entry.packed, entry.size, entry.crc, entry.method
            )
    return DocumentationPages(pages)


class Unpacking:
    """Unpacks one member: takes the bytes of its span, and gives the unpacked bytes in pieces of at most a mebibyte.

    Damage raises `DamagedError`, at the latest in `finish`. A caller that holds the last piece back until then never sends a
    complete page with wrong bytes.
    """

    def __init__(self, place: MemberPlace) -> None:
        self._place = place
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if place.method == DEFLATED else None
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
        if self._inflater is None:
            pieces: Iterator[bytes] = iter((data,) if data else ())
        else:
            pieces = self._inflate(self._inflater, data)
        for piece in pieces:
            self._size += len(piece)
            if self._size > self._place.size:
                raise DamagedError(f"the member {shown(self._place.name)} is larger than its header says")
            self._crc = zlib.crc32(piece, self._crc)
            yield piece

    def finish(self) -> None:
        """Raise unless all bytes came and match the directory."""
        inflater = self._inflater
        if self._packed_left or self._header is not None or (inflater is not None and not inflater.eof):
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

    def _inflate(self, inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        while data and not inflater.eof:
            try:
                piece = inflater.decompress(data, _PIECE)
            except zlib.error:
                raise DamagedError(f"the compressed data of {shown(self._place.name)} is damaged") from None
            if piece:
                yield piece
            data = inflater.unconsumed_tail
        # The inflater may hold output back although its input is used up.
        while not inflater.eof and not self._packed_left:
            try:
                piece = inflater.decompress(b"", _PIECE)
            except zlib.error:
                raise DamagedError(f"the compressed data of {shown(self._place.name)} is damaged") from None
            if not piece:
                return
            yield piece


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
