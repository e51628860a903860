"""Two blob stores that read as one: the store's own blobs, and copies of files that an upstream has too.

    own       what uploads, pushes and imports name. Nothing here is ever evicted
    copies    what mirrors fetched, in a place of its own: each may be dropped at any moment, and fetched again

The stores are apart, so that no row of a hosted index can depend on a blob that may be evicted: bytes that are both uploaded and mirrored
are stored twice. The copies are opened at their first use.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, SignedUrl, Span
from pkgindex_core.tools.bounded_cache import BoundedCache

_REMEMBERED: Final = 10_000
"""Number of copies that are remembered, and looked up among the copies first."""


class OwnAndCopies:
    """The reading half of a `BlobStore` over both stores, and the calls that concern both."""

    def __init__(self, own: BlobStore, open_copies: Callable[[], Awaitable[BlobStore]]) -> None:
        self._own = own
        self._open_copies = open_copies
        self._opened: BlobStore | None = None
        self._opening = asyncio.Lock()
        self._seen: BoundedCache[Sha256, bool] = BoundedCache(_REMEMBERED)
        self.reading: Counter[Sha256] = Counter()
        """The blobs that this process is reading, with the number of readers."""

    async def copies(self) -> BlobStore:
        """The store of the copies."""
        if self._opened is None:
            async with self._opening:
                if self._opened is None:
                    self._opened = await self._open_copies()
        return self._opened

    async def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        is_copy = self._seen.get(key) is not None
        begun = False
        with self._read(key):
            for turn in (is_copy, not is_copy):
                store = await self.copies() if turn else self._own
                try:
                    async for data in store.read(key, span):
                        begun = True
                        yield data
                except Missing:
                    if begun or turn != is_copy:
                        raise
                else:
                    return

    @contextmanager
    def _read(self, key: Sha256) -> Iterator[None]:
        self.reading[key] += 1
        try:
            yield
        finally:
            self.reading[key] -= 1
            if not self.reading[key]:
                del self.reading[key]

    async def stat(self, key: Sha256) -> Blob | None:
        if self._seen.get(key) is None:
            blob = await self._own.stat(key)
            if blob is not None:
                return blob
        blob = await (await self.copies()).stat(key)
        if blob is None:
            return await self._forgotten(key)
        self._seen.put(key, True)
        return blob

    async def _forgotten(self, key: Sha256) -> Blob | None:
        """Look a dropped copy up among the own blobs: the same bytes may have been uploaded meanwhile."""
        if self._seen.get(key) is None:
            return None
        self._seen.drop(key)
        return await self._own.stat(key)

    async def locate(self, key: Sha256, *, filename: str, expires: int, may_redirect: bool) -> Path | SignedUrl | None:
        """Look the blob up before: what is not known as a copy is taken for an own blob, whose URL does not tell that there is none."""
        stores = [self._own] if self._opened is None else [self._own, self._opened]
        for store in reversed(stores) if self._seen.get(key) is not None else stores:
            place = await store.locate(key, filename=filename, expires=expires, may_redirect=may_redirect)
            if place is not None:
                return place
        return None

    async def make_own(self, key: Sha256) -> None:
        """Store a blob among the own blobs, durably, if it is only a copy. Raises `Missing` if it is neither."""
        with self._read(key):  # so that it is not dropped meanwhile
            if await self._own.stat(key) is None:
                await self._copy(key)

    async def _copy(self, key: Sha256) -> None:
        async with self._own.spool() as spool:
            async for data in self.read(key):
                await spool.write(data)
            if spool.hexdigest() != key:
                raise Corrupt(f"the stored copy of {key} is damaged", hint="run `pkgindex-serve verify --repair`")
            await spool.keep()
        failpoint("copies.made_own")
        self._seen.drop(key)

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        async for blob in self._own.walk(prefix):
            yield blob
        async for blob in (await self.copies()).walk(prefix):
            if await self._own.stat(blob.sha256) is None:
                yield blob

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        own = await self._own.drop(key, modified=modified)
        return await (await self.copies()).drop(key, modified=modified) or own

    async def set_aside(self, key: Sha256) -> bool:
        own = await self._own.set_aside(key)
        return await (await self.copies()).set_aside(key) or own

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
