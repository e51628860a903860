"""Makes many files durable at once. Linux only has a call for it; elsewhere each file is synchronised.

The pages of a thousand projects and their files are ten thousand small files. An fsync for each would be ten thousand commits of the file
system's journal. `syncfs` writes everything that is not written yet and commits once, so a batch costs as much as one file. It also
writes what other programs left, which may be much: a few files are therefore synchronised one by one. Since Linux 5.8 it reports errors of
writing, as fsync does. After an error nothing of the batch counts as written.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

_FEW: Final = 24
"""So many files and directories are synchronised one by one; of more, the whole file system is."""


def syncs_all(count: int) -> bool:
    """Whether so many places are made durable together with everything else of their file system."""
    return count > _FEW and _syncfs is not None


def sync_places(places: Collection[Path], roots: Iterable[Path], *, everything: bool = False) -> None:
    """Make files and directories durable. Those that are gone are no error. `roots`: a directory of each file system that has some of them.

    `everything`: make all that these file systems have durable; only where `syncs_all` is true of some number.
    """
    if everything or syncs_all(len(places)):
        for root in {root.stat().st_dev: root for root in roots}.values():
            _sync_file_system(root)
        return
    for place in places:
        with suppress(FileNotFoundError):
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _sync_file_system(root: Path) -> None:
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _find_syncfs() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_int], ctypes.c_int
    return function


_syncfs: Final = _find_syncfs()
