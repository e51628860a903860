"""File systems that other machines change without an event on this one. Roots on them are checked every few seconds."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_SHARED: Final = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gfs2",
    "ocfs2",
    "vboxsf",
    "virtiofs",
    "prl_fs",
)
_MOUNTS: Final = Path("/proc/self/mountinfo")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def shared_file_system(directory: str) -> str:
    """The type of the file system of a directory, if other machines may change it without an event on this one; otherwise empty."""
    kind = file_system(directory)
    return kind if kind in _SHARED or kind.startswith("fuse") else ""


def file_system(directory: str) -> str:
    """The type of the file system of a directory, as the kernel calls it; empty where the system does not tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = os.path.realpath(directory)
    best, kind = "", ""
    for line in mounts:
        before, _, behind = line.partition(" - ")
        point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        # Of several mounts at one place, the last hides the others.
        if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
            best, kind = point, behind.split(" ")[0]
    return kind
