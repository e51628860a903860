"""A blob from one store into another, compared with its name before it is kept."""

from __future__ import annotations

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.protocols import BlobStore


async def copy_blob(source: BlobStore, target: BlobStore, key: Sha256) -> int:
    """Copy one blob; return its size. `Missing` when the source does not have it, `Corrupt` when its bytes are others."""
    async with target.stage() as stage:
        async for chunk in source.read(key):
            await stage.write(chunk)
        if stage.hexdigest() != key:
            raise Corrupt(f"the blob {key} has other bytes than its name says")
        return (await stage.keep()).size
