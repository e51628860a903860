"""Rows and facts of a mirror, beside its pages, in notes of the store. Kinds end with the name of the index.

    mirror.sync             INDEX → facts                       replaced durably
    mirror.sync.row/INDEX   PROJECT → `ProjectState`
    mirror.sync.held/INDEX  PROJECT → `UpstreamProject`         zstd of msgpack; all files of the upstream, and its document
    mirror.sync.left/INDEX  SHA256 → PROJECT                    files that leave the store when no page lists them
    mirror.sync.kept/INDEX  SHA256 → PROJECT                    files that no page lists any more, and that a snapshot of the index has

Rows are written in batches, after the pages that they speak of. A power cut may take the last ones: then their projects are looked at
again. Notes keep the order in which they were written, so a row never speaks of a held project that is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from pkgindex_core.compression import ZstdError, compress, decompress
from pkgindex_core.digests import Sha256
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Notes
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject

FACTS: Final = "mirror.sync"
_BATCH: Final = 500

_encode = msgspec.msgpack.Encoder().encode
_facts: Final = msgspec.msgpack.Decoder(dict[str, str])
_states: Final = msgspec.msgpack.Decoder(ProjectState)
_projects: Final = msgspec.msgpack.Decoder(UpstreamProject)


class SyncNotes:
    """The notes of one index. A note that cannot be read counts as one that is not there."""

    def __init__(self, notes: Notes, index: IndexName) -> None:
        self._notes = notes
        self._index = index
        self._rows = f"{FACTS}.row/{index}"
        self._held = f"{FACTS}.held/{index}"
        self._left = f"{FACTS}.left/{index}"
        self._kept = f"{FACTS}.kept/{index}"

    async def facts(self) -> Mapping[str, str]:
        note = await self._notes.note(FACTS, self._index)
        try:
            return _facts.decode(note.value) if note is not None else {}
        except msgspec.DecodeError:
            return {}

    async def put_facts(self, facts: Mapping[str, str]) -> None:
        """Store facts beside the others, durably, with everything that was written before."""
        await self._notes.put_note(FACTS, self._index, _encode({**await self.facts(), **facts}))

    async def states(self) -> AsyncIterator[Sequence[ProjectState]]:
        """All rows in the order of their names, in batches."""
        async for batch in self._notes.notes(self._rows):
            rows = [row for note in batch if (row := _state(note.value)) is not None]
            if rows:
                yield rows

    async def state(self, name: ProjectName) -> ProjectState | None:
        note = await self._notes.note(self._rows, name)
        return _state(note.value) if note is not None else None

    async def put_states(self, states: Iterable[ProjectState]) -> None:
        values: dict[str, bytes] = {state.name: _encode(state) for state in states}
        if values:
            await self._notes.put_notes(self._rows, values)

    async def held(self, name: ProjectName) -> UpstreamProject | None:
        note = await self._notes.note(self._held, name)
        try:
            return _projects.decode(decompress(note.value, "zstd")) if note is not None else None
        except (msgspec.DecodeError, ZstdError):
            return None

    async def put_held(self, packed: Mapping[str, bytes]) -> None:
        """Store projects that `packed_project` made."""
        if packed:
            await self._notes.put_notes(self._held, packed)

    async def forget(self, name: ProjectName) -> None:
        """Drop a project. Its row goes last, so that a removal that was interrupted is done again."""
        await self._notes.drop_note(self._held, name)
        await self._notes.drop_note(self._rows, name)

    async def put_left(self, name: ProjectName, keys: Iterable[Sha256]) -> None:
        """Note that these files leave when the page of the project does not list them."""
        await self._put_keys(self._left, name, keys)

    async def put_kept(self, name: ProjectName, keys: Iterable[Sha256]) -> None:
        """Note that these files stay for a snapshot."""
        await self._put_keys(self._kept, name, keys)

    async def _put_keys(self, kind: str, name: ProjectName, keys: Iterable[Sha256]) -> None:
        values: dict[str, bytes] = {key: name.encode() for key in keys}
        if values:
            await self._notes.put_notes(kind, values)

    async def judge_kept_again(self) -> None:
        """Make the files that stay for a snapshot ones that leave, if nothing lists them."""
        noted = [note async for batch in self._notes.notes(self._kept) for note in batch]
        for start in range(0, len(noted), _BATCH):
            batch = noted[start : start + _BATCH]
            await self._notes.put_notes(self._left, {note.key: note.value for note in batch})
            await asyncio.gather(*(self._notes.drop_note(self._kept, note.key) for note in batch))

    async def left(self) -> AsyncIterator[Mapping[Sha256, ProjectName]]:
        async for batch in self._notes.notes(self._left):
            yield {Sha256(note.key): ProjectName(note.value.decode()) for note in batch}

    async def drop_left(self, keys: Iterable[Sha256]) -> None:
        await asyncio.gather(*(self._notes.drop_note(self._left, key) for key in keys))

    async def forget_everything(self) -> None:
        """Drop all rows and facts: nothing of the index is known."""
        await self._notes.drop_note(FACTS, self._index)
        for kind in (self._rows, self._held):
            names = [note.key async for batch in self._notes.notes(kind) for note in batch]
            for start in range(0, len(names), _BATCH):
                # Changes of notes that are under way together share transactions.
                await asyncio.gather(*(self._notes.drop_note(kind, name) for name in names[start : start + _BATCH]))


def packed_project(project: UpstreamProject) -> bytes:
    """The stored form of a project. Takes a millisecond for a thousand files."""
    return compress(_encode(project), "zstd")


def _state(value: bytes) -> ProjectState | None:
    try:
        return _states.decode(value)
    except msgspec.DecodeError:
        return None
