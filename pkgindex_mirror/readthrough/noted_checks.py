"""Keeps in notes of the store that upstreams answered "unchanged", for a restart and for other servers over the store.

A new page is stored with its time and validators. An answer without news commits nothing, so it is noted here, a moment after the client
was answered: one transaction has the answers of some seconds. If memory has no answer that still counts, a flight reads the note before it
asks the upstream. A stored page or list has at most one note; a project of which nothing is stored has none.

A lost note costs one more question to the upstream. A wrong note would be served, so each note names the page that it is about. The note
of a page that was lost before it was stored matches no page.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Notes
from pkgindex_core.tools.storing import Storing

KIND: Final = "mirror.check"
LINGER: Final = 5.0
"""Seconds in which answers gather before they are noted together."""
MOST: Final = 2_000
"""Answers that may wait to be noted; others are not noted. A larger batch would keep other writers waiting for too long."""
_KEPT_SECONDS: Final = 7 * 86_400.0
"""Longer than an answer counts as fresh, because its validators stay useful."""

_log = logging.getLogger(__name__)


class Noted(Struct, frozen=True, array_like=True):
    """An answer of an upstream by which the stored page or list is current."""

    checked: Timestamp
    about: str
    """The stored page or list, named by `checks.about`."""
    validators: dict[str, str]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Noted)


class NotedChecks:
    """Reads and writes the notes. Used from one event loop; `close` writes the waiting ones."""

    def __init__(self, notes: Notes, *, linger: float = LINGER) -> None:
        self._notes = notes
        self._waiting: dict[str, bytes] = {}
        self._storing = Storing(self._store, what="answers of upstreams", limit=MOST, linger=linger)

    async def read(self, index: IndexName, project: str, *, about: str) -> Noted | None:
        """The last noted answer, of any server, for a project or (project "") for the project list; None unless it is about `about`."""
        key = _key(index, project)
        value = self._waiting.get(key)
        if value is None:
            note = await self._notes.note(KIND, key)
            if note is None:
                return None
            value = note.value
        try:
            noted = _decoder.decode(value)
        except msgspec.DecodeError:
            _log.debug("the note of %s cannot be read", key)
            return None
        return noted if noted.about == about else None

    def write(self, index: IndexName, project: str, noted: Noted) -> None:
        """Note an answer within `linger` seconds, in the background."""
        key = _key(index, project)
        if key not in self._waiting:
            if len(self._waiting) >= MOST:
                return
            self._storing.added(1)
        self._waiting[key] = _encode(noted)

    async def settle(self) -> None:
        """Write the waiting answers now. Raises the error of the store."""
        await self._storing.settle()

    async def close(self) -> None:
        await self._storing.close()

    async def _store(self) -> None:
        batch = dict(self._waiting)
        await self._notes.put_notes(KIND, batch, seconds=_KEPT_SECONDS)
        for key, value in batch.items():
            if self._waiting[key] is value:
                del self._waiting[key]
                self._storing.gone(1)


def _key(index: IndexName, project: str) -> str:
    return f"{index}/{project}"
