"""The state of the scrub of a store: its place, and the damage that it found. One note, which all servers over the store share.

Each write requires the version that was last read or written, and a holder of the lease writes first of all. So a holder that was
overtaken writes nothing (`tools.leases`).
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols.notes import Notes
from pkgindex_core.services.administering.verifying import Damage

_KIND: Final = "scrub"
_KEY: Final = "state"


class KnownDamage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A blob that was found damaged, and is not whole yet."""

    state: Damage
    """`lost`: it was damaged, and its bytes were set aside. The others were left where they are."""
    at: Timestamp
    rows: tuple[str, ...] = ()
    """The rows that name it, described."""
    reason: str = ""
    """Why it could not be repaired."""


class ScrubState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A round reads every blob once. All zeros: there was none yet."""

    begun: Timestamp = Timestamp(0)
    """When the last round began."""
    ended: Timestamp = Timestamp(0)
    """When the last whole round ended."""
    medium: int = 0
    """0: it reads the own blobs. 1: the copies of mirrors."""
    after: str = ""
    """The last key that it has read there. Keys are read in their order."""
    blobs: int = 0
    """Blobs that this round has read, up to its place."""
    bytes: int = 0
    repaired: int = 0
    """Blobs that this round found damaged, and repaired."""
    damaged: dict[Sha256, KnownDamage] = {}
    """Damage of this round and earlier ones that is there still."""

    @property
    def is_whole(self) -> bool:
        """Whether the last round has ended."""
        return self.ended >= self.begun > 0

    def is_due(self, now: Timestamp, every: float) -> bool:
        """Whether there is something to read. A round begins `every` seconds after the one before it began."""
        return not self.is_whole or now >= self.begun + every * 1_000_000


class ScrubNote:
    """The state as one process knows it."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._version = 0

    async def read(self) -> ScrubState:
        note = await self._notes.note(_KIND, _KEY)
        self._version = 0 if note is None else note.version
        return ScrubState() if note is None else msgspec.msgpack.decode(note.value, type=ScrubState)

    async def write(self, state: ScrubState) -> None:
        """Replace the state that was read or written last, durably. Raises `Unavailable` if another process has replaced it."""
        value = msgspec.msgpack.encode(state)
        version = await self._notes.put_note(_KIND, _KEY, value, expected=self._version)
        if version is None:
            raise Unavailable("another server goes on with the scrub", hint="it begins where this one was")
        self._version = version
