"""The base class of all cases: a store on a medium of its own, a clock, back doors to the medium."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from pkgindex_core.changes import Change, Commit, PutIndex, PutUser, Requirement
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, Page, Serial, Standing, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.index_store import IndexStore
from pkgindex_core.testing.index_cases.values import DEV, MIRROR, PROD, ManualClock, mirror, stage, user
from pkgindex_core.testing.needed import pytest, pytest_asyncio


@pytest.mark.asyncio
class IndexStoreCases:
    """The part of the contract that a subclass fills in."""

    survives_reopening: ClassVar[bool] = True
    """Whether the store has a medium: another store that is opened on it, later or beside this one, finds what was committed and sees
    each new commit. False: there is no medium, and each store opens empty."""

    context: Context
    clock: ManualClock
    store: IndexStore

    async def open_store(self, context: Context) -> IndexStore:
        """Open or reopen a store on the medium of this test, which has `context.data` for itself."""
        raise NotImplementedError

    async def peek_log(self) -> Sequence[tuple[int, str]]:
        """(serial, who) of every commit in order, from the medium, not through the store."""
        raise NotImplementedError

    async def peek_files(self) -> Collection[tuple[str, str, str, str]]:
        """(index, project, filename, sha256) of every live hosted file, from the medium, not through the store."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _a_medium(self, tmp_path: Path) -> AsyncIterator[None]:
        data = tmp_path / "data"
        data.mkdir(mode=0o700)
        self.clock = ManualClock()
        with ThreadPoolExecutor(2) as workers:
            self.context = Context(data=data, clock=self.clock, workers=workers)
            self.store = await self.open_store(self.context)
            yield
            await self._leaves_a_whole_store()
            await self.store.close()

    async def _leaves_a_whole_store(self) -> None:
        """Check at the end of each test that the medium is sound, and that its log equals the store's and has no gap."""
        assert list(await self.store.check()) == []
        log = list(await self.peek_log())
        assert [serial for serial, _ in log] == list(range(1, len(log) + 1))
        assert [(commit.serial, commit.who) for commit in await self.all_commits()] == log

    # Shorthand.

    async def all_commits(self) -> list[Commit]:
        """Read the whole log."""
        found: list[Commit] = []
        while some := await self.store.commits(found[-1].serial if found else Serial(0), limit=10_000):
            found += some
        return found

    async def commit(self, *changes: Change, who: str = "ann", require: Iterable[Requirement] = ()) -> Serial:
        """Apply, and return the serial."""
        commit = await self.store.apply(changes, who=who, require=require)
        assert isinstance(commit, Commit)
        return commit.serial

    async def seed(self) -> Serial:
        """Commit users, two stage indexes and a mirror."""
        return await self.commit(
            PutUser(user("ann")),
            PutUser(user("root")),
            PutIndex(stage(DEV)),
            PutIndex(stage(PROD)),
            PutIndex(mirror(MIRROR)),
            who="[seed]",
        )

    async def standing(self, index: IndexName, project: ProjectName, at: Serial | None = None) -> Standing:
        (standing,) = await self.store.standings(project, [index], at=at)
        return standing

    async def page(self, index: IndexName, project: ProjectName, at: Serial | None = None) -> Page:
        page = await self.store.page(index, project, at=at)
        assert page is not None
        return page

    async def files(self, index: IndexName, project: ProjectName, at: Serial | None = None) -> dict[str, File] | None:
        """The files of a page by name; None when there is no page."""
        page = await self.store.page(index, project, at=at)
        if page is None:
            return None
        files = {row.filename: decode_file(row.body) for row in page.rows}
        assert len(files) == len(page.rows)
        assert (await self.standing(index, project, at)).file_count == len(files)
        return files
