"""A blob store around another one. Small blobs that were learned can be read at once, and are stored a moment later.

    learn ─► pending, in memory ─► LINGER ─► put, a few at a time ─► no longer pending

Only `learn` works like this. `put` and spools are those of the inner store: durable when they return.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engines.behind.copies import OwnAndCopies
from pkgindex_core.engines.behind.kept_blobs import KeptBlobs, KeptSpool
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import Blob, BlobStore, SignedUrl, Span, Spool
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.tools.bounded_cache import Caching, NamedCache
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.storing import LINGER, Storing

LIMIT: Final = 16 << 20
"""Bytes that may be pending."""
_OVERHEAD: Final = 256


class BlobsBehind:
    """A `LearningBlobs`. Used from one event loop; `close` stores pending blobs and closes the inner store."""

    def __init__(
        self,
        inner: BlobStore,
        *,
        clock: Clock,
        limit: int = LIMIT,
        linger: float = LINGER,
        open_copies: Callable[[], Awaitable[BlobStore]] | None = None,
    ) -> None:
        """`open_copies` opens the store of the copies; None: they are among the other blobs."""
        self.inner = inner
        self._all = OwnAndCopies(inner, open_copies) if open_copies is not None else None
        self.kept = KeptBlobs(inner)
        """The blobs that were kept through this store."""
        self._users: list[Callable[[Sha256], bool]] = []
        self._clock = clock
        self._pending: dict[Sha256, tuple[bytes, Blob]] = {}
        self._storing = Storing(self._store, what="metadata files of mirrors", limit=limit, linger=linger)

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
        """Wait until those of these blobs that are pending are stored."""
        if self._pending and any(key in self._pending for key in keys):
            await self.settle()

    # Reading.

    def read(self, key: Sha256, span: Span | None = None) -> AsyncIterator[bytes]:
        pending = self._pending.get(key)
        if pending is None or (span is not None and span.stop > pending[1].size):
            return (self._all or self.inner).read(key, span)
        data = pending[0]
        return _once(data if span is None else data[span.start : span.stop])

    async def stat(self, key: Sha256, *, promised: int | None = None) -> Blob | None:
        if key not in self._pending and (stored := await self._stat(key, promised)) is not None:
            return stored
        pending = self._pending.get(key)  # also if it was learned during the question to the inner store
        return None if pending is None else pending[1]

    async def _stat(self, key: Sha256, promised: int | None) -> Blob | None:
        # Rows promise own blobs only: copies may be removed at any moment.
        if promised is not None and (own := await self.inner.stat(key, promised=promised)) is not None:
            return own
        return await (self._all or self.inner).stat(key)

    async def locate(
        self, key: Sha256, *, filename: str, expires: int = 300, may_redirect: bool = False
    ) -> Path | SignedUrl | None:
        if key in self._pending:
            return None
        return await (self._all or self.inner).locate(
            key, filename=filename, expires=expires, may_redirect=may_redirect
        )

    async def walk(self, prefix: str = "") -> AsyncIterator[Blob]:
        pending = [blob for _, blob in self._pending.values() if blob.sha256.startswith(prefix)]
        async for blob in (self._all or self.inner).walk(prefix):
            yield blob
        for blob in pending:
            if blob.sha256 in self._pending:
                yield blob

    # Writing.

    def spool(self, *algorithms: str) -> AbstractAsyncContextManager[Spool]:
        return KeptSpool(self.inner.spool(*algorithms), self.kept)

    async def put(self, data: bytes) -> Blob:
        version = self.kept.version
        blob = await self.inner.put(data)
        self.kept.kept(blob.sha256, version)
        return blob

    async def drop(self, key: Sha256, *, modified: float | None = None) -> bool:
        await self.stored([key])
        return await (self._all or self.inner).drop(key, modified=modified)

    async def set_aside(self, key: Sha256) -> bool:
        await self.stored([key])
        return await (self._all or self.inner).set_aside(key)

    async def owner(self) -> str:
        return await self.inner.owner()

    async def claim(self, identity: str, *, instead: bool = False) -> str:
        return await self.inner.claim(identity, instead=instead)

    async def sweep(self, *, older_than: float) -> int:
        return await self.inner.sweep(older_than=older_than)

    async def finish(self) -> None:
        """Store pending blobs, and refuse new ones."""
        await self._storing.close()

    def caches(self) -> Sequence[NamedCache]:
        caches = [NamedCache("kept_blobs", self.kept._kept)]
        if self._all is not None:
            caches.append(NamedCache("copies", self._all._seen))
        return [*caches, *(self.inner.caches() if isinstance(self.inner, Caching) else ())]

    async def close(self) -> None:
        await self.finish()
        await self.close_copies()
        await self.inner.close()

    # Copies.

    async def copies(self) -> BlobStore | None:
        return None if self._all is None else await self._all.copies()

    async def make_own(self, key: Sha256) -> None:
        await self.stored([key])
        version = self.kept.version
        if self._all is not None:
            await self._all.make_own(key)
            self.kept.kept(key, version)

    def own(self) -> BlobStore:
        return self.inner

    async def owns(self, key: Sha256) -> bool:
        return key in self._pending or await self.inner.stat(key) is not None

    def is_read(self, key: Sha256) -> bool:
        return self._all is not None and key in self._all.reading

    def used(self, key: Sha256) -> bool:
        stays = True
        for told in self._users:
            stays = told(key) and stays
        return stays

    def watch(self, used: Callable[[Sha256], bool]) -> None:
        self._users.append(used)

    async def close_copies(self) -> None:
        if self._all is not None:
            await self._all.close()

    # Storing.

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
