"""Commits the pages of many projects together: those that wait while one commit is made are the next one.

    put ─► waiting ─► differences from the stored pages ─► one commit ─► held projects ─► rows ─► `put` returns

Each step is durable before the next one begins, but for rows, which a power cut may take. A page is compared with the stored one as the
read-through compares it, so both ways store the same. A long page is committed in parts, alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.changes import Change, DropMirrorPage, MirrorNames, MirrorPage, ProjectAt, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.models import IndexConfig, Page, Standing
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import ListedNames, Projects, Trees
from pkgindex_core.rules.stamping import stamp_after
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.documents.differences import PART, PageDifference
from pkgindex_mirror.documents.pages import PageListing
from pkgindex_mirror.engine_target.sync_notes import SyncNotes
from pkgindex_mirror.engine_target.turns import RunTurn
from pkgindex_mirror.readthrough.pages.refreshing import same_upstream
from pkgindex_mirror.syncing.values import ProjectState

WHO: Final = "[sync]"
_MOST: Final = 64
"""Pages of one commit."""
_MANY_FILES: Final = 100
"""Files from which a page is compared in a worker."""


class _Store(Trees, Projects, ListedNames, Protocol): ...


class NewPage(Struct, frozen=True, kw_only=True):
    """The page that a project is to have."""

    listing: PageListing
    validators: dict[str, str]
    rows: KeptRows | None
    """Its files in one piece; None for a long page."""


class ProjectWrite(Struct, frozen=True, kw_only=True):
    """The new content of one project."""

    state: ProjectState
    page: NewPage | None = None
    """None: the page is taken away."""
    held: bytes = b""
    """The project as `sync_notes.packed_project` packs it; empty: what is held stays."""


_Waiting = tuple[ProjectWrite, "asyncio.Future[Sequence[str]]"]


class PageCommitter:
    """Writes projects of one index, in a turn."""

    def __init__(self, store: _Store, notes: SyncNotes, turn: RunTurn, *, clock: Clock, workers: Executor) -> None:
        self._store = store
        self._notes = notes
        self._turn = turn
        self._clock = clock
        self._workers = workers
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None
        self.index: IndexConfig | None = None
        """The index as it was when the turn began."""

    async def put(self, write: ProjectWrite) -> Sequence[str]:
        """Write a project; return when it is visible and durable. The result has a sentence for each file whose digest the upstream changed."""
        done: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, done))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work(), name="commit pages of a mirror")
        return await asyncio.shield(done)

    async def close(self) -> None:
        if self._working is not None:
            await asyncio.wait({self._working})

    async def _work(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._write(batch)
            except Exception as error:
                if len(batch) == 1:
                    _fail(batch[0][1], error)
                    continue
                for each in batch:  # one of them may be what fails
                    try:
                        await self._write([each])
                    except Exception as failure:
                        _fail(each[1], failure)

    def _next_batch(self) -> list[_Waiting]:
        """The next writes: each project once, a long page alone."""
        if _is_long(self._waiting[0][0]):
            return [self._waiting.pop(0)]
        batch: dict[ProjectName, _Waiting] = {}
        left: list[_Waiting] = []
        for each in self._waiting:
            is_next = len(batch) < _MOST and each[0].state.name not in batch and not _is_long(each[0])
            if is_next and not any(other[0].state.name == each[0].state.name for other in left):
                batch[each[0].state.name] = each
            else:
                left.append(each)
        self._waiting = left
        return list(batch.values())

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        self._turn.check()
        writes = [write for write, _ in batch]
        message = "pages of the mirror change too fast"
        if _is_long(writes[0]):
            alarms = [await until_committed(partial(self._commit_long, writes[0]), message)]
        else:
            alarms = list(await until_committed(partial(self._commit, writes), message))
        failpoint("index.pages_committed")
        await self._notes.put_held({write.state.name: write.held for write in writes if write.held})
        failpoint("index.held_stored")
        await self._notes.put_states(write.state for write in writes)
        failpoint("index.rows_stored")
        for (_, done), told in zip(batch, alarms, strict=True):
            if not done.done():
                done.set_result(told)

    async def _commit(self, writes: Sequence[ProjectWrite], _: int) -> Sequence[Sequence[str]]:
        index = self._index()
        changes: list[Change] = []
        require: list[Requirement] = [await same_upstream(self._store, index)]
        alarms: list[Sequence[str]] = []
        for write in writes:
            standing, stored = await self._stored(index, write.state.name)
            before = len(changes)
            told: Sequence[str] = ()
            if write.page is not None:
                difference = self._difference(write.page, stored)
                changes += await self._changes(index, write, difference)
                told = difference.alarms
            elif standing.holds:
                changes.append(DropMirrorPage(index.name, write.state.name))
            if len(changes) > before:
                require.append(ProjectAt(index.name, write.state.name, standing.stamp, standing.content))
            alarms.append(told)
        dropped = tuple(change.project for change in changes if isinstance(change, DropMirrorPage))
        if dropped:  # no list names a project whose page is gone
            listing = await self._store.listing(index.name)
            changes.append(MirrorNames(index.name, drop=dropped, validators=dict(listing.validators)))
        if changes:
            await self._turn.apply(changes, who=WHO, require=require)
        return alarms

    async def _commit_long(self, write: ProjectWrite, _: int) -> Sequence[str]:
        index = self._index()
        standing, stored = await self._stored(index, write.state.name)
        stamp, content = standing.stamp, standing.content
        assert write.page is not None
        difference = self._difference(write.page, stored)
        changes = difference.changes(
            index.name, write.state.name, validators=write.page.validators, fetched=self._clock.now()
        )
        while (change := await in_worker(self._workers, next, changes, None)) is not None:
            require = (
                await same_upstream(self._store, index),
                ProjectAt(index.name, write.state.name, stamp, content),
            )
            commit = await self._turn.apply([change], who=WHO, require=require)
            if commit is not None:
                stamp, content = stamp_after(commit.serial, stamp), ""
            failpoint("index.part_committed")
        return difference.alarms

    def _difference(self, page: NewPage, stored: Page | None) -> PageDifference:
        return PageDifference(stored=stored, listing=page.listing, part=PART, rows=page.rows)

    async def _changes(
        self, index: IndexConfig, write: ProjectWrite, difference: PageDifference
    ) -> Sequence[MirrorPage]:
        assert write.page is not None
        changes = difference.changes(
            index.name, write.state.name, validators=write.page.validators, fetched=self._clock.now()
        )
        if len(write.page.listing.files) < _MANY_FILES:
            return list(changes)
        return await in_worker(self._workers, list, changes)

    async def _stored(self, index: IndexConfig, name: ProjectName) -> tuple[Standing, Page | None]:
        (standing,) = await self._store.standings(name, [index.name])
        return standing, await self._store.page(index.name, name) if standing.holds else None

    def _index(self) -> IndexConfig:
        if self.index is None:
            raise Missing("index", "", message="the index of the mirror was not made yet")
        return self.index


def _is_long(write: ProjectWrite) -> bool:
    return write.page is not None and write.page.rows is None


def _fail(done: asyncio.Future[Sequence[str]], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
