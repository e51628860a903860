"""The places of snapshots beside a tree, and the locks under which they are changed.

ROOT/.lock                              locked by a sync; bandersnatch locks it too
ROOT/.pkgindex/lock                     locked by a publisher of static trees
ROOT/.pkgindex/bundles/lock             locked while bundles are applied
ROOT/.pkgindex/snapshots/lock           locked by commands about snapshots and bundles
ROOT/.pkgindex/snapshots/N/head.json    a snapshot: name, time, serial, totals
ROOT/.pkgindex/snapshots/N/files.gz     its files: sha256, size and path a line, sorted
ROOT/.pkgindex/snapshots/N.linking/     a snapshot whose objects are not all there yet
ROOT/.pkgindex/snapshots/N.dropping/    a snapshot whose objects are being removed
ROOT/.pkgindex/snapshots/stamps.gz      sizes, times and digests of the files of the tree when it was last walked
ROOT/.pkgindex/snapshots/new/…          what is being written
ROOT/.pkgindex/objects/AA/SHA256        the bytes that snapshots keep
ROOT/.pkgindex/trees/N/…                a snapshot as a tree of hard links
ROOT/.pkgindex/published/NAME           a relative symlink to a tree, for a web server
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_core.errors import Conflict, Missing

_FEW: Final = 64
"""So many files are synchronised one by one; of more, the whole system is."""
_ENTERABLE: Final = 0o755


class SnapshotPlaces:
    """The places for one tree. Makes no directory before it is needed."""

    def __init__(self, root: Path) -> None:
        """Raises `Missing` when there is no such directory."""
        if not root.is_dir():
            raise Missing("directory", str(root), hint="name the directory of a mirror, or of another tree of files")
        self.root = root.resolve()
        self.private = self.root / ".pkgindex"
        self.snapshots = self.private / "snapshots"
        self.new = self.snapshots / "new"
        self.stamps = self.snapshots / "stamps.gz"
        self.objects = self.private / "objects"
        self.trees = self.private / "trees"
        self.published = self.private / "published"
        self.names = self.snapshots / "names.json"

    def snapshot(self, number: int, state: str = "") -> Path:
        return self.snapshots / (f"{number}.{state}" if state else f"{number}")

    def object(self, sha256: str) -> Path:
        return self.objects / sha256[:2] / sha256

    def tree(self, number: int) -> Path:
        return self.trees / f"{number}"

    def numbers(self, state: str = "", *, among: Path | None = None) -> list[int]:
        """The numbers of snapshots in a state, ascending."""
        suffix = f".{state}" if state else ""
        place = among or self.snapshots
        if not place.is_dir():
            return []
        stems = (each.name.removesuffix(suffix) for each in place.iterdir() if each.name.endswith(suffix))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    @contextmanager
    def locked(self, *, tree: bool = False) -> Iterator[None]:
        """Hold the lock of snapshots, and with `tree` those of everything that writes to the tree. Raises `Conflict` when one is held."""
        for directory in (self.private, self.snapshots, self.new):
            make_directory(directory)
        with ExitStack() as held:
            held.enter_context(
                _lock(self.snapshots / "lock", f"another command about snapshots of {self.root} runs now")
            )
            if tree:
                for place in (self.root / ".lock", self.private / "lock", self.private / "bundles" / "lock"):
                    if place.parent.is_dir():
                        held.enter_context(_lock(place, f"{self.root} is being written to now"))
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Remove what a command left that died."""
        for leftover in self.new.iterdir():
            remove_tree(leftover)


@contextmanager
def _lock(place: Path, message: str) -> Iterator[None]:
    operations = FileOperations()
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not operations.lock(descriptor, wait=False):
            raise Conflict(message, hint="wait until it has ended")
        yield
    finally:
        os.close(descriptor)


def make_directory(place: Path) -> None:
    """Make a directory that a web server may enter, whatever the umask is."""
    with suppress(FileExistsError):
        place.mkdir()
        place.chmod(_ENTERABLE)


def remove_tree(place: Path) -> None:
    """Remove a file, or a directory with all that is in it."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def synchronise(places: Iterable[Path]) -> None:
    """Make files and directories durable."""
    each = [*places]
    if len(each) > _FEW:
        os.sync()
        return
    for place in each:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_durably(place: Path, data: bytes, *, new: Path) -> None:
    """Replace a file. `new` is a directory on the same file system."""
    written = new / place.name
    written.write_bytes(data)
    synchronise([written])
    written.replace(place)
    synchronise([place.parent])
