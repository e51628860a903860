"""Writes whole small files into a directory with as few calls as possible: a mirror has millions of them.

A file is written without a name in the directory in which it belongs, and gets its name when it is whole. That takes less time than handing it
to a worker, so it is done in the event loop as long as the disk is quick. Places that need more are left to `local_writing`.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from pkgindex_core.clock import Timestamp

READABLE: Final = 0o644
_ENTERABLE: Final = 0o755
_NAMELESS: Final[int] = getattr(os, "O_TMPFILE", 0)
_IMPOSSIBLE: Final = frozenset(
    {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOSYS}
)
_SLOW: Final = 0.002
"""Seconds that a file takes on a disk for which the event loop does not wait."""
_REMEMBERED: Final = 16_384
"""Directories."""
_WEIGHT: Final = 0.1
"""Of the last file in the average."""


class SmallFiles:
    """The small files below `root`."""

    def __init__(self, root: Path, *, manage_permissions: bool = True) -> None:
        self._root = str(root)
        self._is_possible = bool(_NAMELESS)
        self._average = 0.0
        mask = os.umask(0)
        os.umask(mask)
        self._sets_modes = manage_permissions and bool(mask & _ENTERABLE)
        self._there: set[str] = set()
        """Directories that were there a moment ago. Others are made first: most files are alone in theirs, or with their metadata file."""

    @property
    def is_quick(self) -> bool:
        """Whether the event loop may wait for the disk."""
        return self._average < _SLOW

    def place(self, path: str, data: bytes | bytearray, modified: Timestamp) -> os.stat_result | None:
        """Have a new file at a path, with a modification time. None when it cannot be made in this way, or something is there."""
        if not self._is_possible:
            return None
        begun = time.perf_counter()
        try:
            return self._place(f"{self._root}/{path}", data, modified)
        finally:
            self.took(time.perf_counter() - begun)

    def took(self, seconds: float) -> None:
        """Take the time into account that the disk took for a file."""
        self._average += (seconds - self._average) * _WEIGHT

    def make_directory(self, directory: str) -> None:
        """Make a directory and those above it, which a web server may enter whatever the umask is."""
        try:
            self._make_one(directory)
        except FileNotFoundError:
            self.make_directory(directory.rpartition("/")[0])
            self._make_one(directory)

    def _make_one(self, directory: str) -> None:
        try:
            os.mkdir(directory, _ENTERABLE)  # noqa: PTH102 - a `Path` costs more than the call
        except FileExistsError:
            return
        if self._sets_modes:
            Path(directory).chmod(_ENTERABLE)

    def _place(self, target: str, data: bytes | bytearray, modified: Timestamp) -> os.stat_result | None:
        try:
            descriptor = self._open(target.rpartition("/")[0])
        except OSError as error:
            if error.errno not in _IMPOSSIBLE:
                raise
            self._is_possible = False
            return None
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, data[written:])
            os.utime(descriptor, ns=(modified * 1000, modified * 1000))
            status = os.fstat(descriptor)
            if self._sets_modes:
                os.fchmod(descriptor, READABLE)
            # `os.link` follows the link in /proc only if it gets a descriptor, which the absolute path makes meaningless.
            os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor, follow_symlinks=True)
        except FileExistsError:
            return None
        except OSError as error:
            if error.errno not in _IMPOSSIBLE and error.errno != errno.ENOENT:
                raise
            self._is_possible = False  # /proc is not mounted, or may not be used
            return None
        finally:
            os.close(descriptor)
        return status

    def _open(self, directory: str) -> int:
        flags = _NAMELESS | os.O_WRONLY | os.O_CLOEXEC
        if directory in self._there:
            with suppress(FileNotFoundError):  # it was removed meanwhile
                return os.open(directory, flags, READABLE)
        self.make_directory(directory)
        if len(self._there) >= _REMEMBERED:
            self._there.clear()
        self._there.add(directory)
        return os.open(directory, flags, READABLE)
