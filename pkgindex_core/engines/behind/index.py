"""An index store around another one. Mirrored pages are shown when they are learned, and committed a moment later.

    learn ─► pending ─► shown by every read of this process
               └─► LINGER ─► apply([all that is pending], require=[index the same, project where it was]) ─► no longer pending

A page is shown under the stamp of the next commit, or a later one if the page had that stamp already. It is committed under the same
stamp and content name (`MirrorPage.stamp`), so ETags of a page stay valid, and all processes over the store give it the same ETag. If
two processes show different pages under one stamp, their content names differ.

Every other write goes to the store at once, and is durable when it returns. A pending page that it concerns is stored first. If another
process changes the stored page meanwhile, the pending page is dropped, and the upstream can be asked again. Reads notice that: a pending
page is valid only over the standing from which it was made.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from pkgindex_core.changes import Change, Commit, MirrorPage, ProjectAt, Requirement
from pkgindex_core.digests import Sha256
from pkgindex_core.engines.behind.blobs import BlobsBehind
from pkgindex_core.engines.behind.concerns import concerned, unchanged
from pkgindex_core.engines.behind.learned import Key, LearnedPage, State, count_after, in_a_row, weighed
from pkgindex_core.engines.behind.passing import Coming, PassingIndex
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.kept_pages import KeptRows
from pkgindex_core.memory import give_back
from pkgindex_core.models import File, IndexConfig, Page, PageRow, ProjectRow, Serial, Standing
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.protocols.learning import LearningIndex
from pkgindex_core.rules import change_rules
from pkgindex_core.rules.named_blobs import uploaded
from pkgindex_core.rules.stamping import stamp_after
from pkgindex_core.tools.storing import LINGER, Storing

LIMIT: Final = 32 << 20
"""Bytes of changes that may be pending."""
_MANY_BYTES: Final = 1 << 20
"""Bytes of pages, packed, after whose storing freed memory is given back to the system."""
BATCH: Final = 128
"""Pages of one commit."""
_ASKED_SINGLY: Final = 16
"""Most files of a difference that are looked up one by one. For more of them the page is read."""


_log = logging.getLogger(__name__)


class IndexBehind(PassingIndex):
    """A `LearningIndex`. Used from one event loop; `close` stores pending pages and closes the inner store."""

    def __init__(
        self, inner: IndexStore, *, blobs: BlobsBehind | None = None, limit: int = LIMIT, linger: float = LINGER
    ) -> None:
        """`blobs`: its pending blobs are stored before an upload that names them is committed, and its kept blobs are not removed before."""
        super().__init__(inner)
        self._blobs = blobs
        self._pending: dict[Key, LearnedPage] = {}
        self._storing = Storing(self._store, what="pages of mirrors", limit=limit, linger=linger)
        self._listeners: list[Callable[[IndexName, ProjectName], object]] = []
        self._stored_listeners: list[Callable[[Serial], object]] = []

    # Learning.

    async def learn(
        self,
        change: MirrorPage,
        *,
        index: IndexConfig,
        seen: Standing,
        who: str,
        lost: Callable[[], None],
        rows: Collection[PageRow] | None = None,
    ) -> Standing:
        assert (change.part, change.index) == ("whole", index.name)
        assert rows is None or isinstance(rows, KeptRows)
        change_rules.take_mirrored(index, index.name)
        made = rows if rows is not None else change_rules.kept_rows(None, change)
        key = (change.index, change.project)
        weight, content = weighed(change, made, seen)
        await self._storing.room(weight)
        (stored,) = await self.inner.standings(change.project, [change.index])
        before = self._pending.get(key)
        now = self._shown(stored, before)
        unseen = await self._is_unseen(change, now)
        count = count_after(change, made, now.file_count, await self._known(change, now))
        stamp = now.stamp if unseen else stamp_after(Serial(await self.inner.head() + 1), now.stamp)
        if now != seen or self._pending.get(key) is not before:
            raise change_rules.failed(ProjectAt(*key, seen.stamp, seen.content))
        page = LearnedPage(
            (change,) if before is None else in_a_row(before.changes, change),
            rows=rows if before is None or change.kept else before.joined,
            base=stored if before is None else before.base,
            standing=Standing(
                index=change.index,
                stamp=stamp,
                holds=True,
                file_count=count,
                status=change.head.status,
                content=now.content if unseen else content,
            ),
            index=index,
            who=who,
            lost=lost,
            size=weight if before is None or change.kept else before.size + weight,
        )
        if before is not None:
            page.state = before.state
            self._storing.gone(before.size)
        self._pending[key] = page
        self._tell(key)
        self._storing.added(page.size)
        failpoint("behind.learned")
        return page.standing

    def listen(
        self, touched: Callable[[IndexName, ProjectName], object], stored: Callable[[Serial], object] | None = None
    ) -> None:
        self._listeners.append(touched)
        if stored is not None:
            self._stored_listeners.append(stored)

    async def settle(self) -> None:
        await self._storing.settle()

    def _tell(self, key: Key) -> None:
        for touched in self._listeners:
            touched(*key)

    async def _is_unseen(self, change: MirrorPage, now: Standing) -> bool:
        """Whether a change leaves what is shown as it is, so that the page keeps its stamp."""
        if not now.holds or change.put or change.drop or change.kept:
            return False
        page = await self.page(change.index, change.project)
        return page is not None and change_rules.looks_the_same(page.head, change.head)

    async def _known(self, change: MirrorPage, now: Standing) -> set[str]:
        """The files of a change that the page has already."""
        names = {*change.drop, *(file.filename for file in change.put)}
        if not now.holds or change.kept:
            return set()
        if len(names) > _ASKED_SINGLY:
            page = await self.page(change.index, change.project)
            return names.intersection(row.filename for row in page.rows) if page is not None else set()
        return {name for name in names if await self.file(change.index, change.project, name) is not None}

    # Reading.

    def standings(
        self, project: ProjectName, order: Sequence[IndexName], *, at: Serial | None = None
    ) -> Coming[tuple[Standing, ...]]:
        if not self._pending or at is not None:
            return self.inner.standings(project, order, at=at)
        return self._standings(project, order)

    async def _standings(self, project: ProjectName, order: Sequence[IndexName]) -> tuple[Standing, ...]:
        before = [self._pending.get((index, project)) for index in order]
        stored = await self.inner.standings(project, order)
        pending = [self._pending.get((index, project)) for index in order]
        return tuple(self._shown(each, now or then) for each, now, then in zip(stored, pending, before, strict=True))

    def _shown(self, stored: Standing, page: LearnedPage | None) -> Standing:
        """The standing to show: that of `page` if it lies over the stored one, otherwise the stored one. `page` is pending, or was when
        the caller looked; it is dropped if it lies over another standing.
        """
        if page is not None and page.state is not State.LOST:
            if page.is_over(stored) or page.state is State.STORING:
                return page.standing
            if page.state is State.WAITING:
                self._lose(page)
        return stored

    def page(self, index: IndexName, project: ProjectName, *, at: Serial | None = None) -> Coming[Page | None]:
        key = (index, project)
        if key in self._pending and at is None:
            return self._page(key)
        return self.inner.page(index, project, at=at)

    async def _page(self, key: Key) -> Page | None:
        while (pending := self._pending.get(key)) is not None:
            if pending.is_whole:
                (shown,) = await self._standings(key[1], [key[0]])
                if shown is pending.standing:
                    return pending.page(None)
                continue
            stored = await self.inner.page(*key)
            if self._pending.get(key) is not pending:
                continue
            if stored is not None and (pending.is_over(stored) or pending.state is State.STORING):
                return pending.page(stored)
            self._lose(pending)
        return await self.inner.page(*key)

    def file(
        self, index: IndexName, project: ProjectName, filename: str, *, at: Serial | None = None
    ) -> Coming[File | None]:
        key = (index, project)
        if key in self._pending and at is None:
            return self._file(key, filename)
        return self.inner.file(index, project, filename, at=at)

    async def _file(self, key: Key, filename: str) -> File | None:
        while (pending := self._pending.get(key)) is not None and pending.knows(filename):
            (shown,) = await self._standings(key[1], [key[0]])
            if shown is pending.standing:
                return pending.file(filename)
        return await self.inner.file(*key, filename)

    def find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName], *, at: Serial | None = None
    ) -> Coming[tuple[ProjectName, File] | None]:
        if at is not None or not any(each == index for each, _ in self._pending):
            return self.inner.find_file(index, filename, candidates, at=at)
        return self._find_file(index, filename, candidates)

    async def _find_file(
        self, index: IndexName, filename: str, candidates: Sequence[ProjectName]
    ) -> tuple[ProjectName, File] | None:
        for project in candidates:
            file = await self.file(index, project, filename)
            if file is not None:
                return project, file
        stored = await self.inner.find_file(index, filename, ())
        if stored is not None and await self.file(index, stored[0], filename) is None:
            # The stored page has the file, its pending version has not. Only the store can find the file in other pages.
            await self.settle()
            return await self.find_file(index, filename, candidates)
        keys = [key for key, page in self._pending.items() if key[0] == index and page.has_stray(filename)]
        found = {key[1]: file for key in keys if (file := await self.file(*key, filename)) is not None}
        if stored is not None:
            found.setdefault(*stored)
        return min(found.items(), default=None, key=itemgetter(0))

    async def projects(
        self, index: IndexName, *, at: Serial | None = None, after: str = "", limit: int | None = None
    ) -> Sequence[ProjectRow]:
        before = list(self._pending.values())
        rows = await self.inner.projects(index, at=at, after=after, limit=limit)
        if at is not None or not (before or self._pending):
            return rows
        shown = {row.name: row for row in rows}
        for page in [
            page for page in (*before, *self._pending.values()) if page.key[0] == index and page.key[1] > after
        ]:
            project, head = page.key[1], page.head
            (standing,) = await self.standings(project, [index])
            # A page that was stored meanwhile may be missing in the rows, and one behind the last of them is cut off again.
            if standing == page.standing or (standing.holds and project not in shown):
                shown[project] = ProjectRow(project, head.display_name or project, standing.stamp)
        return [shown[name] for name in sorted(shown)[:limit]]

    async def project_count(self, index: IndexName) -> int:
        while True:
            head = await self.inner.head()
            count = await self.inner.project_count(index)
            for page in [page for page in self._pending.values() if page.key[0] == index and not page.base.holds]:
                (stored,) = await self.inner.standings(page.key[1], [index])
                count += self._shown(stored, page).holds - stored.holds
            if await self.inner.head() == head:  # no commit between these reads
                return count

    async def blobs_in_use(self) -> AsyncIterator[Sequence[Sha256]]:
        for page in list(self._pending.values()):
            yield page.digests()
        async for batch in self.inner.blobs_in_use():
            yield batch

    # Writing.

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        require = tuple(require)
        if self._blobs is not None:
            await self._blobs.stored(uploaded(changes))
        if self._concerned(changes, require):
            await self.settle()
        if self._blobs is None:
            commit = await self.inner.apply(changes, who=who, require=require)
        else:
            commit = await self._blobs.kept.committed(
                self.inner,
                [*uploaded(changes)],
                lambda unchanged: self.inner.apply(changes, who=who, require=(*require, *unchanged)),
            )
        if commit is not None:
            for page in self._concerned(changes):
                # Learned during this commit, from the state before it. A page with a later stamp is dropped when it is read or stored.
                if page.base.stamp < commit.serial:
                    self._lose(page)
        return commit

    async def replay(self, commits: Sequence[Commit]) -> None:
        if self._blobs is not None:
            await self._blobs.settle()
        await self.settle()
        await self.inner.replay(commits)

    async def finish(self) -> None:
        """Store pending pages, and refuse new ones."""
        await self._storing.close()

    async def close(self) -> None:
        await self.finish()
        await self.inner.close()

    def _concerned(self, changes: Sequence[Change], require: Sequence[Requirement] = ()) -> Sequence[LearnedPage]:
        """The pending pages that a write concerns."""
        if not self._pending:
            return ()
        pages, indexes = concerned(changes, require)
        return [page for key, page in self._pending.items() if key in pages or key[0] in indexes]

    # Storing.

    async def _store(self) -> None:
        by_who: dict[str, list[Key]] = {}
        for page in self._pending.values():
            by_who.setdefault(page.who, []).append(page.key)
        learned = sum(page.size for page in self._pending.values())
        for keys in by_who.values():
            for start in range(0, len(keys), BATCH):
                await self._commit(keys[start : start + BATCH])
        if learned >= _MANY_BYTES:
            # Reading and writing so many pages in several threads took ten times their size. Clients pause now.
            await asyncio.to_thread(give_back)

    async def _commit(self, keys: Sequence[Key]) -> None:
        """Commit pages together, or one by one if they are refused together."""
        pages = [page for key in keys if (page := self._pending.get(key)) is not None]
        if not pages:
            return
        failpoint("behind.gathered")
        for page in pages:
            page.state = State.STORING
        try:
            joined = [page for page in pages if page.joined is not None]
            if joined:
                packed = await asyncio.to_thread(lambda: [page.packed() for page in joined])
                for page, changes in zip(joined, packed, strict=True):
                    page.stay_packed(changes)
            commit = await self.inner.apply(
                [change for page in pages for change in page.changes], who=pages[0].who, require=unchanged(pages)
            )
            if commit is not None and all(page.state is State.STORING for page in pages):  # none was lost meanwhile
                for stored in self._stored_listeners:
                    stored(commit.serial)
            failpoint("behind.committed")
        except BaseException as error:
            self._not_stored(pages)
            if isinstance(error, (Unavailable, OSError)) or not isinstance(error, Exception):
                raise  # the store fails
            if len(pages) > 1:
                for page in pages:
                    await self._commit([page.key])
                return
            if not isinstance(error, PkgIndexError):
                _log.exception("storing %s of %s failed unexpectedly; the page is dropped", *reversed(pages[0].key))
            self._lose(pages[0])
            return
        for page in pages:
            self._is_stored(page)

    def _is_stored(self, page: LearnedPage) -> None:
        page.state = State.STORED
        now = self._pending.get(page.key)
        if now is page:
            del self._pending[page.key]
            self._storing.gone(page.size)
        elif now is not None and now.state is State.STORING:  # more was learned during the commit
            now.rebased(page.standing)

    def _not_stored(self, pages: Sequence[LearnedPage]) -> None:
        for page in pages:
            if page.state is State.STORING:
                page.state = State.WAITING
            now = self._pending.get(page.key)
            if now is not None and now.state is State.STORING:
                now.state = State.WAITING

    def _lose(self, page: LearnedPage) -> None:
        """Drop a page with all that was learned over it. Does nothing if the page was dropped already."""
        if page.state is State.LOST:
            return
        page.state = State.LOST
        now = self._pending.pop(page.key, None)
        if now is not None:
            now.state = State.LOST
            self._storing.gone(now.size)
            self._tell(now.key)
            now.lost()


if TYPE_CHECKING:
    _: type[LearningIndex] = IndexBehind
