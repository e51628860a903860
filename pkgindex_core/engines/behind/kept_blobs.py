"""Blobs that this process has kept and that no row may name yet. A clearing (`tools.clearing`) may remove such a blob.

    keep     notes the last known announcement for the blob
    commit   requires that announcement. If it has changed, the blobs are looked for again

Without a clearing a commit costs one more row of the notes, and no request to the blob store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

from pkgindex_core.changes import NoteIs
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import RequirementFailed, Unavailable
from pkgindex_core.protocols import Blob, BlobStore, Spool
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.clearing import Announcement, announced, is_under_way
from pkgindex_core.tools.side_by_side import side_by_side

Outcome = TypeVar("Outcome")

_REMEMBERED: Final = 16_384
"""Blobs that are remembered: many more than any writer keeps before it commits."""
_NEVER_READ: Final = -1
"""No version."""
_TURNS: Final = 100
"""The number of announcements that may overtake one commit."""
_LOOKS: Final = 600
_PAUSE_SECONDS: Final = 0.05
"""How often, and after which pauses, an announcement is read again that names a kept blob: it ends when its blobs are removed."""


class KeptBlobs:
    """The kept blobs of one process, with the version of the announcement under which each was known to be stored."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._kept: BoundedCache[Sha256, int] = BoundedCache(_REMEMBERED)
        self._known = Announcement(version=_NEVER_READ)

    @property
    def version(self) -> int:
        """The version of the last known announcement; read it before a blob is kept."""
        return self._known.version

    def kept(self, key: Sha256, version: int) -> None:
        """Remember a blob that was stored after this version was known."""
        self._kept.put(key, version)

    async def committed(
        self, notes: Notes, keys: Collection[Sha256], commit: Callable[[tuple[NoteIs, ...]], Awaitable[Outcome]]
    ) -> Outcome:
        """Commit rows that name these blobs. `commit` gets requirements of its own.

        Raises `Unavailable`, before anything was changed, if a blob was removed since it was kept.
        """
        kept = {key for key in keys if self._kept.get(key) is not None}
        if not kept:
            return await commit(())
        for turn in range(_TURNS):
            unchanged = (await self._announcement(notes, kept, anew=turn > 0)).unchanged
            try:
                return await commit((unchanged,))
            except RequirementFailed as error:
                if error.requirement != unchanged:
                    raise
        raise Unavailable("unused files are being removed faster than this can be stored", retry_after=1)

    async def _announcement(self, notes: Notes, keys: Collection[Sha256], *, anew: bool) -> Announcement:
        """An announcement during which all blobs were seen, and which does not remove them."""
        known = self._known
        anew = anew or known.version == _NEVER_READ
        if anew or any(self._kept.get(key) != known.version or key in known.keys for key in keys):
            known = self._known = await self._settled(notes, keys)
            version = known.version

            async def look_for(key: Sha256) -> None:
                if await self._blobs.stat(key) is None:
                    raise Unavailable(
                        "the bytes were removed as unused while they were being stored",
                        retry_after=1,
                        hint="send them again",
                    )
                self._kept.put(key, version)

            await side_by_side(keys, look_for)
        return known

    async def _settled(self, notes: Notes, keys: Collection[Sha256]) -> Announcement:
        for _ in range(_LOOKS):
            found = await announced(notes)
            if found.keys.isdisjoint(keys) or not await is_under_way(notes, found):
                return found
            await asyncio.sleep(_PAUSE_SECONDS)
        raise Unavailable("the same bytes are being removed as unused", retry_after=5, hint="send them again")


class KeptSpool:
    """A spool around another one, whose blob is remembered when it is kept."""

    def __init__(self, inner: AbstractAsyncContextManager[Spool], kept: KeptBlobs) -> None:
        self._entered = inner
        self._kept = kept
        self._inner: Spool

    async def __aenter__(self) -> Self:
        self._inner = await self._entered.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.__aexit__(kind, error, trace)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.write(data)

    async def flush(self) -> None:
        await self._inner.flush()

    def flushed(self) -> Path:
        return self._inner.flushed()

    def opened(self) -> BinaryIO:
        return self._inner.opened()

    @property
    def size(self) -> int:
        return self._inner.size

    @property
    def path(self) -> Path:
        return self._inner.path

    def hexdigest(self, algorithm: str = "sha256") -> str:
        return self._inner.hexdigest(algorithm)

    async def keep(self) -> Blob:
        version = self._kept.version
        blob = await self._inner.keep()
        self._kept.kept(blob.sha256, version)
        return blob
