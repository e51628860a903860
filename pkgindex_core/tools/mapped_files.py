"""Files of a cache that the processes of a host share: written beside their place, renamed, and read through memory maps.

    NAME                     one whole file: mark, checksum and length, then the content
    RANDOM.unfinished        locked by its writer; without the lock it is left over from a killed process

A file is never changed in its place, so a map stays as it is when the file is replaced or removed. Nothing is made durable: a file whose checksum
does not fit is as good as none. It is compared by reads, since a map of a failing disk would end the process.

Does not know what is in the files. All methods but `touch` block for longer than an event loop may.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import re
import struct
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from pkgindex_core.failpoints import failpoint

_log = logging.getLogger(__name__)

_MARK: Final = b"pkgindex"
_HEAD: Final = struct.Struct("<8sIQ")
"""The mark, CRC-32 of the content, and its length."""
_UNFINISHED: Final = ".unfinished"
_NAME: Final = re.compile(r"[0-9a-f]{64}")
_PIECE: Final = 256 * 1024
_UNUSED_SECONDS: Final = 86_400.0
"""A file goes when it was used so long before the newest one."""


class MappedFile(Struct, frozen=True):
    """The content of one file, as it was when it was opened."""

    content: memoryview
    identity: tuple[int, int]
    """Device and inode. The map keeps the inode from being used for another file."""


class MappedFiles:
    """A directory of such files, which is made when it is needed. The first read removes what killed processes left over."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        """`limit`: bytes of all files. The least recently used ones go first."""
        self._directory = directory
        self._limit = limit
        self._is_swept = False
        self._is_failing = False

    def read(self, name: str, *, known: MappedFile | None = None) -> MappedFile | None:
        """The file of this name, if it is whole. `known` is returned if it is still that file. Never raises."""
        if not self._is_swept:
            self._is_swept = True
            self._sweep()
        try:
            with (self._directory / name).open("rb") as file:
                if known is not None and known.identity == _identity(file):
                    return known
                return _mapped(file) if _is_whole(file) else None
        except (OSError, ValueError):  # none, no file, or one that cannot be read or mapped
            return None

    def write(self, name: str, pieces: Sequence[bytes | memoryview]) -> MappedFile | None:
        """Put a file in the place of a former one; None if it cannot be written, which is logged once."""
        try:
            written = self._write(name, pieces)
        except OSError as error:
            if not self._is_failing:
                _log.warning(
                    "%s cannot be written, so each process keeps its content in memory: %s", self._directory, error
                )
            self._is_failing = True
            return None
        self._is_failing = False
        with suppress(OSError):
            self._prune()
        return written

    def touch(self, name: str) -> None:
        """Mark a file as used now."""
        with suppress(OSError):
            os.utime(self._directory / name)

    def _write(self, name: str, pieces: Sequence[bytes | memoryview]) -> MappedFile:
        crc = 0
        for piece in pieces:
            crc = zlib.crc32(piece, crc)
        self._directory.mkdir(mode=0o700, exist_ok=True)
        descriptor, path = tempfile.mkstemp(suffix=_UNFINISHED, dir=self._directory)
        unfinished = Path(path)
        with open(descriptor, "w+b") as file:  # noqa: PTH123 - of a descriptor
            try:
                # On a file system without locks a sweep may remove the file, and the renaming fails.
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.write(_HEAD.pack(_MARK, crc, sum(map(len, pieces))))
                for piece in pieces:
                    file.write(piece)
                file.flush()
                written = _mapped(file)
                failpoint("mapped.written")
                unfinished.replace(self._directory / name)
            except BaseException:
                with suppress(OSError):
                    unfinished.unlink()
                raise
        failpoint("mapped.renamed")
        return written

    def _sweep(self) -> None:
        """Remove what killed processes left over, and what is too old."""
        with suppress(OSError):
            for path in self._directory.glob(f"*{_UNFINISHED}"):
                with suppress(OSError), path.open("rb") as file:
                    if not _is_locked(file):
                        path.unlink()
            self._prune()

    def _prune(self) -> None:
        found = []
        with os.scandir(self._directory) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        found.sort(reverse=True)
        size = 0
        for used, own, path in found:
            size += own
            if size > self._limit or used < found[0][0] - _UNUSED_SECONDS:
                with suppress(OSError):
                    path.unlink()


def _is_locked(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False


def _is_whole(file: BinaryIO) -> bool:
    head, found = file.read(_HEAD.size), 0
    if len(head) < _HEAD.size:
        return False
    mark, crc, length = _HEAD.unpack(head)
    if mark != _MARK or length != os.fstat(file.fileno()).st_size - _HEAD.size:
        return False
    while piece := file.read(_PIECE):
        found = zlib.crc32(piece, found)
    return found == int(crc)


def _mapped(file: BinaryIO) -> MappedFile:
    """The content of an open file. The map ends with the last view of it."""
    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return MappedFile(view[_HEAD.size :], _identity(file))


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino
