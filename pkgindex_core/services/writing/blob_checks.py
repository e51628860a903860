"""Checks whether a blob that an upload relies on is whole."""

from __future__ import annotations

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.protocols import BlobStore


async def is_whole(blobs: BlobStore, key: Sha256) -> bool:
    """Whether a small blob is there and has the bytes of its name."""
    try:
        data = b"".join([chunk async for chunk in blobs.read(key)])
    except (Missing, Corrupt):
        return False
    return sha256_of(data) == key
