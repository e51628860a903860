"""Writes objects into a directory so that each is seen whole or not at all. Nothing here makes anything durable (`syncing_disk`).

A new small file is written without a name (`small_files`): a process that dies leaves nothing, and thousands of files do not queue for one
directory. Where that is not possible, and for large files, a file is written in another directory and moved.

Pages replace older ones. They are staged beside them, under names that the next try uses again.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_mirror.trees.small_files import READABLE, SmallFiles

STAGED: Final = ".new"
"""The end of the name of a page that is not seen yet; it begins with a dot."""
_NO_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES, errno.ENOSYS})


class LocalWriting:
    """Writes below `root`. `new` is a directory for files that are moved from there."""

    def __init__(self, root: Path, new: Path, small: SmallFiles, *, manage_permissions: bool = True) -> None:
        self._root = root
        self._new = new
        self._small = small
        self._operations = FileOperations()
        self._manages = manage_permissions

    def place_bytes(self, path: str, data: bytes | bytearray, modified: Timestamp) -> None:
        """Have these bytes at a path below the root, with a modification time."""
        if self._small.place(path, data, modified) is None:
            whole = self._new / secrets.token_hex(8)
            whole.write_bytes(data)
            self.place(whole, self._root / path, modified)

    def place(self, whole: Path, path: Path, modified: Timestamp) -> None:
        """Move a file to a path, with a modification time."""
        if self._manages:
            whole.chmod(READABLE)
        os.utime(whole, ns=(modified * 1000, modified * 1000))
        self.move(whole, path)

    def move(self, new: Path, path: Path) -> None:
        """Move a file to a path, also to another file system."""
        try:
            try:
                new.replace(path)
            except FileNotFoundError:
                self.make_directory(path.parent)
                new.replace(path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.make_directory(path.parent)
            beside = staged(path)
            try:
                shutil.copy2(new, beside)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            new.unlink()

    def stage(self, path: Path, data: bytes) -> Path:
        """Write a page that is not seen yet; return where it is."""
        beside = staged(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(beside, flags, READABLE)
        except FileNotFoundError:
            self.make_directory(path.parent)
            descriptor = os.open(beside, flags, READABLE)
        try:
            self._operations.write(descriptor, data)
            if self._manages:
                os.fchmod(descriptor, READABLE)
        finally:
            os.close(descriptor)
        return beside

    def stage_copy(self, path: Path, original: Path) -> Path:
        """Stage the same bytes once more, as a link if the file system has links."""
        beside = staged(path)
        self.make_directory(path.parent)
        beside.unlink(missing_ok=True)
        try:
            os.link(original, beside)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            shutil.copyfile(original, beside)
            if self._manages:
                beside.chmod(READABLE)
        return beside

    def stage_link(self, path: Path, to: Path) -> Path:
        """Stage a symbolic link, which is relative."""
        beside = staged(path)
        self.make_directory(path.parent)
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(to, path.parent))
        return beside

    def make_directory(self, directory: Path) -> None:
        """Make a directory and those above it, which a web server may enter whatever the umask is."""
        self._small.make_directory(str(directory))


def staged(path: Path) -> Path:
    """Where a page is before it is seen."""
    return path.with_name(f".{path.name}{STAGED}")
