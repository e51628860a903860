"""A record of the blobs that a verification found whole, so that a stopped verification can go on.

A file of digests, 32 bytes each, appended to. It is not synchronised, since blobs of a lost end are only hashed again. A half
written digest is cut off. The file is locked while a verification runs, and removed when it is complete.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict
from pkgindex_core.failpoints import failpoint
from pkgindex_core.storage_failures import storage_failure

RECORD: Final = "verified"
"""Its name in the data directory."""
_DIGEST_BYTES: Final = 32


class VerifiedRecord:
    """The digests of the blobs that were found whole. Made by `open_record`."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        whole = len(data) - len(data) % _DIGEST_BYTES
        os.ftruncate(descriptor, whole)
        self._known = {data[start : start + _DIGEST_BYTES] for start in range(0, whole, _DIGEST_BYTES)}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: Sha256) -> bool:
        return bytes.fromhex(key) in self._known

    def add(self, key: Sha256) -> None:
        os.write(self._descriptor, bytes.fromhex(key))
        failpoint("verify.noted")

    def end(self) -> None:
        """Remove the record: the next verification starts from the beginning."""
        self._path.unlink(missing_ok=True)


@contextmanager
def open_record(data: Path, *, anew: bool) -> Iterator[VerifiedRecord]:
    """Open the record in a data directory, for one verification at a time."""
    path = data / RECORD
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_failure(error, "noting what was verified") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict("another verification of this store is running", hint="wait until it has ended") from error
        if anew:
            os.ftruncate(descriptor, 0)
        yield VerifiedRecord(descriptor, path)
    except OSError as error:
        raise storage_failure(error, "noting what was verified") from error
    finally:
        os.close(descriptor)
