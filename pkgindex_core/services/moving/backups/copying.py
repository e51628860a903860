"""Copies a blob from one store to another."""

from __future__ import annotations

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.protocols import BlobStore


async def copy_blob(source: BlobStore, target: BlobStore, key: Sha256) -> int:
    """Copy one blob; return its size. Raises `Missing` when the source does not have it, `Corrupt` when its bytes are damaged."""
    async with target.spool() as spool:
        async for chunk in source.read(key):
            await spool.write(chunk)
        if spool.hexdigest() != key:
            raise Corrupt(f"the blob {key} has other bytes than its name says")
        return (await spool.keep()).size
