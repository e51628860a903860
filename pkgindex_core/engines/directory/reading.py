"""Reads a file of a root: its digest, its metadata, and whether it is whole. Blocking; run it in a worker.

A file that is being copied into the root has its name before its last bytes. An archive that passes inspection is whole. An archive that is
refused is whole if it has its end, and is listed without metadata.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Refused
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives.bounds import Inspection
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.filenames import UploadName, parse_upload_filename
from pkgindex_core.formats.metadata_fields import is_specifier
from pkgindex_core.formats.metadata_values import CoreMetadata
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.models import File, Release

_CHUNK: Final = 1 << 20
_UNPACKED: Final = 1 << 30
"""Bytes up to which a compressed stream is unpacked to find its end."""
_OPENERS: Final[Mapping[str, Callable[[Path], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]]] = {
    ".gz": gzip.GzipFile, ".tgz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".tbz": bz2.BZ2File,
    ".xz": lzma.LZMAFile, ".txz": lzma.LZMAFile,
}  # fmt: skip
_ZIP_END: Final = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_BYTES: Final = 20
_LONGEST_COMMENT: Final = 0xFFFF
_ZIPS: Final = frozenset({".whl", ".zip", ".egg"})


class Distribution(Struct, frozen=True, kw_only=True):
    """A whole file, as an index lists it."""

    file: File
    """Without an upload time."""
    display_name: str
    release: Release
    """The metadata of its version; only name and version if the file has none."""


def read_distribution(path: Path, filename: str, sha256: Sha256 | None = None) -> Distribution | None:
    """Read a file; None if it is not whole (yet) or its name is not that of a distribution. `sha256`: its digest, if known."""
    try:
        name = parse_upload_filename(filename, LENIENT)
    except Refused:
        return None
    inspection: Inspection | None = None
    try:
        inspection = inspect_archive(path, name, rules=LENIENT)
    except Refused:
        if not has_end(path):
            return None
    said = inspection.metadata if inspection is not None else None
    metadata = read_metadata(said) if said is not None else CoreMetadata(name=name.name_part, version=name.version)
    return Distribution(
        file=File(
            filename=filename,
            version=name.version,
            digests={"sha256": sha256 or digest_of(path)},
            size=path.stat().st_size,
            requires_python=metadata.requires_python if is_specifier(metadata.requires_python) else "",
            metadata_sha256=sha256_of(said) if said is not None and name.kind == "wheel" else None,
        ),
        display_name=metadata.name or name.name_part,
        release=_release(name, metadata, is_said=said is not None),
    )


def metadata_in(path: Path, filename: str) -> bytes | None:
    """The core metadata in a wheel; None if there is none."""
    try:
        return inspect_archive(path, parse_upload_filename(filename, LENIENT), rules=LENIENT).metadata
    except Refused:
        return None


def digest_of(path: Path) -> Sha256:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe must not block
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while data := file.read(_CHUNK):
            digest.update(data)
    return Sha256(digest.hexdigest())


def has_end(path: Path) -> bool:
    """Whether an archive has its end: the directory of a zip, the last checksum of a compressed stream."""
    ending = path.suffix.lower()
    if ending in _ZIPS:
        return _is_whole_zip(path)
    opener = _OPENERS.get(ending)
    if opener is None:
        return path.stat().st_size > 0
    unpacked = 0
    try:
        with opener(path) as stream:
            while unpacked < _UNPACKED and (data := stream.read(_CHUNK)):
                unpacked += len(data)
    except (EOFError, lzma.LZMAError, zlib.error, ValueError):
        return False
    except OSError as error:
        if error.errno is not None:  # an error of the disk, not of the stream
            raise
        return False
    return unpacked > 0


def _is_whole_zip(path: Path) -> bool:
    """Whether the file ends with the end record of a zip, and the offset in that record fits the file.

    Half of a zip that contains other zips may end like a zip too, but that offset counts from the start of the inner zip.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ZIP_END.size - _LONGEST_COMMENT))
        tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) - place < _ZIP_END.size:
        return False
    *_, directory, start, comment = _ZIP_END.unpack_from(tail, place)
    if place + _ZIP_END.size + comment != len(tail):
        return False
    if tail[max(0, place - _ZIP64_LOCATOR_BYTES) :].startswith(b"PK\x06\x07"):
        return zipfile.is_zipfile(path)
    return bool(start + directory == size - len(tail) + place)


def shows_its_end(filename: str) -> bool:
    """Whether `has_end` can check a file of this name. It cannot for an installer or an rpm."""
    return Path(filename).suffix.lower() in _ZIPS | _OPENERS.keys()


def _release(name: UploadName, metadata: CoreMetadata, *, is_said: bool) -> Release:
    if not is_said:
        return Release(version=name.version, metadata=version_documents.bare(name.name_part, name.version))
    return Release(version=metadata.version or name.version, metadata=version_documents.from_archive(metadata))
