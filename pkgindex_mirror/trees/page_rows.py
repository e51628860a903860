"""The rows about published projects.

pages     each project as it was last published, with the files that were left out
listed    its line in the list of projects
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pkgindex_core.models import ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.database import MirrorDatabase
from pkgindex_mirror.trees.records import (
    PageWrite,
    PublishedPage,
    RecordedFile,
    StateRow,
    page_row,
    read_page,
    state_row,
)

LIST_STALE: Final = "list-stale"
"""The fact that is `no` when the pages that list all projects have all changes."""
_UNREADABLE: Final = "unreadable "
"""The start of a fact about a project."""
_BATCH: Final = 2000
_PAGE: Final = "SELECT page, left_out, document, shown, whole, stamp FROM pages JOIN listed USING (name)"
_PLAIN_PAGE: Final = _PAGE.replace("document", "x''")


class PageRows:
    """The pages of one mirror."""

    def __init__(self, database: MirrorDatabase) -> None:
        self._database = database

    async def page(self, name: ProjectName) -> PublishedPage | None:
        def read() -> PublishedPage | None:
            row = self._database.one(f"{_PAGE} WHERE name = ?", (name,))
            return None if row is None else read_page(*row)

        return await self._database.do(read)

    async def pages_after(self, name: str, limit: int) -> Sequence[PublishedPage]:
        """The next pages in the order of names, without their documents; none at the end."""
        query = f"{_PLAIN_PAGE} WHERE name > ? ORDER BY name LIMIT ?"
        return await self._database.do(lambda: [read_page(*row) for row in self._database.all(query, (name, limit))])

    async def names_after(self, name: str) -> Sequence[ProjectName]:
        """The next names of projects with a page, in order; none at the end."""
        query = "SELECT name FROM pages WHERE name > ? ORDER BY name LIMIT ?"
        return [row[0] for row in await self._database.do(lambda: self._database.all(query, (name, _BATCH)))]

    async def unreadable(self) -> Sequence[ProjectName]:
        """The projects of a tree that was taken over of which nothing could be read, and which were not published since."""
        query = "SELECT substr(name, ?) FROM facts WHERE name > ? AND name < ? ORDER BY name"
        values = (len(_UNREADABLE) + 1, _UNREADABLE, f"{_UNREADABLE}~")
        return [row[0] for row in await self._database.do(lambda: self._database.all(query, values))]

    async def put_unreadable(self, states: Sequence[ProjectState]) -> None:
        """Store the rows of projects of which nothing could be read."""

        def put() -> None:
            put_states(self._database, [state_row(state) for state in states])
            put_facts(self._database, {f"{_UNREADABLE}{state.name}": "1" for state in states})

        await self._database.transact(put)

    async def listed_after(self, name: str) -> Sequence[ProjectRow]:
        """The next lines of the project list, in the order of names; none at the end."""
        query = "SELECT name, raw, stamp FROM listed WHERE name > ? AND NOT hidden ORDER BY name LIMIT ?"
        found = await self._database.do(lambda: self._database.all(query, (name, _BATCH)))
        return [ProjectRow(ProjectName(name), raw, Serial(stamp)) for name, raw, stamp in found]

    async def hidden(self, names: Sequence[ProjectName]) -> frozenset[ProjectName]:
        """Those of these projects whose pages are taken away."""
        query = "SELECT 1 FROM listed WHERE name = ? AND hidden"
        return await self._database.do(
            lambda: frozenset(name for name in names if self._database.one(query, (name,)) is not None)
        )

    async def newest_stamp(self) -> int:
        query = "SELECT coalesce(max(stamp), 0) FROM listed"
        return int((await self._database.do(lambda: self._database.one(query)))[0])

    async def begin(self, writes: Sequence[PageWrite]) -> None:
        """Remember that pages appear of projects that have none now. If `put` does not follow, they are to be removed."""
        database = self._database

        paths: dict[str, Sequence[str]] = {write.page.project.name: write.page_paths for write in writes}

        def begin() -> None:
            _doom(database, [path for name in _without_page(database, list(paths)) for path in paths[name]])

        await database.transact(begin)

    async def without_page(self, names: Sequence[str]) -> Sequence[str]:
        """Those of these names that are not those of projects whose pages are shown."""
        return await self._database.do(lambda: _without_page(self._database, names))

    async def put(self, writes: Sequence[PageWrite]) -> None:
        """Store projects that were published, in one transaction."""
        rows = [(write, page_row(write.page)) for write in writes]
        pages = [write.page for write in writes]
        lines = [(page.project.name, page.project.raw or page.project.name, page.stamp) for page in pages]
        database = self._database

        def put() -> None:
            database.many("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?)", [row for _, row in rows])
            database.many("INSERT OR REPLACE INTO listed(name, raw, stamp, hidden) VALUES (?, ?, ?, 0)", lines)
            put_states(database, [state_row(write.state) for write in writes])
            for write in writes:
                name = write.page.project.name
                _drop_files(database, name, write.former_paths)
                put_files(database, name, write.files)
                _doom(database, write.doomed)
                note_changed(database, write.changed)
            _forget_unreadable(database, [write.page.project.name for write in writes])
            spare(database, [path for write in writes for path in write.page_paths])
            put_facts(database, {LIST_STALE: "yes"})

        await database.transact(put)

    async def hide(self, state: ProjectState, doomed: Sequence[str]) -> None:
        """Store the row of a project that is not listed any more. `doomed`: its pages, which are to be removed."""
        database = self._database

        def hide() -> None:
            database.run("UPDATE listed SET hidden = 1 WHERE name = ?", (state.name,))
            put_states(database, [state_row(state)])
            _doom(database, doomed)
            put_facts(database, {LIST_STALE: "yes"})

        await database.transact(hide)

    async def drop(self, name: ProjectName, files: Sequence[str], doomed: Sequence[str]) -> None:
        """Forget a project with its files. `doomed`: the paths that are to be removed."""
        database = self._database

        def drop() -> None:
            database.run("DELETE FROM pages WHERE name = ?", (name,))
            database.run("DELETE FROM states WHERE name = ?", (name,))
            database.run("DELETE FROM listed WHERE name = ?", (name,))
            _drop_files(database, name, files)
            _forget_unreadable(database, [name])
            _doom(database, doomed)
            put_facts(database, {LIST_STALE: "yes"})

        await database.transact(drop)


def put_facts(database: MirrorDatabase, facts: Mapping[str, str]) -> None:
    database.many("INSERT OR REPLACE INTO facts(name, value) VALUES (?, ?)", list(facts.items()))


def put_states(database: MirrorDatabase, rows: Sequence[StateRow]) -> None:
    database.many("INSERT OR REPLACE INTO states(name, state, failing) VALUES (?, ?, ?)", rows)


def put_files(database: MirrorDatabase, name: ProjectName, files: Mapping[str, RecordedFile]) -> None:
    rows = [(path, record.size, record.modified, record.sha256) for path, record in files.items()]
    database.each(
        "INSERT OR REPLACE INTO files(path, project, size, modified, sha256)"
        " SELECT value ->> 0, ?2, value ->> 1, value ->> 2, unhex(value ->> 3) FROM json_each(?1)",
        rows,
        name,
    )


def note_changed(database: MirrorDatabase, paths: Iterable[str]) -> None:
    database.each("INSERT OR REPLACE INTO changed(path) SELECT value FROM json_each(?1)", list(paths))


def spare(database: MirrorDatabase, paths: Iterable[str]) -> None:
    """Do not remove these paths, or any more."""
    database.each("DELETE FROM doomed WHERE path IN (SELECT value FROM json_each(?1))", list(paths))


def _without_page(database: MirrorDatabase, names: Sequence[str]) -> list[str]:
    query = "SELECT value FROM json_each(?1) WHERE NOT EXISTS (SELECT 1 FROM listed WHERE name = value AND NOT hidden)"
    return [name for (name,) in database.each(query, names)]


def _forget_unreadable(database: MirrorDatabase, names: Sequence[ProjectName]) -> None:
    facts = [f"{_UNREADABLE}{name}" for name in names]
    database.each("DELETE FROM facts WHERE name IN (SELECT value FROM json_each(?1))", facts)


def _drop_files(database: MirrorDatabase, name: ProjectName, paths: Iterable[str]) -> None:
    database.many("DELETE FROM files WHERE path = ? AND project = ?", [(path, name) for path in paths])


def _doom(database: MirrorDatabase, paths: Iterable[str]) -> None:
    database.each("INSERT OR IGNORE INTO doomed(path) SELECT value FROM json_each(?1)", list(paths))
