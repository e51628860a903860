"""Writes the stream of a bundle as signed parts of a given size."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pkgindex_core.errors import Refused, StorageFull
from pkgindex_core.failpoints import failpoint
from pkgindex_mirror.bundles.apply_bundle import (
    PREFIX,
    SIGNED,
    SUFFIX,
    BundleRefused,
    PartHeader,
    header_bytes,
    prefix_bytes,
    read_part,
)
from pkgindex_mirror.bundles.keys import BundleSigner
from pkgindex_mirror.bundles.planning import BundlePlan, Progress, raw_files
from pkgindex_mirror.snapshots.taking import Snapshots

LEAST_PART_SIZE: Final = 4096
_MOST_PARTS: Final = 9999
_CHUNK: Final = 1 << 20


def part_count(total: int, part_size: int) -> int:
    """The number of parts of a stream. Raises `Refused` for a size that makes no sense."""
    if part_size < LEAST_PART_SIZE:
        raise Refused(f"parts of {part_size} bytes are too small", hint=f"at least {LEAST_PART_SIZE}")
    count = -(-total // (part_size - PREFIX))
    if count > _MOST_PARTS:
        raise Refused(f"these would be {count} parts", hint=f"at most {_MOST_PARTS}: give a larger --part-size")
    return count


def write_parts(
    plan: BundlePlan, snapshots: Snapshots, signer: BundleSigner, out: Path, part_size: int, progress: Progress
) -> list[tuple[Path, Path]]:
    """Write all parts under hidden names, durably. Returns pairs of hidden and final path.

    Raises `StorageFull` before anything is written when the directory has no room for them, and `OSError`.
    """
    count = part_count(plan.total, part_size)
    free = shutil.disk_usage(out).free
    if free < plan.total + count * PREFIX:
        raise StorageFull(
            f"the bundle has {plan.total + count * PREFIX} bytes, and {out} has room for {free}",
            retry_after=None,
            hint="free space there, or name another directory with --out",
        )
    _remove_leftovers(out, plan.head.mirror)
    pieces = _Pieces(_stream(plan, snapshots))
    written: list[tuple[Path, Path]] = []
    try:
        for part in range(1, count + 1):
            name = f"{plan.head.mirror}-{plan.head.bundle:06}-{part:04}-of-{count:04}{SUFFIX}"
            _refuse_another(out / name, plan, signer)
            written.append((out / f".{name}.new", out / name))
            offset = (part - 1) * (part_size - PREFIX)
            with written[-1][0].open("wb") as file:
                _write_part(file, plan, signer, (part, count), offset, pieces.take(part_size - PREFIX))
            failpoint("bundle.part_written")
            progress("", min(offset + part_size, plan.total), plan.total)
    except BaseException:
        for hidden, _ in written:
            hidden.unlink(missing_ok=True)
        raise
    return written


def _remove_leftovers(out: Path, mirror: str) -> None:
    """Remove the hidden parts of a run that died, but not those of a mirror with a longer name that writes here now."""
    pattern = re.compile(rf"\.{re.escape(mirror)}-\d{{6,}}-\d{{4}}-of-\d{{4}}{re.escape(SUFFIX)}\.new")
    for leftover in out.iterdir():
        if pattern.fullmatch(leftover.name):
            leftover.unlink()


def _refuse_another(place: Path, plan: BundlePlan, signer: BundleSigner) -> None:
    """Raise `Refused` when a file has the name of a part, and is one of another bundle with this key."""
    try:
        there = read_part(place, [signer.public_key]).header
    except (BundleRefused, OSError):
        return  # It is not there, or it is damaged and written again.
    if there.manifest_sha256 != plan.manifest_sha256:
        raise Refused(
            f"{place} is a part of another {there.bundle_name}",
            hint="name another directory with --out; mirrors of one name cannot share one",
        )


def _write_part(
    file: BinaryIO,
    plan: BundlePlan,
    signer: BundleSigner,
    number: tuple[int, int],
    offset: int,
    pieces: Iterator[bytes],
) -> None:
    file.write(bytes(PREFIX))
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += file.write(piece)
    head = plan.head
    text = header_bytes(
        PartHeader(
            mirror=head.mirror,
            bundle=head.bundle,
            after=head.after,
            previous=head.previous,
            full=head.full,
            manifest_size=plan.manifest_size,
            manifest_sha256=plan.manifest_sha256,
            total=plan.total,
            part=number[0],
            parts=number[1],
            offset=offset,
            size=size,
            sha256=digest.hexdigest(),
        )
    )
    file.seek(0)
    file.write(prefix_bytes(text, signer.sign(SIGNED + text)))
    file.flush()
    os.fsync(file.fileno())


def _stream(plan: BundlePlan, snapshots: Snapshots) -> Iterator[bytes]:
    yield from _bytes_of(plan.manifest)
    for listed in raw_files(plan):
        yield from snapshots.objects.read(listed)
    yield from _bytes_of(plan.packed)


def _bytes_of(place: Path) -> Iterator[bytes]:
    with place.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


class _Pieces:
    """A stream that is taken in slices."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes; fewer at the end of the stream."""
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._stream, b""))
                if not self._rest:
                    return
            piece, self._rest = self._rest[:size], self._rest[size:]
            size -= len(piece)
            yield bytes(piece)
