"""What it means when the operating system refuses something: the border where its errors become ours.

Every floor touches files (engines keep them, services have archives read, programs send them), so the translation is
here, once. Paths stay out of the message: clients read it. The log has them, by the exception that is chained.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from pkgindex_core.errors import StorageFull, Unavailable

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})


def storage_failure(error: OSError, doing: str) -> Unavailable:
    """Say what the operating system refused, and what to do about it."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in _FULL:
        return StorageFull(
            f"no room {doing}: {reason}",
            retry_after=300,
            hint="free space or inodes on the file system (or raise the quota) of the blob store; no restart is needed",
        )
    if error.errno in _OUT_OF_DESCRIPTORS:
        hint = "too many files are open: raise the limit of open files (ulimit -n, LimitNOFILE=)"
    elif error.errno == errno.EROFS:
        hint = "the file system of the blob store is read-only: see the kernel's log, then remount it for writing"
    elif error.errno == errno.EIO:
        hint = "the disk of the blob store reported an error: see the kernel's log before trusting it again"
    elif error.errno in {errno.EACCES, errno.EPERM}:
        hint = "the directory of the blob store must belong to the user the server runs as"
    else:
        hint = "see the server's log for the file and the call that failed"
    return Unavailable(f"storage failed {doing}: {reason}", hint=hint)
