"""Keeps in notes of the store that upstreams answered "unchanged", for a restart and for other servers over the store.

A new page is stored with its time and validators. An answer without news commits nothing, so it is noted here, a moment after the client
was answered: one transaction has the answers of some seconds. If memory has no answer that still counts, a flight reads the note before it
asks the upstream. A stored page or list has at most one note. Of a project that an upstream does not have, that is noted if another mirror has
a page of it: an offline server then serves that page. Other names are not noted, since clients may ask for any number of them.

A lost note costs one more question to the upstream. A wrong note would be served, so each note names the page that it is about. The note
of a page that was lost before it was stored matches no page.
"""

from __future__ import annotations

import logging
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Notes, Projects, Trees
from pkgindex_core.tools.storing import Storing

KIND: Final = "mirror.check"
LINGER: Final = 5.0
"""Seconds in which answers gather before they are noted together."""
MOST: Final = 2_000
"""Answers that may wait to be noted; others are not noted. A larger batch would keep other writers waiting for too long."""
_KEPT_SECONDS: Final = 7 * 86_400.0
"""Longer than an answer counts as fresh, because its validators stay useful."""

ABSENT: Final = "absent"
"""Stands for `Noted.about` where the upstream had no such project."""

_log = logging.getLogger(__name__)


class _Store(Notes, Projects, Trees, Protocol): ...


class Noted(Struct, frozen=True, array_like=True):
    """An answer of an upstream by which the stored page or list is current, or by which there is none (`ABSENT`)."""

    checked: Timestamp
    about: str
    """The stored page or list, named by `checks.about`."""
    validators: dict[str, str]


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Noted)


class NotedChecks:
    """Reads and writes the notes. Used from one event loop; `close` writes the waiting ones."""

    def __init__(self, store: _Store, *, linger: float = LINGER) -> None:
        self._notes = store
        self._waiting: dict[str, bytes] = {}
        self._absent: dict[str, tuple[IndexName, ProjectName]] = {}
        """Those of the waiting ones that are about projects that an upstream does not have."""
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
        if noted.about == ABSENT:
            self._absent[key] = (index, ProjectName(project))
        else:
            self._absent.pop(key, None)

    async def settle(self) -> None:
        """Write the waiting answers now. Raises the error of the store."""
        await self._storing.settle()

    async def close(self) -> None:
        await self._storing.close()

    async def _store(self) -> None:
        batch, absent = dict(self._waiting), dict(self._absent)
        found = {key: value for key, value in batch.items() if key not in absent}
        if found:
            await self._notes.put_notes(KIND, found, seconds=_KEPT_SECONDS)
        elsewhere = {key: batch[key] for key, where in absent.items() if await self._is_elsewhere(*where)}
        if elsewhere:
            await self._notes.put_notes(KIND, elsewhere)
        for key, value in batch.items():
            if self._waiting[key] is value:
                del self._waiting[key]
                self._absent.pop(key, None)
                self._storing.gone(1)

    async def _is_elsewhere(self, index: IndexName, project: ProjectName) -> bool:
        """Whether another mirror has a stored page of a project."""
        indexes = (await self._notes.tree()).indexes.values()
        others = [each.name for each in indexes if each.mirrored and each.name != index]
        return any(each.holds for each in await self._notes.standings(project, others)) if others else False


def _key(index: IndexName, project: str) -> str:
    return f"{index}/{project}"
