"""Walks a tree of files in the order in which snapshots list them.

Of a mirror's tree, which has a directory `web`, that directory is walked, the advisories that are carried with it, and the files with which
bandersnatch goes on. Of another tree all is walked. Names that begin with a dot belong to programs: locks, what is being written, what is kept beside the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import Conflict, Refused
from pkgindex_mirror.bundles.apply_bundle import path_problem

_OF_MIRRORS: Final = ("advisories", "generation", "status", "web")


class WalkedFile(Struct, frozen=True, gc=False):
    """A file of a tree, and how it looks from outside."""

    path: str
    size: int
    modified_ns: int
    inode: int


def walk(root: Path) -> Iterator[WalkedFile]:
    """The files of a tree, in the order of `order_of`.

    A symlink to a file in the tree counts as the file. Raises `Refused` for other symlinks, for what is no file, and for names that a bundle
    could not carry. Raises `Conflict` when something vanishes meanwhile.
    """
    tops = _OF_MIRRORS if (root / "web").is_dir() else None
    try:
        yield from _walk(root, root, "", tops)
    except FileNotFoundError as error:
        raise Conflict(
            f"{error.filename} vanished while the tree was walked", hint="let the sync end, and try again"
        ) from error


def _walk(root: Path, directory: Path, before: str, names: tuple[str, ...] | None) -> Iterator[WalkedFile]:
    with os.scandir(directory) as scanned:
        entries = sorted((each for each in scanned if not each.name.startswith(".")), key=lambda each: each.name)
    for entry in entries:
        if names is not None and entry.name not in names:
            continue
        path = before + entry.name
        if problem := path_problem(path):
            raise Refused(f"the name {path!r} {problem}", hint="remove or rename this file")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, root / path, f"{path}/", None)
            continue
        status = _target(root, path) if entry.is_symlink() else entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is no regular file", hint="a tree has files and directories; remove this")
        yield WalkedFile(path, status.st_size, status.st_mtime_ns, status.st_ino)


def _target(root: Path, path: str) -> os.stat_result:
    try:
        target = (root / path).resolve()
        is_inside = target.is_relative_to(root) and target.is_file()
    except RuntimeError:  # Python before 3.13 says it so that a symlink leads to itself
        is_inside = False
    if not is_inside:
        raise Refused(
            f"{path} is a symlink to a directory, to nothing, or out of the tree",
            hint="put the directory or file itself in its place",
        )
    return target.stat()
