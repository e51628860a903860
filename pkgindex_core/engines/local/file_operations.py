"""Every call about files that durable local storage makes to the operating system, and the meaning of their failures.

Tests replace the class to fail at the n-th call, or to record the calls and derive the states that a power cut may leave
(`pkgindex_core.testing.faults`, `tests/crash/crash_states.py`). It knows nothing of blobs. Everything here blocks and is
called in worker threads.

The engine relies only on these promises of the kernel:
* bytes survive a power cut once `sync` of their file returned, a name once `sync_directory` of its directory did;
* a rename is atomic for running readers;
* after a failed sync the kernel may report the same pages clean: a second sync proves nothing and is never made.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from pkgindex_core.errors import Unavailable
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.workers import begun

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

# NFS, FUSE and others may not lock directories. On these, only threads of one process are protected from each other.
_LOCKS_UNSUPPORTED = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_LOCK_HELD = frozenset({errno.EAGAIN, errno.EACCES})
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class FileOperations:
    """The calls. `directory` is an open directory in which `name` is looked up. Symlinks are never followed."""

    def make_directory(self, path: Path) -> bool:
        """Make a private directory; False when the name is there already."""
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def open_directory(self, path: Path) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def create(self, path: Path) -> int:
        """Open a new private file for writing. Fails when the name exists, also as a dangling symlink."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def open(self, name: Path | str, directory: int | None = None) -> int:
        # O_NONBLOCK: a FIFO in place of a file must not block a worker for ever.
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)

    def write(self, descriptor: int, data: bytes | bytearray | memoryview) -> None:
        """Write all bytes. The kernel takes at most 2 GiB a call, and less when it is interrupted or the disk is nearly full."""
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(descriptor, view[done:])

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    def sync(self, descriptor: int) -> None:
        """Make the bytes of a file durable."""
        if _FULL_SYNC is not None:  # macOS: fsync alone stops at the drive's cache
            fcntl.fcntl(descriptor, _FULL_SYNC)
        else:
            os.fsync(descriptor)

    def sync_directory(self, descriptor: int) -> None:
        """Make the names in a directory durable."""
        os.fsync(descriptor)

    def touch(self, descriptor: int, seconds: float) -> None:
        """Set the modification time, in seconds since the epoch."""
        os.utime(descriptor, (seconds, seconds))

    def lock(self, descriptor: int, *, wait: bool = True) -> bool:
        """Lock an open file or directory against other threads and processes; without `wait`, False when it is locked already.

        The lock ends when the descriptor is closed, also by the death of the process. Returns True if the file system cannot
        lock.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno in _LOCK_HELD:
                return False
            if error.errno not in _LOCKS_UNSUPPORTED:
                raise
        return True

    def status(self, name: Path | str, directory: int | None = None) -> os.stat_result | None:
        """The status of a name; None when it does not exist."""
        try:
            return os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def opened_status(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def rename(self, source: Path, name: str, directory: int) -> None:
        """Move a file to a name in an open directory, and replace the file of that name."""
        os.rename(source, name, dst_dir_fd=directory)

    def unlink(self, name: Path | str, directory: int | None = None) -> None:
        os.unlink(name, dir_fd=directory)

    def list_directory(self, path: Path) -> list[tuple[str, os.stat_result]]:
        """The names in a directory with their status. Names that vanish meanwhile are left out."""
        listed = []
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    listed.append((entry.name, entry.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
        return listed

    def close(self, descriptor: int) -> None:
        os.close(descriptor)


def submit(
    workers: Executor, doing: str, function: Callable[[*Arguments], Result], *arguments: *Arguments
) -> Future[Result]:
    """Start a blocking function in the engine's threads."""
    try:
        return workers.submit(function, *arguments)
    except RuntimeError as error:
        raise _stopped(doing) from error


async def in_worker(
    workers: Executor,
    doing: str,
    function: Callable[[*Arguments], Result],
    *arguments: *Arguments,
    place: str = "the blob store",
) -> Result:
    """Run a blocking function in the engine's threads. Errors of the operating system become `Unavailable`; hints name the `place`.

    Cancelling the caller does not stop a function that has begun, so it must not depend on its caller.
    """
    try:
        running = begun(workers, function, *arguments)
    except RuntimeError as error:
        raise _stopped(doing) from error
    try:
        return await running
    except OSError as error:
        raise storage_failure(error, doing, place=place) from error


def _stopped(doing: str) -> Unavailable:
    """The error when the workers are closed."""
    return Unavailable(f"stopped before {doing}", hint="the server is shutting down; try again")
