"""An index store in a PostgreSQL database: for any number of servers at once.

    apply ─► Committer: group commit, two round trips          reads ─► one statement each
    seen, tree ─► HeadWatch: asks for the newest commit twenty times in a second, and once for all who wait

`sql/0001_first.sql` explains the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.migrations import migrations
from pkgindex_core.engines.postgresql import queries
from pkgindex_core.engines.postgresql.databases import database_of
from pkgindex_core.engines.postgresql.failures import closed
from pkgindex_core.engines.postgresql.notes import PostgresqlNotes
from pkgindex_core.engines.postgresql.opening import prepare
from pkgindex_core.engines.postgresql.queries import NOW, serial_of
from pkgindex_core.engines.postgresql.sessions import Sessions
from pkgindex_core.engines.postgresql.watching import LAG_SECONDS, HeadWatch
from pkgindex_core.engines.postgresql.writer import Committer
from pkgindex_core.engines.touches import Touches
from pkgindex_core.models import (
    Attachment,
    File,
    Page,
    ProjectRow,
    Release,
    Serial,
    Standing,
    Token,
    Tree,
    User,
)
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import WHOLE_INDEX, Everything, IndexStore, Listing, PageSince, Taken, Touched


class PostgresqlIndex(PostgresqlNotes):
    """An `IndexStore` in a PostgreSQL database. Used from one event loop; made by `open`."""

    lag = LAG_SECONDS

    def __init__(self, sessions: Sessions, clock: Clock, head: Serial) -> None:
        super().__init__(sessions, clock)
        self._watch = HeadWatch(sessions, head)
        self._touches = Touches(partial(queries.touched, sessions))
        self._writer = Committer(sessions, self.given_time, made=self._note_commits)
        self._tree: Tree | None = None
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: str, clock: Clock, *, may_create: bool = True) -> PostgresqlIndex:
        """Open a database; make its schema if `may_create`, and migrate an older one."""
        sessions = Sessions(database_of(url))
        try:
            await sessions.tried(
                lambda session: prepare(
                    session, sessions.database.name, clock, migrations("postgresql"), may_create=may_create
                )
            )
            head, _ = await sessions.tried(queries.heads)
            return cls(sessions, clock, head)
        except BaseException:
            await sessions.close()
            raise

    # Reading.

    async def head(self) -> Serial:
        return await self._watch.ask()

    async def serial_at(self, moment: Timestamp) -> Serial:
        return await queries.serial_at(self._sessions, moment)

    async def tree(self, *, at: Serial | None = None) -> Tree:
        if at is not None:
            return await queries.tree(self._sessions, serial_of(at))
        if self._tree is None or self._tree.serial != await self._watch.tree_serial():
            self._tree = await queries.tree(self._sessions, NOW)
        return self._tree

    async def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> tuple[Standing, ...]:
        return await queries.standings(self._sessions, project, order, serial_of(at))

    async def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Page | None:
        return await queries.page(self._sessions, index, project, serial_of(at))

    async def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> PageSince | None:
        return await queries.page_since(self._sessions, index, project, since)

    async def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> File | None:
        return await queries.file(self._sessions, index, project, filename, serial_of(at))

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        return await queries.taken(self._sessions, index, filename)

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        return await queries.former(self._sessions, index, filename)

    async def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> tuple[ProjectName, File] | None:
        return await queries.find_file(self._sessions, index, filename, candidates, serial_of(at))

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        return await queries.releases(self._sessions, index, project, serial_of(at))

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        return await queries.released(self._sessions, index, project, serial_of(at))

    async def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Release | None:
        return await queries.release(self._sessions, index, project, version, serial_of(at))

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        return await queries.attachments(self._sessions, index, project, serial_of(at))

    async def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> tuple[ProjectName, Attachment] | None:
        return await queries.find_attachment(self._sessions, index, filename, serial_of(at))

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        return await queries.projects(self._sessions, index, serial_of(at), after, limit)

    async def stored_bytes(self, index: IndexName, project: ProjectName = WHOLE_INDEX) -> int:
        return await queries.stored_bytes(self._sessions, index, project)

    async def project_count(self, index: IndexName) -> int:
        return await queries.project_count(self._sessions, index)

    async def listing(self, index: IndexName) -> Listing:
        return await queries.listing(self._sessions, index)

    def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        return queries.listed_names(self._sessions, index, after)

    async def user(self, name: str, *, at: Serial | None = None) -> User | None:
        return await queries.user(self._sessions, name, serial_of(at))

    async def users(self, *, at: Serial | None = None) -> Sequence[User]:
        return await queries.users(self._sessions, serial_of(at))

    async def token(self, token_id: str) -> Token | None:
        return await queries.token(self._sessions, token_id)

    async def tokens(self, user: str) -> Sequence[Token]:
        return await queries.tokens(self._sessions, user)

    def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        return queries.blobs_in_use(self._sessions)

    # Writing and the log.

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        if self._closing is not None:
            raise closed()
        if not changes:
            return None
        return await self._writer.submit(changes, who, require)

    async def replay(self, commits: Sequence[Commit]) -> None:
        if self._closing is not None:
            raise closed()
        if commits:
            await self._writer.replay(commits)

    def seen(self) -> Serial:
        return self._watch.seen()

    async def touched(self, after: Serial) -> Touched | Everything:
        return await self._touches.between(after, self.seen())

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        return await queries.commits(self._sessions, after, limit)

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        if self._closing is None and await self.head() <= after:
            await self._watch.wait(after, timeout)
        return self._watch.last if self._closing is not None else await self.head()

    async def check(self) -> Sequence[str]:
        return await queries.problems(self._sessions)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._release())
        await asyncio.shield(self._closing)

    async def _release(self) -> None:
        await self._writer.close()
        await self._sessions.close()
        await self._watch.close()

    def _note_commits(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            self._touches.note(commit)
            self._watch.learn(commit.serial)


if TYPE_CHECKING:
    _: type[IndexStore] = PostgresqlIndex
