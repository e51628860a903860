"""A blob store around another one: small bytes that were learned can be read at once, and are stored behind.

    learn ─► pending, in memory ─► LINGER ─► put, a few at a time ─► no longer pending

Only `learn` goes this way. `put` and stages are those of the store within: durable when they return.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.behind.storing import LINGER, Storing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, SignedUrl, Span, Stage
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.tools.side_by_side import side_by_side

LIMIT: Final = 16 << 20
"""Bytes that may be pending."""
_OVERHEAD: Final = 256


class BlobsBehind:
    """A `LearningBlobs`. Used from one event loop; `close` stores what is pending and closes the store within."""

    def __init__(self, inner: BlobStore, *, clock: Clock, limit: int = LIMIT, linger: float = LINGER) -> None:
        self.inner = inner
        self._clock = clock
        self._pending: dict[Sha256, tuple[bytes, Blob]] = {}
        self._storing = Storing(self._store, what="metadata files", limit=limit, linger=linger)

    async def learn(self, data: bytes) -> Blob:
        blob = Blob(sha256_of(data), len(data), self._clock.now() / 1_000_000)
        await self._storing.room(len(data) + _OVERHEAD)
        if blob.sha256 not in self._pending:
            self._pending[blob.sha256] = (data, blob)
            self._storing.added(len(data) + _OVERHEAD)
        failpoint("behind.blob_learned")
        return blob

    async def settle(self) -> None:
        await self._storing.settle()

    async def stored(self, keys: Iterable[Sha256]) -> None:
        """Wait until these are stored, as far as they are pending."""
        if self._pending and any(key in self._pending for key in keys):
            await self.settle()

    # Reading.

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        pending = self._pending.get(key)
        if pending is None or (span is not None and span.stop > pending[1].size):
            return self.inner.read(key, span)
        data = pending[0]
        return _once(data if span is None else data[span.start : span.stop])

    async def stat(self, key: Sha256) -> Blob | None:
        pending = self._pending.get(key)
        return await self.inner.stat(key) if pending is None else pending[1]

    async def locate(self, key: Sha256, *, filename: str, expires: int = 300) -> Path | SignedUrl | None:
        if key in self._pending:
            return None
        return await self.inner.locate(key, filename=filename, expires=expires)

    async def walk(self) -> AsyncIterator[Blob]:
        pending = [blob for _, blob in self._pending.values()]
        async for blob in self.inner.walk():
            yield blob
        for blob in pending:
            if blob.sha256 in self._pending:
                yield blob

    # Writing.

    def stage(self, *algorithms: str) -> AbstractAsyncContextManager[Stage]:
        return self.inner.stage(*algorithms)

    async def put(self, data: bytes) -> Blob:
        return await self.inner.put(data)

    async def drop(self, key: Sha256) -> bool:
        await self.stored([key])
        return await self.inner.drop(key)

    async def set_aside(self, key: Sha256) -> bool:
        await self.stored([key])
        return await self.inner.set_aside(key)

    async def owner(self) -> str:
        return await self.inner.owner()

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        return await self.inner.claim(identity, instead=instead)

    async def sweep(self, *, older_than: float) -> int:
        return await self.inner.sweep(older_than=older_than)

    async def finish(self) -> None:
        """Store what is pending, and take nothing more."""
        await self._storing.close()

    async def close(self) -> None:
        await self.finish()
        await self.inner.close()

    # Storing behind.

    async def _store(self) -> None:
        await side_by_side(list(self._pending), self._keep)

    async def _keep(self, key: Sha256) -> None:
        data, _ = self._pending[key]
        await self.inner.put(data)
        failpoint("behind.blob_kept")
        del self._pending[key]
        self._storing.gone(len(data) + _OVERHEAD)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


if TYPE_CHECKING:
    _: type[LearningBlobs] = BlobsBehind
