"""Reads the metadata of a source distribution of any age from a file. Blocks; nothing is unpacked to a disk.

An inspection of uploads refuses what readers could read differently; here an odd archive is read as far as it goes, since it is in an
index already. What it says only decides which other files are fetched.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Self, cast

from msgspec import Struct

from pkgindex_core.formats.filenames import sdist_ending
from pkgindex_mirror.documents import zip_parts

_MEMBER_LIMIT: Final = 1024 * 1024
"""Bytes of one member that is read."""
_UNPACKED_LIMIT: Final = 4 * 1024**3
"""Bytes to which an archive may unpack before the reading stops."""
_MEMBERS_LIMIT: Final = 200_000
_EXTENSION_LIMIT: Final = 1024 * 1024
"""Bytes of an extended header of a tar."""
_EXTENSIONS: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
)
_DIRECTORY_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of the central directory of a zip."""
_TAIL: Final = zip_parts.END_SIZE + zip_parts.COMMENT_LIMIT
_WANTED: Final = ("PKG-INFO", "pyproject.toml")


class SdistParts(Struct):
    """The members of a source distribution that say what it needs; None: it has none."""

    metadata: bytes | None = None
    pyproject: bytes | None = None
    requires: bytes | None = None
    """`requires.txt` in the `.egg-info`."""


class OddSdistError(Exception):
    """The archive cannot be read; the text is a clause."""


def read_sdist(file: BinaryIO, filename: str) -> SdistParts:
    """Read the parts. Raises `OddSdistError`."""
    parts = SdistParts()
    ending = sdist_ending(filename)
    try:
        for name, data in _zip_members(file) if ending == ".zip" else _tar_members(file, ending):
            _keep(parts, name, data)
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
        EOFError, OSError, ValueError, NotImplementedError, RuntimeError, UnicodeError,
    ) as error:  # fmt: skip
        raise OddSdistError("its archive cannot be read") from error
    return parts


def _keep(parts: SdistParts, name: str, data: bytes) -> None:
    match name.rpartition("/")[2]:
        case "PKG-INFO":
            parts.metadata = parts.metadata or data
        case "pyproject.toml":
            parts.pyproject = parts.pyproject or data
        case _:
            parts.requires = parts.requires or data


def _is_wanted(name: str) -> bool:
    path = name.removeprefix("./").split("/")
    if len(path) == 2:
        return path[1] in _WANTED
    return 2 < len(path) <= 4 and path[-1] == "requires.txt" and path[-2].endswith(".egg-info")


class _CountedReader:
    """A stream that ends with an error when it gets too long."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = _UNPACKED_LIMIT

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise OddSdistError(f"its archive unpacks to more than {_UNPACKED_LIMIT} bytes")
        return data


class _BoundedTarInfo(tarfile.TarInfo):
    """A header of a tar. One that would be read into memory is refused if it is large, and one of negative size would never end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.size > _EXTENSION_LIMIT and not _EXTENSIONS.isdisjoint({found.type})):
            raise OddSdistError("its archive has an impossible header")
        return found


def _tar_members(file: BinaryIO, ending: str) -> Iterator[tuple[str, bytes]]:
    opened: BinaryIO
    match ending:
        case ".tar.gz" | ".tgz" | ".tar.z":
            opened = cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
        case ".tar.bz2" | ".tbz":
            opened = cast(BinaryIO, bz2.BZ2File(file))
        case _:
            opened = cast(BinaryIO, lzma.LZMAFile(file))  # noqa: SIM115 - the caller closes the file beneath
    reader = cast(BinaryIO, _CountedReader(opened))
    with tarfile.open(fileobj=reader, mode="r|", tarinfo=_BoundedTarInfo) as archive:
        for number, member in enumerate(archive):
            if number > _MEMBERS_LIMIT:
                raise OddSdistError(f"its archive has more than {_MEMBERS_LIMIT} members")
            if member.isreg() and member.size <= _MEMBER_LIMIT and _is_wanted(member.name):
                found = archive.extractfile(member)
                if found is not None:
                    yield member.name, found.read()


def _zip_members(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    size = file.seek(0, 2)
    file.seek(max(size - _TAIL, 0))
    directory = zip_parts.directory(file.read(), size)
    if not isinstance(directory, zip_parts.DirectorySpan) or directory.size > _DIRECTORY_LIMIT:
        raise OddSdistError("its archive cannot be read")
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist()[:_MEMBERS_LIMIT]:
            if not member.is_dir() and member.file_size <= _MEMBER_LIMIT and _is_wanted(member.filename):
                with archive.open(member) as found:
                    yield member.filename, found.read(_MEMBER_LIMIT)
