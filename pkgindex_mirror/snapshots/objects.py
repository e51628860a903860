"""The bytes that snapshots keep: one object a digest, as hard links to the files of the tree.

A sync replaces and removes names. The bytes stay while an object names them. A file that another program overwrites in place would change under its
object: the few that bandersnatch overwrites in this way are copied. Reading an object compares its digest.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_mirror.bundles.ordering import STATES
from pkgindex_mirror.snapshots.hashing import StampedFile, changed
from pkgindex_mirror.snapshots.listings import SnapshotFile
from pkgindex_mirror.snapshots.places import SnapshotPlaces, make_directory, synchronise

_NO_LINK: Final = {
    errno.EXDEV: "is on another file system than .pkgindex",
    errno.EPERM: "may not be linked: it is another user's, or the file system has no hard links",
    errno.EACCES: "may not be linked: its directory is another user's",
    errno.EOPNOTSUPP: "may not be linked: the file system has no hard links",
    errno.ENOSYS: "may not be linked: the file system has no hard links",
}
"""Copies would take the room of a second mirror, so there are none."""
_CHUNK: Final = 1 << 20
_READABLE: Final = 0o644


class Objects:
    """The objects beside a tree. Called with the lock of the snapshots held."""

    def __init__(self, places: SnapshotPlaces) -> None:
        self._places = places
        self._made: set[Path] = set()

    def keep(self, stamped: StampedFile) -> None:
        """Keep the bytes of a file of the tree. Raises `Conflict` when the file is not the one that was walked any more."""
        place = self._places.object(stamped.sha256)
        try:
            if place.stat().st_size == stamped.file.size:
                return
            place.unlink()
        except FileNotFoundError:
            if place.parent not in self._made:
                for directory in (self._places.objects, place.parent):
                    make_directory(directory)
                self._made |= {self._places.private, self._places.objects, place.parent}
        source = self._places.root / stamped.file.path
        if stamped.file.path in STATES or not self._link(source, place, stamped):
            self._copy(source, place, stamped)
        self._made.add(place.parent)
        failpoint("snapshot.object_kept")

    def settle(self) -> None:
        """Make durable what was kept."""
        synchronise(self._made)
        self._made.clear()

    def place(self, file: SnapshotFile) -> Path:
        """The object of a file. Raises `Corrupt` when it is missing, or was overwritten."""
        place = self._places.object(file.sha256)
        try:
            size = place.stat().st_size
        except FileNotFoundError:
            size = -1
        if size != file.size:
            raise _damaged(file)
        return place

    def read(self, file: SnapshotFile) -> Iterator[bytes]:
        """The bytes of a file. Raises `Corrupt` at the end when they are not those of its digest."""
        digest = hashlib.sha256()
        with self.place(file).open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != file.sha256:
            self.remove(file.sha256)  # so that the next snapshot keeps the right bytes
            raise _damaged(file)

    def remove(self, sha256: Sha256) -> None:
        place = self._places.object(sha256)
        place.unlink(missing_ok=True)
        failpoint("snapshot.object_removed")

    def _link(self, source: Path, place: Path, stamped: StampedFile) -> bool:
        try:
            os.link(source, place)
            if place.is_symlink():  # link(2) does not follow
                place.unlink()
                os.link(source.resolve(), place)
        except FileNotFoundError as error:
            raise changed(stamped.file.path) from error
        except OSError as error:
            if error.errno == errno.EMLINK:
                return False
            if error.errno not in _NO_LINK:
                raise
            raise Refused(
                f"{stamped.file.path} {_NO_LINK[error.errno]}",
                hint="snapshots keep bytes as hard links: have the whole tree on one file system, and run as its owner",
            ) from error
        status = place.stat()
        if (status.st_size, status.st_mtime_ns, status.st_ino) != (
            stamped.file.size,
            stamped.file.modified_ns,
            stamped.file.inode,
        ):
            place.unlink()
            raise changed(stamped.file.path)
        return True

    def _copy(self, source: Path, place: Path, stamped: StampedFile) -> None:
        new = self._places.new / stamped.sha256
        digest = hashlib.sha256()
        try:
            with source.open("rb") as opened, new.open("xb") as file:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
            new.chmod(_READABLE)
        except FileNotFoundError as error:
            raise changed(stamped.file.path) from error
        if digest.hexdigest() != stamped.sha256:
            raise changed(stamped.file.path)
        new.rename(place)
        self._made.add(place)


def _damaged(file: SnapshotFile) -> Corrupt:
    return Corrupt(
        f"the bytes of {file.path} that a snapshot keeps are missing or were overwritten (sha256 {file.sha256})",
        hint="repair the file in the tree, and take a new snapshot, which keeps its bytes again",
    )
