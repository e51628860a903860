"""The listing of a snapshot: its files, sorted by path, a line each, compressed. It is read and compared without holding it in memory."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_mirror.bundles.apply_bundle import order_of

HEAD: Final = "head.json"
FILES: Final = "files.gz"
_FORMAT: Final = 1
_LEVEL: Final = 3
"""Digests do not compress, so higher levels cost time and gain nothing."""


class SnapshotFile(Struct, frozen=True, gc=False):
    """A file of a snapshot."""

    path: str
    sha256: Sha256
    size: int


class SnapshotHead(Struct, frozen=True, kw_only=True):
    """All about a snapshot but its files."""

    number: int
    name: str = ""
    created: Timestamp
    serial: int | None = None
    """The serial of the mirror when the snapshot was taken, if it has one."""
    files: int
    bytes: int
    format: int = _FORMAT


class FileChange(Struct, frozen=True, gc=False):
    """A path that two snapshots do not have in common: added when `old` is None, removed when `new` is None."""

    path: str
    old: SnapshotFile | None
    new: SnapshotFile | None


class LineWriter(Protocol):
    def write(self, line: bytes, /) -> object: ...


@contextmanager
def lines_to(place: Path) -> Iterator[LineWriter]:
    """Open a compressed file of lines for writing. Equal lines give equal bytes. The file is durable when the block ends."""
    with place.open("xb") as file:
        # Without a time and a name in its header, and large pieces for a compressor in C.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=_LEVEL) as packed,
            io.BufferedWriter(packed, 1 << 20) as buffered,
        ):
            yield buffered
        file.flush()
        os.fsync(file.fileno())


def lines_from(place: Path) -> Iterator[str]:
    """The lines of a compressed file, without their ends. Raises `Corrupt` when it is damaged or missing."""
    try:
        with gzip.open(place, "rt", encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.rstrip("\n")
    except (EOFError, FileNotFoundError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise _damaged(place, error) from error


def file_line(file: SnapshotFile) -> bytes:
    return f"{file.sha256} {file.size} {file.path}\n".encode()


def read_files(directory: Path) -> Iterator[SnapshotFile]:
    """The files of the snapshot in a directory, in the order of `order_of`."""
    for line in lines_from(directory / FILES):
        try:
            sha256, size, path = line.split(" ", 2)
            file = SnapshotFile(path, Sha256(sha256), int(size))
        except ValueError as error:
            raise _damaged(directory / FILES, f"{line[:80]!r} is no line of it") from error
        yield file


def read_head(directory: Path) -> SnapshotHead:
    """The head of the snapshot in a directory. Raises `Corrupt` when it is damaged, or of a later version."""
    place = directory / HEAD
    try:
        head = msgspec.json.decode(place.read_bytes(), type=SnapshotHead)
    except (msgspec.DecodeError, FileNotFoundError) as error:
        raise _damaged(place, error) from error
    if head.format != _FORMAT:
        raise Corrupt(f"{place} is of another version of this program", hint="use that version, or drop the snapshot")
    return head


def write_head(file: BinaryIO, head: SnapshotHead) -> None:
    file.write(msgspec.json.format(msgspec.json.encode(head)) + b"\n")


def _damaged(place: Path, problem: object) -> Corrupt:
    return Corrupt(f"{place} is damaged: {problem}", hint="drop this snapshot, by its number, and take another")


def changes_between(old: Iterator[SnapshotFile], new: Iterator[SnapshotFile]) -> Iterator[FileChange]:
    """Compare two listings in one pass."""
    before, after = next(old, None), next(new, None)
    while before is not None or after is not None:
        if after is None or (before is not None and order_of(before.path) < order_of(after.path)):
            assert before is not None
            yield FileChange(before.path, before, None)
            before = next(old, None)
        elif before is None or order_of(after.path) < order_of(before.path):
            yield FileChange(after.path, None, after)
            after = next(new, None)
        else:
            if (before.sha256, before.size) != (after.sha256, after.size):
                yield FileChange(after.path, before, after)
            before, after = next(old, None), next(new, None)
