"""The announcement of a clearing: the unused blobs that a process is about to remove. A note, which commits of new rows require.

    clearing   announce [blobs] as version 7 ─► read the commits up to now ─► remove those that no commit names ─► announce [] as 8
    upload     version 6 known ─► keep the blob ─► commit, if the announcement is still version 6
                                                    └─ otherwise read it: a blob in it may be gone, so look for it again

Either the commit is before the announcement, and the clearing reads it; or it fails, and the blob is looked for again. So no row is
committed whose blob a clearing removes.

The versions of a note are never used twice, so the note stays when there is nothing to announce. A clearing holds a lease while it works.
The announcement of a killed one ends with the lease.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.changes import NoteIs
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Conflict
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.tools import leases

LEASE: Final = "clearing"
"""The name of the lease."""
_KIND: Final = "clearing"
_KEY: Final = "announced"
_SHARED: Final = "shared"
_ENDED: Final = "ended"


class _AnnouncedNote(Struct, frozen=True, array_like=True):
    holder: str
    keys: tuple[bytes, ...]


class Announcement(Struct, frozen=True, kw_only=True):
    """Blobs that are being removed now, and the version of the note that says so."""

    version: int = 0
    holder: str = ""
    """The holder of the lease."""
    keys: frozenset[Sha256] = frozenset()

    @property
    def unchanged(self) -> NoteIs:
        """The requirement that nothing else was announced."""
        return NoteIs(_KIND, _KEY, self.version)


async def announced(notes: Notes) -> Announcement:
    """The present announcement; version 0 when nothing was ever announced."""
    note = await notes.note(_KIND, _KEY)
    if note is None:
        return Announcement()
    value = msgspec.msgpack.decode(note.value, type=_AnnouncedNote)
    keys = frozenset(Sha256(key.hex()) for key in value.keys)
    return Announcement(version=note.version, holder=value.holder, keys=keys)


async def is_under_way(notes: Notes, announcement: Announcement) -> bool:
    """Whether the announced blobs may still be removed: their clearing holds the lease."""
    lease = await notes.note(leases.KIND, LEASE)
    return lease is not None and lease.value.decode() == announcement.holder


async def announce(notes: Notes, before: Announcement, holder: str, keys: Collection[Sha256]) -> Announcement:
    """Replace an announcement. Raises `Conflict` if another clearing did."""
    value = _AnnouncedNote(holder, tuple(bytes.fromhex(key) for key in keys))
    version = await notes.put_note(_KIND, _KEY, msgspec.msgpack.encode(value), expected=before.version)
    if version is None:
        raise Conflict("another gc of this store has begun", hint="wait until it has ended")
    return Announcement(version=version, holder=holder, keys=frozenset(keys))


async def note_end(notes: Notes, at: Timestamp) -> None:
    """Note that a clearing has ended."""
    await notes.put_note(_KIND, _ENDED, str(at).encode())


async def last_end(notes: Notes) -> Timestamp:
    """When the last clearing ended; 0: there was none."""
    note = await notes.note(_KIND, _ENDED)
    return Timestamp(int(note.value) if note is not None else 0)


async def share(notes: Notes) -> None:
    """Note that another index store names the same blobs, so that none may be cleared by the rows of this one."""
    await notes.put_note(_KIND, _SHARED, b"")


async def is_shared(notes: Notes) -> bool:
    """Whether another index store names the same blobs."""
    return await notes.note(_KIND, _SHARED) is not None


async def unshare(notes: Notes) -> None:
    """Note that no other index store names the blobs any more."""
    await notes.drop_note(_KIND, _SHARED)
