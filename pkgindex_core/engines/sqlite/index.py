"""An index store in one SQLite file: for a single host, with no server to run.

    apply ─► Writer: one thread, group commit          reads of one row ─► a connection of this thread
                                                       reads of many    ─► Readers: a few threads

Several processes may open the same file on a local disk: SQLite's WAL isolates them, and its data version changes when another one
commits. `sql/0001_first.sql` explains the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.sqlite import queries
from pkgindex_core.engines.sqlite.database import NOW, closed, prepare, renew, require_content
from pkgindex_core.engines.sqlite.notes import SqliteNotes
from pkgindex_core.engines.sqlite.queries import serial_of
from pkgindex_core.engines.sqlite.readers import Readers
from pkgindex_core.engines.sqlite.writer import Writer
from pkgindex_core.engines.touches import Touches
from pkgindex_core.errors import Refused
from pkgindex_core.hookspecs import Context
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

FILES_IN_PLACE: Final = 64
"""Most files of a page that is read in the event loop's thread. A larger page is read in another thread."""
CANDIDATES_IN_PLACE: Final = 8
POLL_SECONDS: Final = 0.1
"""How often `wait` looks for the commits of other processes."""


class SqliteIndex(SqliteNotes):
    """An `IndexStore` in a SQLite file. Used from one event loop; made by `open`."""

    lag = 0.0

    def __init__(self, path: Path, clock: Clock, *, may_create: bool = True) -> None:
        """Open a file; blocks. Raises a `PkgIndexError` with the exact reason."""
        if not may_create:
            require_content(path)
        prepare(path, clock)
        self._moved = _Moved()
        readers = Readers(path)
        self._touches = Touches(lambda serials: readers.in_thread(partial(queries.touched, serials=serials)))
        try:
            writer = Writer(path, clock, made=self._touches.note, committed=self._told)
        except BaseException:
            readers.close()
            raise
        super().__init__(readers, writer, clock)
        self._tree: Tree | None = None
        self._tree_seen = Serial(-1)
        self._seen = Serial(0)
        self._seen_version = -1
        self._is_just_seen = False
        """Whether `seen` has asked the database in this turn of the event loop, and no commit of this process came since."""
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Clock, *, may_create: bool = True) -> SqliteIndex:
        """Open a file; create it if `may_create`, and migrate an older schema."""
        return await asyncio.to_thread(cls, path, clock, may_create=may_create)

    # Reading. `here` is the connection of this thread, for bounded reads that are faster than a thread switch.

    async def head(self) -> Serial:
        self._is_just_seen = False  # `seen` is to know at least this
        return self._readers.here(queries.head)

    async def serial_at(self, moment: Timestamp) -> Serial:
        return self._readers.here(partial(queries.serial_at, moment=moment))

    async def tree(self, *, at: Serial | None = None) -> Tree:
        if at is not None:
            return await self._readers.in_thread(partial(queries.tree, at=serial_of(at)))
        seen = self.seen()
        if self._tree is not None and self._tree_seen == seen:
            return self._tree
        serial = self._readers.here(partial(queries.tree_serial, at=NOW))
        if self._tree is None or self._tree.serial != serial:
            self._tree = await self._readers.in_thread(partial(queries.tree, at=NOW))
        self._tree_seen = seen  # read before the tree, so that a later commit makes the next call read again
        return self._tree

    async def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> tuple[Standing, ...]:
        return self._readers.here(partial(queries.standings, project=project, order=order, at=serial_of(at)))

    async def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Page | None:
        read = partial(queries.page, index=index, project=project, at=serial_of(at))
        found = self._readers.here(partial(read, most=FILES_IN_PLACE))
        if isinstance(found, queries.TooLong):
            found = await self._readers.in_thread(read)
            assert not isinstance(found, queries.TooLong)
        return found

    async def page_since(self, index: IndexName, project: ProjectName, since: Serial) -> PageSince | None:
        return await self._readers.in_thread(partial(queries.page_since, index=index, project=project, since=since))

    async def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> File | None:
        read = partial(queries.file, index=index, project=project, filename=filename, at=serial_of(at))
        return self._readers.here(read)

    async def taken(self, index: IndexName, filename: str) -> Taken | None:
        return self._readers.here(partial(queries.taken, index=index, filename=filename))

    async def former(self, index: IndexName, filename: str) -> Sequence[Taken]:
        return self._readers.here(partial(queries.former, index=index, filename=filename))

    async def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> tuple[ProjectName, File] | None:
        read = partial(queries.find_file, index=index, filename=filename, candidates=candidates, at=serial_of(at))
        if len(candidates) > CANDIDATES_IN_PLACE:
            return await self._readers.in_thread(read)
        return self._readers.here(read)

    async def releases(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[Release]:
        read = partial(queries.releases, index=index, project=project, at=serial_of(at))
        return await self._readers.in_thread(read)

    async def released(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Sequence[str]:
        read = partial(queries.released, index=index, project=project, at=serial_of(at))
        return await self._readers.in_thread(read)

    async def release(
        self, index: IndexName, project: ProjectName, version: str, *, at: Serial | None = None
    ) -> Release | None:
        return self._readers.here(
            partial(queries.release, index=index, project=project, version=version, at=serial_of(at))
        )

    async def attachments(
        self, index: IndexName, project: ProjectName, *, at: Serial | None = None
    ) -> Sequence[Attachment]:
        read = partial(queries.attachments, index=index, project=project, at=serial_of(at))
        return await self._readers.in_thread(read)

    async def find_attachment(
        self, index: IndexName, filename: str, *, at: Serial | None = None
    ) -> tuple[ProjectName, Attachment] | None:
        return self._readers.here(partial(queries.find_attachment, index=index, filename=filename, at=serial_of(at)))

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        read = partial(queries.projects, index=index, at=serial_of(at), after=after, limit=limit)
        return await self._readers.in_thread(read)

    async def stored_bytes(self, index: IndexName, project: ProjectName = WHOLE_INDEX) -> int:
        return self._readers.here(partial(queries.stored_bytes, index=index, project=project))

    async def project_count(self, index: IndexName) -> int:
        return self._readers.here(partial(queries.project_count, index=index))

    async def listing(self, index: IndexName) -> Listing:
        return self._readers.here(partial(queries.listing, index=index))

    async def listed_names(self, index: IndexName, *, after: str = "") -> AsyncIterator[Sequence[ProjectRow]]:
        stamp = (await self.listing(index)).stamp
        while True:
            read = partial(queries.listed_names, index=index, after=after, stamp=stamp)
            rows = await self._readers.in_thread(read)
            if not rows:
                return
            yield rows
            after = rows[-1].name

    async def user(self, name: str, *, at: Serial | None = None) -> User | None:
        return self._readers.here(partial(queries.user, name=name, at=serial_of(at)))

    async def users(self, *, at: Serial | None = None) -> Sequence[User]:
        return await self._readers.in_thread(partial(queries.users, at=serial_of(at)))

    async def token(self, token_id: str) -> Token | None:
        return self._readers.here(partial(queries.token, token_id=token_id))

    async def tokens(self, user: str) -> Sequence[Token]:
        return await self._readers.in_thread(partial(queries.tokens, user=user))

    async def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        for batch in (queries.hosted_blobs, queries.attached_blobs):
            row = 0
            while True:
                row, digests = await self._readers.in_thread(partial(batch, after=row))
                if not row:
                    break
                yield digests
        place: queries.Place | None = None
        while True:
            place, digests = await self._readers.in_thread(partial(queries.mirrored_blobs, after=place))
            if place is None:
                return
            yield digests

    # Writing and the log.

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        if self._closing is not None:
            raise closed()
        if not changes:
            return None
        return await self._writer.submit(tuple(changes), who, tuple(require))

    async def replay(self, commits: Sequence[Commit]) -> None:
        if self._closing is not None:
            raise closed()
        if commits:
            await self._writer.replay(tuple(commits))

    def seen(self) -> Serial:
        # Once a turn of the loop: a request that arrived before the turn began cannot know of a later commit of another process. It
        # saves most of the questions of an upload, and all but one of those of requests that arrive together. Outside of tasks each
        # call asks: uvloop hands over what arrived between two turns, before it calls `_forget_just_seen`.
        if self._is_just_seen and _in_task():
            return self._seen
        version = self._readers.here(queries.data_version)
        if version != self._seen_version:
            self._seen = self._readers.here(queries.head)
            self._seen_version = version  # read before the head, so that a later commit makes the next call read again
        if not self._is_just_seen and _in_task():
            asyncio.get_running_loop().call_soon(self._forget_just_seen)
            self._is_just_seen = True
        return self._seen

    def _forget_just_seen(self) -> None:
        self._is_just_seen = False

    def _told(self) -> None:
        """Commits of this process are durable, and their callers are about to go on."""
        self._is_just_seen = False
        self._moved.tell()

    async def touched(self, after: Serial) -> Touched | Everything:
        return await self._touches.between(after, self.seen())

    async def commits(self, after: Serial, *, limit: int = 1000) -> Sequence[Commit]:
        return await self._readers.in_thread(partial(queries.commits, after=after, limit=limit))

    async def wait(self, after: Serial, *, timeout: float) -> Serial:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (head := await self.head()) <= after and (left := deadline - loop.time()) > 0:
            await self._moved.within(min(left, POLL_SECONDS))
            if self._closing is not None:
                break
        return head

    async def check(self) -> Sequence[str]:
        return await self._readers.in_thread(queries.problems)

    async def close(self) -> None:
        if self._closing is None:
            self._writer.refuse_more()
            self._closing = asyncio.ensure_future(asyncio.to_thread(self._release))
            self._told()
        await asyncio.shield(self._closing)

    def _release(self) -> None:
        # The writer's connection closes last: the last connection to close moves the write-ahead log into the database.
        self._writer.finish()
        self._readers.close()
        self._writer.release()


def _in_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs
        return False


class _Moved:
    """Wakes the tasks of this process that wait for a commit. Used in the event loop's thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


async def open_sqlite(url: str, context: Context) -> SqliteIndex:
    """Open `sqlite:///absolute/path.db`, or `index.db` in the server's own directory for `sqlite://`."""
    path = _path(url, context.data)
    if context.renew_checksums and path.exists():
        await asyncio.to_thread(renew, path)
    return await SqliteIndex.open(path, context.clock, may_create=context.may_create)


def _path(url: str, data: Path) -> Path:
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment:
        raise Refused(
            f"{url!r} is not the URL of a SQLite index store",
            hint="write sqlite:///absolute/path.db (three slashes), or sqlite:// for the server's own directory",
        )
    return Path(unquote(parts.path)) if parts.path else data / "index.db"


if TYPE_CHECKING:
    _: type[IndexStore] = SqliteIndex
