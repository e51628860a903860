"""Translates errors of the operating system into errors of this library.

Modules of every floor use files: engines store them, services read archives, programs send them. Messages contain no paths,
since clients read them; the log has the paths, from the chained exception.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from pkgindex_core.errors import StorageFull, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


def storage_failure(error: OSError, doing: str, *, place: str = "the blob store") -> Unavailable:
    """Translate an error; the hint says what to do. `place` is where the files are."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _FULL:
        return StorageFull(
            f"no room {doing}: {reason}",
            retry_after=300,
            hint=f"free space or inodes on the file system (or raise the quota) of {place}; no restart is needed",
        )
    if error.errno in _OUT_OF_DESCRIPTORS:
        hint = "too many files are open: raise the limit of open files (ulimit -n, LimitNOFILE=)"
    elif error.errno == errno.EROFS:
        hint = f"the file system of {place} is read-only: see the kernel's log, then remount it for writing"
    elif error.errno == errno.EIO:
        hint = f"the disk of {place} reported an error: see the kernel's log before trusting it again"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = f"the server's user may not write there: change the owner or the mode of {place}"
    else:
        hint = "see the server's log for the file and the call that failed"
    return Unavailable(f"storage failed {doing}: {reason}", hint=hint)
