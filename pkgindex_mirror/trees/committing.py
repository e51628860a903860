"""Makes publications visible and durable in groups, in the order in which they came.

    publish ─┐
    publish ─┼─► queue ─► files durable ─► pages durable, then seen ─► rows ─► what has become superfluous is removed
    remove  ─┘            (storage.settle)  (storage.write)             (one commit)

Pages of projects that had none are noted in the rows before. If the run is killed before the rows speak of them, the next one removes them: their
project may not be wanted any more then.

The disk is asked to write through once for a group, whatever is in it. While one group is written the next one gathers, so that a slow disk
makes groups larger, not the run slower. A page never names a file that a power cut may take, and a row never speaks of a page that it may take.

A publication is accepted when it is in the queue. When a group fails, everything that waits is given up: its projects have their former
rows and pages, and are done again with the next run. The failure is raised by the next call of any method.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

from pkgindex_core.errors import PkgIndexError, Unavailable, afresh
from pkgindex_core.failpoints import failpoint
from pkgindex_core.names import ProjectName
from pkgindex_core.storage_failures import storage_failure
from pkgindex_mirror.syncing.values import ProjectState
from pkgindex_mirror.trees.records import PageWrite, PublishedPage, RecordedFile
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import PageBatch, TreeStorage

_log = logging.getLogger(__name__)

_GROUP: Final = 256
"""Most publications of a group."""
_GATHER: Final = 0.5
"""Seconds for which a group gathers."""
_GROUP_BYTES: Final = 32 << 20
"""Bytes of pages after which a group takes no more."""
_WAITING: Final = 512
"""Publications in the queue at which `add` waits."""


class Publication(Struct, frozen=True, kw_only=True):
    """A project to be published."""

    write: PageWrite
    objects: PageBatch
    size: int
    """Bytes of its pages."""


class ProjectHiding(Struct, frozen=True, kw_only=True):
    """A project whose pages are to be taken away."""

    state: ProjectState
    page: PublishedPage | None
    pages: Sequence[str]
    """The paths of everything that it has beside its files."""


class ProjectRemoval(Struct, frozen=True, kw_only=True):
    """A project to be removed."""

    name: ProjectName
    files: Sequence[str]
    """The paths of its files."""
    pages: Sequence[str]
    """The paths of everything else that it has."""


Step = Publication | ProjectHiding | ProjectRemoval


class GroupCommitter:
    """The one writer of a tree's pages and of the rows about them."""

    def __init__(self, storage: TreeStorage, rows: MirrorRows) -> None:
        self._storage = storage
        self._rows = rows
        self._queue: deque[Step] = deque()
        self._pending: dict[ProjectName, Step] = {}
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self._hurry = asyncio.Event()
        self._failure: PkgIndexError | None = None
        self._kept: dict[str, RecordedFile] = {}

    # Files that were kept, and whose projects are not published yet.

    def kept(self, path: str, record: RecordedFile) -> None:
        self._kept[path] = record

    def kept_record(self, path: str) -> RecordedFile | None:
        return self._kept.get(path)

    # Publications.

    def pending(self, name: ProjectName) -> Step | None:
        """The step that waits to be done with a project."""
        return self._pending.get(name)

    async def add(self, item: Step) -> None:
        """Accept a publication or a removal. Waits while there are many."""
        self._raise_failure()
        name = _name(item)
        while len(self._queue) >= _WAITING or name in self._pending:
            self._hurry.set()
            await self._wait()
        if len(self._queue) < _GROUP:
            self._hurry.clear()
        self._queue.append(item)
        self._pending[name] = item
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="publish projects")

    async def flush(self) -> None:
        """Return when everything that was accepted is visible. Raises what keeps it from that."""
        self._hurry.set()
        while self._task is not None and not self._task.done():
            await self._wait()
        self._hurry.clear()
        self._raise_failure()

    async def close(self) -> None:
        """End without publishing what still waits, after the group that is being written."""
        self._queue.clear()
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _wait(self) -> None:
        moved = self._moved
        await moved.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise afresh(self._failure)

    async def _run(self) -> None:
        while self._queue:
            await self._gather()
            group = self._next_group()
            try:
                await self._commit(group)
            except PkgIndexError as error:
                self._give_up(error)
            except OSError as error:
                self._give_up(storage_failure(error, "writing pages", place="the mirror"))
            except Exception as error:
                _log.exception("pages could not be written")
                self._give_up(Unavailable(f"pages could not be written: {type(error).__name__}", hint="see the log"))
            finally:
                for item in group:
                    self._pending.pop(_name(item), None)
                moved, self._moved = self._moved, asyncio.Event()
                asyncio.get_running_loop().call_soon(moved.set)

    async def _gather(self) -> None:
        """Let a group grow for a moment, unless somebody waits: each group costs the disk a commit of its own."""
        if len(self._queue) < _GROUP:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), _GATHER)

    def _give_up(self, error: PkgIndexError) -> None:
        self._failure = error
        self._queue.clear()
        self._pending.clear()

    def _next_group(self) -> list[Step]:
        group: list[Step] = []
        size = 0
        while self._queue and len(group) < _GROUP and size < _GROUP_BYTES:
            item = self._queue.popleft()
            size += item.size if isinstance(item, Publication) else 0
            group.append(item)
        return group

    async def _commit(self, group: Sequence[Step]) -> None:
        published = [item for item in group if isinstance(item, Publication)]
        if published:
            await self._storage.settle()
            failpoint("tree.files_settled")
            await self._rows.pages.begin([item.write for item in published])
            await self._storage.write(_together([item.objects for item in published]))
            failpoint("tree.pages_moved")
            await self._rows.pages.put([item.write for item in published])
            for item in published:
                self.forget_kept(item.write.files)
        for each in group:
            if isinstance(each, ProjectHiding):
                await self._rows.pages.hide(each.state, each.pages)
            elif isinstance(each, ProjectRemoval):
                await self._rows.pages.drop(each.name, each.files, [*each.pages, *each.files])
        failpoint("tree.rows_written")
        if len(published) < len(group) or any(item.write.doomed for item in published):
            await self.remove_doomed()

        if self._storage.rows_are_due():
            await self._rows.checkpoint()
            await self._storage.save_rows()

    def forget_kept(self, files: Mapping[str, RecordedFile]) -> None:
        for path, record in files.items():
            if self._kept.get(path) == record:
                del self._kept[path]

    async def remove_doomed(self) -> None:
        """Remove what is to be removed and no project has, also what a killed run left."""
        while paths := await self._rows.removable():
            # A file may just have been kept for another project.
            gone = [path for path in paths if path not in self._kept]
            await self._storage.remove(gone)
            await self._rows.removed(paths)
            failpoint("tree.doomed_removed")


def _name(item: Step) -> ProjectName:
    match item:
        case Publication():
            return item.write.state.name
        case ProjectHiding():
            return item.state.name
        case ProjectRemoval():
            return item.name


def _together(batches: Sequence[PageBatch]) -> PageBatch:
    whole = PageBatch(written={}, copies={}, links={})
    for batch in batches:
        whole.written |= batch.written
        whole.copies |= batch.copies
        whole.links |= batch.links
    return whole


def page_after(item: Step) -> PublishedPage | None:
    """The page that a project will have; None when it is removed."""
    match item:
        case Publication():
            return item.write.page
        case ProjectHiding():
            return item.page
        case ProjectRemoval():
            return None


def state_after(item: Step) -> ProjectState | None:
    """The row that a project will have; None when it is removed."""
    match item:
        case Publication():
            return item.write.state
        case ProjectHiding():
            return item.state
        case ProjectRemoval():
            return None
