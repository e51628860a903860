"""Marks local files that are being sent, for other processes too: a shared lock on the descriptor, which ends with it.

A file that is removed while it is read stays whole for its reader, so these marks only save the work of fetching it again. Nothing waits
for such a lock.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path


def mark_as_read(descriptor: int) -> None:
    """Mark the file of an open descriptor until the descriptor, and each duplicate of it, is closed. Takes a microsecond."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_marked_as_read(path: Path) -> bool:
    """Whether some process is reading the file. False when it cannot be told. Blocks for a moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
