"""Puts files into a local directory and hides them. Each move is durable and atomic, and can be undone until it is kept."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.directory.root import FileMove, NewFile
from pkgindex_core.engines.directory.walking import LEFTOVER
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore
from pkgindex_core.protocols.sources import mark_of
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.workers import in_worker

_PLACE: Final = "the directory of the index"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""Errors of a hard link on file systems such as exFAT and some of FUSE."""


async def put_file(
    workers: Executor, new: NewFile, target: Path, *, replaces: bool, noted: Callable[[str], None]
) -> LocalMove:
    """Write bytes to a hidden file beside the target and rename it, durably. `FileExistsError`: the name is taken.

    `noted` is called with the file's mark before the rename.
    """
    written = _beside(target)
    move = LocalMove(workers, target, is_new=True)
    try:
        await new.write(written)
        await in_worker(workers, _synchronize, written)
        failpoint("directory.written")
        noted(mark_of(await in_worker(workers, os.lstat, written)))
        await in_worker(workers, move.put, written, replaces)
        return move
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_failure(error, "writing a file into a directory", place=_PLACE) from error
    finally:
        with suppress(OSError):
            await in_worker(workers, written.unlink)


async def copy_file(workers: Executor, source: Path, path: Path) -> None:
    """Write the bytes of a local file into a new file."""
    await in_worker(workers, shutil.copyfile, source, path)


async def write_blob(workers: Executor, blobs: BlobStore, sha256: Sha256, path: Path) -> None:
    """Write a blob into a new file."""
    await in_worker(workers, _append, path, b"")
    async for chunk in blobs.read(sha256):
        await in_worker(workers, _append, path, chunk)


async def hide_file(workers: Executor, target: Path) -> LocalMove:
    """Give a file a hidden name. A file that does not exist counts as hidden."""
    move = LocalMove(workers, target, is_new=False)
    try:
        await in_worker(workers, move.hide)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_failure(error, "removing a file from a directory", place=_PLACE) from error
    return move


class LocalMove:
    """A file that was put or hidden. The previous file has a hidden name until the move is kept or undone."""

    def __init__(self, workers: Executor, target: Path, *, is_new: bool) -> None:
        self._workers = workers
        self._target = target
        self._before = _beside(target)
        self._is_new = is_new

    def put(self, written: Path, replaces: bool) -> None:
        """Give the written file its name, durably."""
        if replaces:
            try:
                with suppress(FileNotFoundError):
                    _keep_beside(self._target, self._before)
                written.replace(self._target)
            except BaseException:
                self._before.unlink(missing_ok=True)
                raise
        else:
            _rename_to_free(written, self._target)
        _synchronize(self._target.parent)

    def hide(self) -> None:
        self._target.rename(self._before)

    async def keep(self) -> None:
        await in_worker(self._workers, self._keep)

    def _keep(self) -> None:
        self._before.unlink(missing_ok=True)
        _synchronize(self._target.parent)

    async def undo(self) -> None:
        await in_worker(self._workers, self._undo)

    def _undo(self) -> None:
        if self._before.exists():
            self._before.replace(self._target)
        elif self._is_new:
            self._target.unlink(missing_ok=True)
        _synchronize(self._target.parent)


def _keep_beside(target: Path, before: Path) -> None:
    """Give a file a second name; where there are no hard links, copy it, so that its own name is never missing."""
    try:
        os.link(target, before)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(target, before)


def _rename_to_free(written: Path, target: Path) -> None:
    """Give a file a free name. Another file that takes the name meanwhile is not replaced, except where there are no hard links."""
    try:
        os.link(written, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        written.rename(target)


def _append(path: Path, data: bytes) -> None:
    """Opens the file for each chunk: a caller that is cancelled leaves nothing open."""
    with path.open("ab", buffering=0) as file:
        file.write(data)


def _synchronize(path: Path) -> None:
    """Sync a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(target: Path) -> Path:
    return target.with_name(f"{LEFTOVER}{secrets.token_hex(8)}")


if TYPE_CHECKING:
    _: type[FileMove] = LocalMove
