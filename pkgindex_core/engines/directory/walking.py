"""Finds the distributions in a local directory and below. Blocking; run it in a worker.

Names that begin with a dot are ignored, and so are symbolic links below the root: a link must not lead out of the root, and a target within it
is found anyway. The root itself may be a link. A directory elsewhere needs its own root.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.directory.listing import Entry, project_of
from pkgindex_core.protocols.sources import mark_of

GRAIN_SECONDS: Final = 2.0
"""The coarsest time stamps that file systems have. A file this young may change again without a new mark."""
LEFTOVER: Final = ".pkgindex-"
"""The prefix of the hidden names of files that are being uploaded or removed."""
_LEFTOVER_SECONDS: Final = 24 * 3600.0

_log = logging.getLogger(__name__)


class Walked(Struct):
    """The files and directories that were found in a directory and below."""

    entries: dict[str, Entry | None] = {}
    directories: dict[str, int] = {}
    """Each directory with the time of its last change in nanoseconds; -1: it may change again without a new time."""


def walk(root: str, directory: str, enter: Callable[[str], None], had_files: Callable[[str], bool]) -> Walked:
    """Walk through a directory of a root. `enter` is called for each directory before it is read, so that no change is missed.

    A file or directory that vanishes meanwhile is absent. A directory below that may not be read is ignored. If it `had_files` before, they are
    unknown and not absent, so the error ends the walk. Any other `OSError` ends it too.
    """
    walked = Walked()
    # The directory may have become a link since, or one above it.
    waiting = [directory] if os.path.realpath(directory) == directory else []
    while waiting:
        here = waiting.pop()
        try:
            enter(here)
            changed = os.lstat(here)
            with os.scandir(here) as found:
                for each in found:
                    _look_at(each, waiting, walked)
        except (FileNotFoundError, NotADirectoryError):
            if here == root:
                raise
            continue
        except PermissionError:
            if here == root or had_files(here):
                raise
            _log.warning("the directory %s may not be read, and is ignored", here)
            continue
        walked.directories[here] = -1 if age_of(changed.st_mtime) < GRAIN_SECONDS else changed.st_mtime_ns
    return walked


def _look_at(each: os.DirEntry[str], waiting: list[str], walked: Walked) -> None:
    if each.name.startswith("."):
        if each.name.startswith(LEFTOVER):
            _sweep(each.path)
    elif each.is_dir(follow_symlinks=False):
        waiting.append(each.path)
    elif (entry := entry_at(path := each.path)) is not None:
        walked.entries[path] = entry


def entry_at(path: str) -> Entry | None:
    """The distribution at a path; None when there is none."""
    project = project_of(path.rpartition("/")[2])
    if project is None:
        return None
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Entry(path, project, mark_of(found), found.st_size, found.st_mtime)


def age_of(moment: float) -> float:
    """Seconds since a file system's time stamp, by the clock of the machine: the engine's clock may be another."""
    return SystemClock().now() / 1_000_000 - moment


def is_hidden(root: str, path: str) -> bool:
    """Whether a part of a path below its root begins with a dot."""
    return any(part.startswith(".") for part in Path(path).relative_to(root).parts)


def changed_directories(known: dict[str, int]) -> Iterator[str]:
    """The directories whose time has changed since they were walked, and those that are gone."""
    for directory, changed in known.items():
        try:
            found = os.lstat(directory)
        except (FileNotFoundError, NotADirectoryError):
            yield directory
            continue
        if found.st_mtime_ns != changed:
            yield directory


def _sweep(path: str) -> None:
    """Remove an old hidden file that a killed upload or deletion left."""
    try:
        if age_of(os.lstat(path).st_ctime) > _LEFTOVER_SECONDS:
            Path(path).unlink()
    except OSError as error:
        _log.warning("%s is left over and cannot be removed: %s", path, error)
