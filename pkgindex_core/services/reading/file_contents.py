"""Looks into files for people: lists the members of a wheel or a source distribution, and reads one of them.

    file of a page -> its bytes, if they are here -> the listing (kept by digest) -> one member

A file of a mirror is fetched only if that is asked for. A member of a zip is read by the span of its bytes, so that neither a listing nor a member
needs the whole file. A tar is unpacked up to its end, one at a time, within `LISTING_LIMITS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Missing, Refused, Unavailable
from pkgindex_core.formats.archives.bounds import MIB
from pkgindex_core.formats.archives.listing import (
    LISTING_LIMITS,
    ArchiveListing,
    MemberStart,
    compression_of,
    from_tar,
    is_zip,
    of_tar,
    of_zip,
)
from pkgindex_core.formats.archives.zip_contents import DamagedError
from pkgindex_core.formats.fragments import directory
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import BlobStore, Place, Principal, Span, Trees
from pkgindex_core.services.reading.files import Files
from pkgindex_core.services.reading.locating import Locating
from pkgindex_core.services.reading.opened_files import ArrivingContent, ElsewhereFile, StoredContent
from pkgindex_core.services.reading.placed_bytes import read_placed, use_file
from pkgindex_core.services.reading.zip_members import ReadSpan, ZipMembers
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

MEMBER_BYTES: Final = 256 * 1024
"""The most bytes of a member that are read."""
_SPOOLED_BYTES: Final = 256 * MIB
"""The most bytes of a tar that is copied from a remote store."""
_KEPT: Final = 50_000
"""The most members in all cached listings, and in all cached directories of zips."""
_FETCHING_SECONDS: Final = 30.0
_PATIENCE: Final = 15.0
"""Seconds that a caller waits while tars are unpacked, its own and others before it."""
_LATER: Final = "other archives are being read; load the page again"
_PIECE: Final = MIB

Value = TypeVar("Value")


class FileOnPage(Struct, frozen=True, kw_only=True):
    """A file that the page of its project lists."""

    config: IndexConfig
    """The index that it comes from."""
    project: ProjectName
    file: File


class NotHere(Struct, frozen=True):
    """The bytes of a file are not here."""

    reason: str
    can_fetch: bool = False
    """Whether its source would fetch them."""


class FileContents:
    """Looks into files."""

    def __init__(
        self,
        *,
        store: Trees,
        blobs: BlobStore,
        files: Files,
        locating: Locating,
        workers: Executor,
        clock: Clock,
        patience: float = _PATIENCE,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._files = files
        self._locating = locating
        self._workers = workers
        self._clock = clock
        self._patience = patience
        self.zips = ZipMembers(workers=workers, limits=LISTING_LIMITS, kept=_KEPT)
        self.listings: BoundedCache[tuple[Sha256, str], ArchiveListing] = BoundedCache(
            _KEPT, size_of=lambda each: min(len(each.members) + 1, _KEPT)
        )
        # One of each at a time: unpacking a tar takes seconds of a worker's time.
        self._listing: SingleFlight[ArchiveListing] = SingleFlight(turns=1)
        self._reading: SingleFlight[tuple[MemberStart | None]] = SingleFlight(turns=1)

    async def find(
        self, start: IndexName, project: ProjectName, version: str, filename: str, *, principal: Principal
    ) -> FileOnPage:
        """A file as the page of its project lists it. Raises `Missing` if the page does not, and `Unavailable` if that is not known."""
        index, file = await self._locating.locate(start, filename, principal=principal, project=project)
        if canonical_version(file.version) != canonical_version(version):
            raise Missing("file", f"{project} {version[:80]} {filename[:200]}")
        return FileOnPage(config=(await self._store.tree()).indexes[index], project=project, file=file)

    async def open(self, found: FileOnPage, *, principal: Principal, fetch: bool) -> StoredContent | NotHere:
        """The bytes of a file, for a principal that may download it. `fetch`: whether its source may fetch them, for which this waits a while.

        Raises the errors of a download.
        """
        config, file = found.config, found.file
        if config.mirrored and not fetch and (file.sha256 is None or await self._blobs.stat(file.sha256) is None):
            return NotHere("its bytes are fetched when somebody downloads it", can_fetch=True)
        for _ in range(2):
            opened = await self._files.open(
                config.name, directory(file), file.filename, sidecar=False, principal=principal
            )
            if isinstance(opened, StoredContent):
                return opened
            if isinstance(opened, ElsewhereFile):
                return NotHere("its bytes are kept elsewhere, and clients are sent there")
            await _arrived(opened)
        return NotHere("its bytes are not kept here")

    async def listing(self, content: StoredContent) -> ArchiveListing:
        """The members of a file. Never fails because of its bytes: `ArchiveListing.trouble` says what is wrong with them."""
        sha256, size = content.blob.sha256, content.blob.size
        compression = compression_of(content.file.filename)
        key = (sha256, compression)
        known = self.listings.get(key)
        if known is not None:
            return known
        if is_zip(content.file.filename):
            try:
                found = of_zip(await self.zips.directory(sha256, size, self._spans(content)))
            except Refused as refused:
                found = ArchiveListing(members=(), trouble=refused.message)
        elif compression:
            listed = await self._listing.join(key, lambda: self._list_tar(key, content)).wait(self._patience)
            return listed or ArchiveListing(members=(), trouble=_LATER)
        else:
            found = ArchiveListing(members=(), trouble="files of this kind are not opened")
        self.listings.put(key, found)
        return found

    async def _list_tar(self, key: tuple[Sha256, str], content: StoredContent) -> ArchiveListing:
        """List a tar, and keep the listing, whether or not the caller still waits."""
        found = await self._with_file(content, lambda file: of_tar(file, content.blob.size, key[1], self._clock))
        self.listings.put(key, found)
        return found

    async def member(self, content: StoredContent, name: str) -> MemberStart:
        """The first `MEMBER_BYTES` of a member. Raises `Missing` without one, and `Refused` for damaged bytes."""
        key, size = content.blob.sha256, content.blob.size
        start: MemberStart | None = None
        if is_zip(content.file.filename):
            read = self._spans(content)
            place = (await self.zips.directory(key, size, read)).members.get(name)
            try:
                start = MemberStart(await _first(self.zips.read(place, read)), place.size) if place else None
            except DamagedError as damage:
                raise Refused(str(damage)) from damage
        elif compression := compression_of(content.file.filename):

            async def read_tar() -> tuple[MemberStart | None]:
                reading = partial(_member_of_tar, size, compression, name, self._clock)
                return (await self._with_file(content, reading),)

            found = await self._reading.join((key, name), read_tar).wait(self._patience)
            if found is None:
                raise Unavailable(_LATER, retry_after=5)
            (start,) = found
        if start is None:
            raise Missing("member", name[:300], hint="the page of the file lists its members")
        return start

    def _spans(self, content: StoredContent) -> ReadSpan:
        """Reads spans of the file where it lies."""
        if isinstance(content.place, Place):
            return partial(self._read_place, content.place)
        return partial(self._files.read, content.blob.sha256)

    async def _read_place(self, place: Place, span: Span) -> AsyncIterator[bytes]:
        for start in range(span.start, span.stop, _PIECE):
            yield await in_worker(self._workers, read_placed, place, start, min(_PIECE, span.stop - start))

    async def _with_file(self, content: StoredContent, use: Callable[[BinaryIO], Value]) -> Value:
        """The result of a function of the open file, called in a worker. Bytes of a remote store are copied first."""
        place = content.place
        if isinstance(place, Path | Place):
            return await in_worker(self._workers, use_file, place, use)
        if content.blob.size > _SPOOLED_BYTES:
            raise Unavailable(f"{content.file.filename} is too long to be copied from its store only to be listed")
        async with self._blobs.spool() as spool:
            async for data in self._files.read(content.blob.sha256):
                await spool.write(data)
            await spool.flush()
            return await in_worker(self._workers, use_file, spool.path, use)


def _member_of_tar(size: int, compression: str, name: str, clock: Clock, file: BinaryIO) -> MemberStart | None:
    return from_tar(file, size, compression, name, MEMBER_BYTES, clock)


async def _arrived(opened: ArrivingContent) -> None:
    try:
        async with asyncio.timeout(_FETCHING_SECONDS):
            await opened.arriving.finished()
    except TimeoutError as error:
        raise Unavailable(f"{opened.file.filename} is still being fetched", retry_after=5) from error


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    """The first `MEMBER_BYTES`."""
    data = b""
    async for piece in pieces:
        data += piece
        if len(data) > MEMBER_BYTES:
            break
    return data[:MEMBER_BYTES]
