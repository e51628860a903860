"""Makes the manifest of a bundle from the difference of two snapshots, and compresses the pages that it brings.

Sorted files of lines stand for lists, so memory does not grow with the mirror. Equal snapshots give equal manifests.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from pkgindex_core.clock import to_rfc3339
from pkgindex_core.digests import Sha256
from pkgindex_mirror.bundles.apply_bundle import BARRIER_LINE, ManifestHead, Put, delete_line, head_line, put_line
from pkgindex_mirror.bundles.ledger import SentBundle
from pkgindex_mirror.bundles.ordering import LISTS, RANKS, STATE, is_packed, rank_of
from pkgindex_mirror.snapshots.listings import SnapshotFile, SnapshotHead, file_line
from pkgindex_mirror.snapshots.taking import Snapshots

Progress = Callable[[str, int, int], None]

_LEVEL: Final = 6
_REMEMBERED: Final = 1_000_000
"""The most digests that are held in memory, so that equal files are carried once."""
_CHUNK: Final = 1 << 20


class BundlePlan(Struct, frozen=True, kw_only=True):
    """The content of a bundle: three files and a list of objects, in the order of its stream."""

    head: ManifestHead
    manifest: Path
    manifest_size: int
    manifest_sha256: str
    raw: Path
    """Listing lines of the files that are carried as they are."""
    packed: Path
    changed: Path
    """Paths that are new or changed, sorted by rank."""

    @property
    def total(self) -> int:
        return self.manifest_size + self.head.raw + self.head.packed


class _Planner:
    """Writes the operations, and assigns each file its place."""

    def __init__(
        self, snapshots: Snapshots, raw: BinaryIO, packed: BinaryIO, operations: BinaryIO, changed: BinaryIO
    ) -> None:
        self._snapshots = snapshots
        self._raw_lines = raw
        self._packed_bytes = packed
        self._operations = operations
        self._changed = changed
        self._known: dict[Sha256, tuple[bool, int, int]] = {}
        self.raw = self.packed = self.puts = self.deletes = self._grouped = 0

    def put(self, file: SnapshotFile) -> None:
        where = self._known.get(file.sha256) or self._carry(file)
        if len(self._known) < _REMEMBERED:
            self._known[file.sha256] = where
        self._operations.write(put_line(Put(file.path, file.sha256, file.size, *where)))
        self._changed.write(f"{file.path}\n".encode())
        self.puts += 1

    def delete(self, file: SnapshotFile) -> None:
        self._operations.write(delete_line(file.path))
        self.deletes += 1

    def end_group(self) -> None:
        if self.puts + self.deletes > self._grouped:
            self._operations.write(BARRIER_LINE)
            self._grouped = self.puts + self.deletes

    def _carry(self, file: SnapshotFile) -> tuple[bool, int, int]:
        if is_packed(file.path, file.size):
            data = zlib.compress(b"".join(self._snapshots.objects.read(file)), _LEVEL)
            if len(data) < file.size:
                offset, self.packed = self.packed, self.packed + len(data)
                self._packed_bytes.write(data)
                return True, offset, len(data)
        if file.size:
            self._raw_lines.write(file_line(file))
        offset, self.raw = self.raw, self.raw + file.size
        return False, offset, file.size


def make_plan(
    snapshots: Snapshots, sent: SentBundle, mirror: str, head: SnapshotHead, *, scratch: Path, progress: Progress
) -> BundlePlan:
    """Make the manifest of a bundle from `sent.since` to `sent.snapshot`. `manifest`, `parts` and `bytes` of `sent` are not known yet.

    `scratch` is a directory that becomes full of files. Raises `Corrupt` when a snapshot has lost bytes, and `OSError`.
    """
    _sort_out(snapshots, sent, scratch)
    with ExitStack() as files:
        opened = {
            name: files.enter_context((scratch / name).open("xb"))
            for name in ("raw", "packed", "operations", "changed")
        }
        planner = _Planner(snapshots, **opened)
        for rank in RANKS[:STATE]:
            for number, file in enumerate(_listed(scratch / f"put-{rank}")):
                planner.put(file)
                progress("the manifest", number, 0)
            planner.end_group()
        for rank in RANKS[LISTS::-1]:
            for file in _listed(scratch / f"del-{rank}"):
                planner.delete(file)
            planner.end_group()
        for file in _listed(scratch / f"put-{STATE}"):
            planner.put(file)
        planner.end_group()
        for file in _listed(scratch / f"del-{STATE}"):
            planner.delete(file)
    told = ManifestHead(
        mirror=mirror,
        bundle=sent.bundle,
        after=sent.after,
        previous=sent.previous,
        full=sent.full,
        snapshot=sent.snapshot,
        since=sent.since,
        serial=head.serial,
        created=to_rfc3339(head.created),
        puts=planner.puts,
        deletes=planner.deletes,
        raw=planner.raw,
        packed=planner.packed,
    )
    return _finished(told, scratch)


def raw_files(plan: BundlePlan) -> Iterator[SnapshotFile]:
    """The files that are carried as they are."""
    return _listed(plan.raw)


def _sort_out(snapshots: Snapshots, sent: SentBundle, scratch: Path) -> None:
    """Write what was put and deleted into one file of lines a rank."""
    with ExitStack() as files:
        puts = [files.enter_context((scratch / f"put-{rank}").open("xb")) for rank in RANKS]
        deletes = [files.enter_context((scratch / f"del-{rank}").open("xb")) for rank in RANKS]
        for change in snapshots.changes(sent.since, sent.snapshot):
            if change.new is not None:
                puts[rank_of(change.path)].write(file_line(change.new))
            elif change.old is not None:
                deletes[rank_of(change.path)].write(file_line(change.old))


def _listed(place: Path) -> Iterator[SnapshotFile]:
    with place.open("rb") as lines:
        for line in lines:
            sha256, size, path = line.decode().rstrip("\n").split(" ", 2)
            yield SnapshotFile(path, Sha256(sha256), int(size))


def _finished(head: ManifestHead, scratch: Path) -> BundlePlan:
    digest, size = hashlib.sha256(), 0
    with (scratch / "operations").open("rb") as operations, (scratch / "manifest").open("xb") as manifest:
        chunk = head_line(head)
        while chunk:
            digest.update(chunk)
            size += manifest.write(chunk)
            chunk = operations.read(_CHUNK)
    return BundlePlan(
        head=head,
        manifest=scratch / "manifest",
        manifest_size=size,
        manifest_sha256=digest.hexdigest(),
        raw=scratch / "raw",
        packed=scratch / "packed",
        changed=scratch / "changed",
    )
