"""Whether the store is whole: each blob has the bytes of its name, each row has its blob, the database is sound.

    database   the store's own check
    blobs      every one is read and hashed, no faster than `rate`; a blob that is damaged is told with what it belongs to
    rows       every hosted file, sidecar and attachment has a blob of its size; one that has not is lost. A mirror's file that is not
               stored is fetched when it is asked for, so it is none
    unused     blobs that no live row names: files that were deleted, uploads that were refused. They are counted and left alone

A server may go on working. A blob that came or went meanwhile is looked at once more before anything is said of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

from pkgindex_core.clock import Clock, to_rfc3339
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing, Unavailable
from pkgindex_core.models import Attachment, Event, File, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Blob, BlobStore, IndexStore
from pkgindex_core.services.administering.verified_record import VerifiedRecord
from pkgindex_core.services.moving.dumps.copying import side_by_side

Progress = Callable[[str, int, int], None]
Pause = Callable[[float], Awaitable[None]]
State = Literal["damaged", "unreadable", "lost"]
Role = Literal["file", "metadata", "attachment"]
_BATCH: Final = 64
_MOST_UNREADABLE: Final = 100
"""Blobs that the medium refuses to read. After so many it is the medium that is in trouble."""


class Owner(Struct, frozen=True, kw_only=True):
    """A row that names a blob."""

    index: IndexName
    project: ProjectName
    file: File
    """For an attachment: its name, digest and size as those of a file."""
    role: Role
    mirrored: bool
    size: int | None
    """What the row says; None for metadata, whose size no row says."""

    def told(self) -> str:
        """The row in words, with the upload that made it."""
        name = f"{self.file.filename}.metadata" if self.role == "metadata" else self.file.filename
        words = f"{name} in {self.index}"
        made: Event | None = next((event for event in self.file.history if event.what == "upload"), None)
        if made is not None:
            return f"{words}, uploaded by {made.who or 'anonymous'} at {to_rfc3339(made.at)}"
        if not self.mirrored and self.file.upload_time is not None:
            return f"{words}, uploaded at {to_rfc3339(self.file.upload_time)}"
        return words


class Trouble(Struct, kw_only=True):
    """A blob that is not as it should be."""

    sha256: Sha256
    state: State
    owners: list[Owner] = []
    """Empty: no live row names the blob."""
    outcome: Literal["", "repaired", "set aside", "left"] = ""
    """What a repair came to; empty without one."""
    reason: str = ""
    """Why it could not be repaired."""


class Verified(Struct, kw_only=True):
    """What a verification came to."""

    database: list[str] = []
    """What is wrong with the database, a sentence each."""
    blobs: int = 0
    bytes: int = 0
    skipped: int = 0
    """Blobs that an earlier verification, which was stopped, had found whole."""
    unused: int = 0
    unused_bytes: int = 0
    troubles: list[Trouble] = []

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong, or everything that was is repaired."""
        return not self.database and all(trouble.outcome == "repaired" for trouble in self.troubles)


class Verifying:
    """Reads a whole store."""

    def __init__(self, *, store: IndexStore, blobs: BlobStore, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def verify(self, record: VerifiedRecord, *, rate: int, pause: Pause, progress: Progress) -> Verified:
        """Look at everything, reading at most `rate` bytes a second (0: as fast as it goes)."""
        done = Verified()
        progress("the database", 0, 0)
        try:
            done.database = [*await self._store.check()]
        except Corrupt as error:
            done.database = [error.message]
        total, stored = 0, dict[bytes, int]()
        async for blob in self._blobs.walk():
            stored[bytes.fromhex(blob.sha256)] = blob.size
            total += blob.size
        states = await self._hash_all(record, done, total, _Throttle(self._clock, rate, pause), progress)
        named: dict[Sha256, list[Owner]] = {}
        try:
            async for owners in self.owners():
                await side_by_side(owners, lambda owner: self._look_for(owner, states, done))
                for owner in owners:
                    stored.pop(bytes.fromhex(key_of(owner)), None)
            named = await self._owners_of(states) if states else {}
            done.unused, done.unused_bytes = len(stored), sum(stored.values())
        except Corrupt as error:  # which rows name what cannot be said; the blobs were read all the same
            done.database += [] if error.message in done.database else [error.message]
        done.troubles = [Trouble(sha256=key, state=states[key], owners=named.get(key, [])) for key in sorted(states)]
        return done

    async def _owners_of(self, keys: Collection[Sha256]) -> dict[Sha256, list[Owner]]:
        named: dict[Sha256, list[Owner]] = {}
        async for owners in self.owners():
            for owner in owners:
                if key_of(owner) in keys:
                    named.setdefault(key_of(owner), []).append(owner)
        return named

    async def owners(self) -> AsyncIterator[list[Owner]]:
        """Every live row that names a blob, a project at a time."""
        for name, config in sorted((await self._store.tree()).indexes.items()):
            for row in await self._store.projects(name):
                project = ProjectName(row.name)
                page = await self._store.page(name, project)
                files = [decode_file(each.body) for each in page.rows] if page is not None else []
                attachments = [] if config.mirrored else await self._store.attachments(name, project)
                yield [*_owners(name, project, files, attachments, mirrored=config.mirrored)]

    async def is_whole(self, key: Sha256) -> bool:
        """Whether a blob is there and has the bytes of its name."""
        return await self._digest(key) == key

    async def _hash_all(
        self, record: VerifiedRecord, done: Verified, total: int, throttle: _Throttle, progress: Progress
    ) -> dict[Sha256, State]:
        states: dict[Sha256, State] = {}

        async def look_into(blob: Blob) -> None:
            try:
                digest = await self._digest(blob.sha256)
            except Unavailable:
                if len(states) >= _MOST_UNREADABLE:
                    raise
                states[blob.sha256] = "unreadable"
                return
            if digest == blob.sha256:
                record.add(blob.sha256)
            elif digest is not None:
                states[blob.sha256] = "damaged"

        async def look_at(blob: Blob) -> None:
            if blob.sha256 in record:
                done.skipped += 1
            else:
                await look_into(blob)
                await throttle.read(blob.size)
            done.blobs += 1
            done.bytes += blob.size
            progress("files", done.bytes, max(total, done.bytes))

        batch: list[Blob] = []
        async for blob in self._blobs.walk():
            batch.append(blob)
            if len(batch) == _BATCH:
                await side_by_side(batch, look_at)
                batch = []
        await side_by_side(batch, look_at)
        return states

    async def _digest(self, key: Sha256) -> str | None:
        """The digest of a blob's bytes; None when it is not there (any more), empty when they cannot be read."""
        digest = sha256()
        try:
            async for chunk in self._blobs.read(key):
                digest.update(chunk)
        except Missing:
            return None
        except Corrupt:
            return ""
        return digest.hexdigest()

    async def _look_for(self, owner: Owner, states: dict[Sha256, State], done: Verified) -> None:
        key = key_of(owner)
        if owner.mirrored or key in states:
            return
        blob = await self._blobs.stat(key)
        if blob is None and await self._is_named(owner):
            states[key] = "lost"
        elif blob is not None and owner.size not in {None, blob.size}:
            done.database.append(f"the row of {owner.told()} says {owner.size} bytes, its blob has {blob.size}")

    async def _is_named(self, owner: Owner) -> bool:
        """Whether the row is still there: it may have been deleted, with its blob, since it was read."""
        if owner.role == "attachment":
            found = await self._store.find_attachment(owner.index, owner.file.filename)
            return found is not None and found[1].sha256 == owner.file.sha256
        file = await self._store.file(owner.index, owner.project, owner.file.filename)
        return file is not None and key_of(owner) in {file.sha256, file.metadata_sha256}


class _Throttle:
    """Holds reading to a rate, by pauses between blobs."""

    def __init__(self, clock: Clock, rate: int, pause: Pause) -> None:
        self._clock = clock
        self._rate = rate
        self._pause = pause
        self._begun = clock.monotonic()
        self._bytes = 0

    async def read(self, size: int) -> None:
        self._bytes += size
        ahead = self._bytes / self._rate - (self._clock.monotonic() - self._begun) if self._rate else 0.0
        if ahead > 0:
            await self._pause(ahead)


def key_of(owner: Owner) -> Sha256:
    """The blob that a row names."""
    key = owner.file.metadata_sha256 if owner.role == "metadata" else owner.file.sha256
    assert key is not None, "only rows that name a blob are owners"
    return key


def _owners(
    index: IndexName, project: ProjectName, files: Iterable[File], attachments: Iterable[Attachment], *, mirrored: bool
) -> Iterable[Owner]:
    for file in files:
        for role, digest, size in (("file", file.sha256, file.size), ("metadata", file.metadata_sha256, None)):
            if digest is not None:
                yield Owner(index=index, project=project, file=file, role=role, mirrored=mirrored, size=size)  # type: ignore[arg-type]  # mypy widens the literals of a tuple
    for attachment in attachments:
        file = File(
            filename=attachment.filename,
            digests={"sha256": attachment.sha256},
            size=attachment.size,
            upload_time=attachment.added,
            history=attachment.history,
        )
        yield Owner(index=index, project=project, file=file, role="attachment", mirrored=False, size=attachment.size)
