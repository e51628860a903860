"""How the SQL engines pack the log and the metadata of releases. No SQL here.

log       ─► names the page of a `MirrorPage` by its digest, because the page in one piece is stored once, beside the log
long data ─► zstd, with a mark: `packed`
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from pkgindex_core.changes import Change, MirrorPage, decode_changes
from pkgindex_core.models import Release

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACK_FROM: Final = 512
"""Bytes of encoded changes, or of an encoded release, from which they are compressed."""
_LEVEL: Final = 3
ANSWER_BYTES: Final = 512 * 1024
"""Bytes of encoded changes from which on no further commit is read with them. The names of a long list take twenty times as much once they are decoded."""
_compressor: Final = zstd.ZstdCompressor(_LEVEL)
"""One for all threads, which use it in turn. Making one takes three times as long as compressing the metadata of a release."""
_encode = msgspec.msgpack.Encoder().encode
_release_decoder = msgspec.msgpack.Decoder(Release)


def compress(data: bytes) -> bytes:
    return _compressor.compress(data, _compressor.FLUSH_FRAME)


def decompress(data: bytes) -> bytes:
    return zstd.decompress(data)


def packed(data: bytes) -> tuple[bool, bytes]:
    """Compress long data; the first value says whether it was."""
    return (True, compress(data)) if len(data) >= PACK_FROM else (False, data)


def packed_release(release: Release) -> tuple[bool, bytes]:
    return packed(_encode(release))


def release_of(is_packed: object, body: bytes) -> Release:
    return _release_decoder.decode(decompress(body) if is_packed else body)


def changes_of(is_packed: object, data: bytes) -> tuple[Change, ...]:
    """The changes of a row of the log, with digests in the place of pages."""
    return decode_changes(decompress(data) if is_packed else data)


def some_changes(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], tuple[Change, ...]]]:
    """Rows of the log, which end with `packed` and `changes`, and their changes, with digests in the place of pages. Ends early behind long ones."""
    left = ANSWER_BYTES
    for *row, is_packed, data in rows:
        changes = decompress(data) if is_packed else data
        yield tuple(row), decode_changes(changes)
        left -= len(changes)
        if left < 0:
            return


def digests_of(changes: Iterable[Change]) -> dict[bytes, bytes]:
    """The digests of the pages in one piece of a list of changes, by their bytes."""
    return {kept: sha256(kept).digest() for kept in kept_of(changes)}


def kept_of(changes: Iterable[Change]) -> list[bytes]:
    """The pages in one piece of a list of changes; of changes from the log, their digests."""
    return [each.kept for each in changes if isinstance(each, MirrorPage) and each.kept]


def with_kept(changes: Iterable[Change], kept: Mapping[bytes, bytes]) -> tuple[Change, ...]:
    """The changes with their pages replaced by digests, or their digests by pages, as `kept` says."""
    return tuple(
        replace(each, kept=kept[each.kept]) if isinstance(each, MirrorPage) and each.kept else each for each in changes
    )
