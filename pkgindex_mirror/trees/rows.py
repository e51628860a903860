"""The rows of a mirror: what it knows of each project and of each file, beside its tree.

    facts     what holds for the whole mirror
    states    a `ProjectState` for each project
    files     each file and metadata file of a published project: its size, time and digest when it was kept
    doomed    paths that are to be removed, and may be there until their row is gone
    changed   paths that runs have written, for a list of changes

`page_rows` has the pages. A row is written after what it says is on the disk, and `doomed` before anything is removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pkgindex_core.names import ProjectName
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.database import MirrorDatabase
from pkgindex_mirror.trees.page_rows import (
    LIST_STALE,
    PageRows,
    note_changed,
    put_facts,
    put_files,
    put_states,
    spare,
)
from pkgindex_mirror.trees.records import RecordedFile, read_state, state_row

_BATCH: Final = 2000


class MirrorRows:
    """The rows of one mirror. Construct, then `open`."""

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self._database = MirrorDatabase(path, reading=reading)
        self.pages = PageRows(self._database)

    async def open(self) -> None:
        """Open the file, or make it unless it is only read. `Corrupt` when it is damaged or not of a mirror."""
        await self._database.open()

    async def close(self) -> None:
        """Close the file, with everything in it durable."""
        await self._database.close()

    async def checkpoint(self) -> None:
        """Return when all rows survive a power cut, and are in the file itself."""
        await self._database.checkpoint()

    # Facts and states.

    async def facts(self) -> Mapping[str, str]:
        return await self._database.do(lambda: dict(self._database.all("SELECT name, value FROM facts")))

    async def put_facts(self, facts: Mapping[str, str]) -> None:
        await self._database.transact(lambda: put_facts(self._database, facts))

    async def state(self, name: ProjectName) -> ProjectState | None:
        query = "SELECT state FROM states WHERE name = ?"
        row = await self._database.do(lambda: self._database.one(query, (name,)))
        return read_state(row[0]) if row else None

    async def states_after(self, name: str) -> Sequence[ProjectState]:
        """The next states in the order of names; none at the end."""
        query = "SELECT state FROM states WHERE name > ? ORDER BY name LIMIT ?"
        found = await self._database.do(lambda: self._database.all(query, (name, _BATCH)))
        return [read_state(state) for (state,) in found]

    async def failing(self) -> Sequence[ProjectState]:
        """The states of all projects whose last try failed."""
        query = "SELECT state FROM states WHERE failing = 1 ORDER BY name"
        found = await self._database.do(lambda: self._database.all(query))
        return [read_state(state) for (state,) in found]

    async def put_states(self, states: Iterable[ProjectState]) -> None:
        rows = [state_row(state) for state in states]
        await self._database.transact(lambda: put_states(self._database, rows))

    # Files.

    async def records(self, paths: Sequence[str]) -> Mapping[str, RecordedFile]:
        """The records of those of these paths that have one."""
        if not paths:  # no thread has to be asked
            return {}
        # One query, since each locks the file and unlocks it. It gives a path once for each project that has it.
        query = (
            "SELECT files.path, size, modified, sha256 FROM json_each(?1) AS wanted CROSS JOIN files"
            " ON files.path = wanted.value"
        )
        found = await self._database.do(lambda: self._database.each(query, paths))
        return {path: RecordedFile(size, modified, sha256.hex()) for path, size, modified, sha256 in found}

    async def put_files(self, files: Mapping[ProjectName, Mapping[str, RecordedFile]]) -> None:
        """Renew the records of files of projects."""

        def put() -> None:
            for name, records in files.items():
                put_files(self._database, name, records)

        await self._database.transact(put)

    async def drop_files(self, paths: Iterable[str]) -> None:
        """Forget the records of files that are not there, or are damaged."""
        rows = [(path,) for path in paths]
        await self._database.transact(lambda: self._database.many("DELETE FROM files WHERE path = ?", rows))

    # Removals.

    async def removable(self) -> Sequence[str]:
        """Some paths that are to be removed and that no project has, in the order in which they were named."""

        def find() -> list[str]:
            self._database.run("DELETE FROM doomed WHERE EXISTS (SELECT 1 FROM files WHERE files.path = doomed.path)")
            return [row[0] for row in self._database.all("SELECT path FROM doomed ORDER BY number LIMIT ?", (_BATCH,))]

        return await self._database.do(find)

    async def removed(self, paths: Sequence[str]) -> None:
        """Record that paths were removed, or are not to be removed any more."""
        await self._database.transact(lambda: spare(self._database, paths))

    # Changes.

    async def lists_written(self, facts: Mapping[str, str], changed: Sequence[str]) -> None:
        """Record that the pages that list all projects have all changes."""

        def put() -> None:
            put_facts(self._database, {LIST_STALE: "no", **facts})
            note_changed(self._database, changed)

        await self._database.transact(put)

    async def changed_after(self, number: int) -> Sequence[tuple[int, str]]:
        """The next paths that were written since the changes were last forgotten, with their numbers; none at the end."""
        query = "SELECT number, path FROM changed WHERE number > ? ORDER BY number LIMIT ?"
        return await self._database.do(lambda: self._database.all(query, (number, _BATCH)))

    async def forget_changed(self, number: int) -> None:
        """Forget the changes up to a number."""
        await self._database.transact(lambda: self._database.run("DELETE FROM changed WHERE number <= ?", (number,)))
