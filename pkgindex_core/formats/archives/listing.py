"""Lists the members of an archive that was checked elsewhere or never, and reads one of them, for people.

Never fails: an archive that is damaged, or too large for `LISTING_LIMITS`, is listed as far as it can be read, and `trouble` says why it ends
there. The members of a zip come from its directory alone (`of_zip`). A tar has no directory, so it is unpacked up to its end, without keeping
anything but names.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import BinaryIO, Final

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import MIB, ArchiveLimits, Budget
from pkgindex_core.formats.archives.compressed_stream import CompressedStream, StreamError
from pkgindex_core.formats.archives.sdists import COMPRESSIONS
from pkgindex_core.formats.archives.tar_framing import TarMember, padded, tar_members
from pkgindex_core.formats.archives.zip_places import ZipDirectory

LISTING_LIMITS: Final = ArchiveLimits(
    uncompressed_bytes=1024 * MIB, members=50_000, directory_bytes=8 * MIB, seconds=10.0
)
"""The most that one listing may cost. A source distribution of 100 MiB is read in two seconds."""

_PIECE: Final = MIB // 4


class ListedMember(Struct, frozen=True, gc=False, order=True):
    """A file or a link in an archive."""

    name: str
    size: int
    """Bytes, unpacked."""
    crc: int
    """The CRC-32 of its bytes. It tells members apart, and proves nothing."""
    target: str = ""
    """Of a link: where it leads, as spelled."""


class ArchiveListing(Struct, frozen=True, kw_only=True):
    """The members of an archive, by name."""

    members: tuple[ListedMember, ...]
    left_out: int = 0
    """The number of members that are not listed because installers could not unpack them either: encrypted ones, paths that lead out …"""
    trouble: str = ""
    """Why there may be more members, a sentence; empty: this is all."""

    @property
    def unpacked_bytes(self) -> int:
        return sum(each.size for each in self.members)


class MemberStart(Struct, frozen=True):
    """The first bytes of a member."""

    data: bytes
    size: int
    """Of the whole member."""


def is_zip(filename: str) -> bool:
    """Whether the name is that of a wheel, an egg or another zip."""
    return filename.lower().endswith((".whl", ".egg", ".zip"))


def compression_of(filename: str) -> str:
    """The compression of a tar archive, by its name; empty for other files."""
    lowered = filename.lower()
    return next((word for end, word in COMPRESSIONS.items() if lowered.endswith(end)), "")


def of_zip(directory: ZipDirectory) -> ArchiveListing:
    """The members of a zip."""
    members = (ListedMember(each.name, each.size, each.crc) for each in directory.members.values())
    return ArchiveListing(members=tuple(sorted(members)), left_out=directory.left_out)


def of_tar(file: BinaryIO, size: int, compression: str, clock: Clock) -> ArchiveListing:
    """The members of a tar of `size` bytes. Blocks: run it in a worker."""
    found: dict[str, ListedMember] = {}
    trouble = ""
    budget = Budget(LISTING_LIMITS, clock)
    stream = CompressedStream(file, size, compression, LISTING_LIMITS, budget)
    try:
        for member in _members(stream, budget):
            crc = 0
            for start in range(0, member.size, _PIECE):
                crc = zlib.crc32(stream.take(min(_PIECE, member.size - start)), crc)
            stream.skip(padded(member.size) - member.size)
            if member.kind != "directory":
                found[member.name] = ListedMember(member.name, member.size, crc, member.target)
    except (StreamError, Refused) as error:
        trouble = str(error)
    return ArchiveListing(members=tuple(sorted(found.values())), trouble=trouble)


def from_tar(file: BinaryIO, size: int, compression: str, name: str, most: int, clock: Clock) -> MemberStart | None:
    """The first `most` bytes of the first file of this name; None if the readable part has none. Blocks: run it in a worker."""
    budget = Budget(LISTING_LIMITS, clock)
    stream = CompressedStream(file, size, compression, LISTING_LIMITS, budget)
    try:
        for member in _members(stream, budget):
            if member.name == name and member.kind == "file":
                return MemberStart(stream.take(min(member.size, most)), member.size)
            stream.skip(padded(member.size))
    except (StreamError, Refused):
        return None
    return None


def _members(stream: CompressedStream, budget: Budget) -> Iterable[TarMember]:
    for count, member in enumerate(tar_members(stream, LISTING_LIMITS, budget), start=1):
        if count > LISTING_LIMITS.members:
            raise StreamError(f"the archive has more than the limit of {LISTING_LIMITS.members} members")
        yield member
