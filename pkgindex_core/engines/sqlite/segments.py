"""Packing the files of mirrored projects: segments of a project's rows, ordered by filename.

    low ""          [row row row … 128 at first, 256 at most]
    low "demo-3.1…" [row row row …]

A segment is a msgpack array of `PageRow`s, zstd-compressed. A database row per file takes nearly four times the disk; with one
blob per project, changing one file among 10,000 costs a hundred times as much (figures in `pkgindex_core/DESIGN.md`).
Segments are split upwards and never merged, so an iteration by (project, low) misses no row that stays. No SQL here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from pkgindex_core.digests import Sha256
from pkgindex_core.engines.packing import compress, decompress
from pkgindex_core.models import PageRow
from pkgindex_core.rules import merging

ROWS_AT_FIRST: Final = 128
ROWS_AT_MOST: Final = 256
LONG: Final = merging.LONG
"""Number of rows from which a page stays packed in memory."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[PageRow])


def pack(rows: Sequence[PageRow]) -> bytes:
    return compress(_encoder.encode(rows))


def unpack(packed: bytes) -> list[PageRow]:
    return _decoder.decode(decompress(packed))


class PackedRows(Collection[PageRow]):
    """Rows of a long page by filename, unpacked during iteration: a million unpacked rows take a gigabyte."""

    def __init__(self, packed: Sequence[bytes], count: int) -> None:
        self._packed = packed
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PageRow]:
        for data in self._packed:
            yield from unpack(data)

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)


def row_named(rows: Sequence[PageRow], filename: str) -> PageRow | None:
    """Find a row in one segment."""
    at = bisect_right(rows, filename, key=_filename) - 1
    return rows[at] if at >= 0 and rows[at].filename == filename else None


def edited(rows: Sequence[PageRow], put: Iterable[PageRow], drop: Iterable[str]) -> list[PageRow]:
    """Apply a difference to the rows of one segment, `drop` first."""
    by_name = {row.filename: row for row in rows}
    for filename in drop:
        by_name.pop(filename, None)
    by_name.update((row.filename, row) for row in put)
    return sorted(by_name.values(), key=_filename)


def split(low: str, rows: Sequence[PageRow]) -> Iterator[tuple[str, Sequence[PageRow]]]:
    """Cut a segment that has grown too large; the first part keeps its `low`."""
    if len(rows) <= ROWS_AT_MOST:
        yield low, rows
        return
    for start in range(0, len(rows), ROWS_AT_FIRST):
        yield (rows[start].filename if start else low), rows[start : start + ROWS_AT_FIRST]


def segment_of(lows: Sequence[str], filename: str) -> int:
    """The position of the segment in which a filename belongs; `lows` begins with the empty string."""
    return bisect_right(lows, filename) - 1


class _Blobs(msgspec.Struct, gc=False):
    """The two fields of a stored `File` that name blobs. Decoding only them is much faster."""

    digests: Mapping[str, str] = {}
    metadata_sha256: str | None = None


_blobs_decoder = msgspec.msgpack.Decoder(_Blobs)


def blobs(rows: Iterable[PageRow]) -> list[Sha256]:
    """The known sha256 of files and sidecars in a segment."""
    named = (_blobs_decoder.decode(row.body) for row in rows)
    return [
        Sha256(digest) for names in named for digest in (names.digests.get("sha256"), names.metadata_sha256) if digest
    ]


def _filename(row: PageRow) -> str:
    return row.filename
