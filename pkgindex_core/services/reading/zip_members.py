"""Reads zips member by member: the directory at the end once, then only the bytes of the members that are asked for.

A remote blob store sends only these. The caller says where the bytes come from, and who may have them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Refused
from pkgindex_core.formats.archives.bounds import ArchiveLimits
from pkgindex_core.formats.archives.zip_places import (
    MemberPlace,
    TooShortError,
    Unpacking,
    ZipDirectory,
    read_directory,
)
from pkgindex_core.protocols import Span
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

ReadSpan = Callable[[Span], AsyncIterator[bytes]]
"""Reads a part of a zip."""

_TAIL_BYTES: Final = 256 * 1024
"""The bytes to read first from the end of a zip: enough for a directory of two thousand members and the longest comment."""
_SMALL_BYTES: Final = 64 * 1024


class ZipMembers:
    """Reads members of zips, and keeps their directories."""

    def __init__(self, *, workers: Executor, limits: ArchiveLimits, kept: int) -> None:
        """`kept`: the most members in all cached directories. The entry of a member takes some two hundred bytes."""
        self._workers = workers
        self._limits = limits
        # A directory over the limit is still cached, alone, since clients read many members of one zip in a row.
        self.directories: BoundedCache[Sha256, ZipDirectory] = BoundedCache(
            kept, size_of=lambda each: min(len(each.members), kept)
        )
        self._reading: SingleFlight[ZipDirectory] = SingleFlight()

    async def directory(self, key: Sha256, size: int, read: ReadSpan) -> ZipDirectory:
        """The directory of a zip of `size` bytes with the digest `key`. Raises `Refused` for a malformed zip, and the errors of `read`.

        Concurrent callers share one read.
        """
        known = self.directories.get(key)
        if known is None:
            known = await self._reading.get(key, lambda: self._read_directory(size, read))
            self.directories.put(key, known)
        return known

    async def _read_directory(self, size: int, read: ReadSpan) -> ZipDirectory:
        start = max(0, size - _TAIL_BYTES)
        for _ in range(2):
            tail = b"".join([data async for data in read(Span(start, size))]) if size else b""
            try:
                return await in_worker(self._workers, partial(read_directory, tail, size, self._limits))
            except TooShortError as short:
                start = short.start
        raise Refused("its directory is not where it says")

    async def read(self, place: MemberPlace, read: ReadSpan) -> AsyncIterator[bytes]:
        """Yield a member's bytes in pieces. All bytes are verified before the last piece is yielded; damaged ones raise `DamagedError` instead."""
        unpacking = Unpacking(place)
        held = b""
        async for data in read(Span(place.start, place.stop)):
            pieces = unpacking.feed(data)
            # A hop to a worker costs more than unpacking a small member.
            while piece := (
                next(pieces, b"")
                if place.size <= _SMALL_BYTES
                else await in_worker(self._workers, partial(next, pieces, b""))
            ):
                if held:
                    yield held
                held = piece
        unpacking.finish()
        if held:
            yield held
