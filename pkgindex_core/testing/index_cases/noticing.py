"""Noticing commits: `seen` and `touched`."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.changes import Commit, DropToken, DropUser, MirrorPage, PutFile, PutIndex, PutToken, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Missing
from pkgindex_core.models import Serial, Token
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.index_store import EVERYTHING, IndexStore, Touched
from pkgindex_core.rules.touching import together, touched_by
from pkgindex_core.testing.index_cases.base import IndexStoreCases
from pkgindex_core.testing.index_cases.log import ONE_OF_EACH
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    OTHER,
    START,
    head,
    hosted,
    mirrored,
    stage,
    user,
)


class NoticingCases(IndexStoreCases):
    async def test_an_empty_store_has_seen_nothing(self) -> None:
        assert self.store.seen() == 0
        assert await self.store.touched(Serial(0)) == Touched(upto=Serial(0))
        assert self.store.lag >= 0

    async def test_a_commit_is_seen_as_soon_as_it_is_acknowledged(self) -> None:
        for number in range(20):
            serial = await self.commit(PutUser(user(f"u{number}")))
            assert self.store.seen() == serial == await self.store.head()
            assert self.store.seen() == serial

    async def test_what_was_refused_is_neither_seen_nor_touched(self) -> None:
        first = await self.seed()
        with pytest.raises(Missing):
            await self.commit(PutUser(user("bob")), DropUser("nobody"))
        assert self.store.seen() == first
        assert await self.store.touched(first) == Touched(upto=first)

    async def test_each_change_touches_what_the_rule_says(self) -> None:
        after = await self.seed()
        for change in ONE_OF_EACH:
            serial = await self.commit(change)
            assert await self.store.touched(after) == touched_by([change], serial), change
            after = serial

    async def test_what_several_commits_touched_is_told_together(self) -> None:
        after = await self.seed()
        singly = [touched_by([change], await self.commit(change)) for change in ONE_OF_EACH]
        assert await self.store.touched(after) == together(singly, self.store.seen())
        assert await self.store.touched(Serial(after + 2)) == together(singly[2:], self.store.seen())

    async def test_files_of_one_project_touch_that_project_alone(self) -> None:
        after = await self.seed()
        serial = await self.commit(*(PutFile(DEV, DEMO, hosted(f"demo-{number}.zip")) for number in range(30)))
        assert await self.store.touched(after) == Touched(upto=serial, projects=frozenset({(DEV, DEMO)}))

    async def test_no_touch_is_lost_however_much_was_committed(self) -> None:
        """A store may answer `EVERYTHING`, and never less than what was touched."""
        after = await self.seed()
        files = tuple(mirrored(f"demo-{number}.zip") for number in range(5000))
        await self.commit(MirrorPage(MIRROR, DEMO, head(), put=files))
        projects = [ProjectName(f"p{number}") for number in range(1200)]
        await asyncio.gather(*(self.commit(PutFile(DEV, name, hosted(f"{name}-1.zip"))) for name in projects))
        expected = {(MIRROR, DEMO), *((DEV, name) for name in projects)}
        touched = await self.store.touched(after)
        assert touched == EVERYTHING or touched == Touched(upto=self.store.seen(), projects=frozenset(expected))
        last = self.store.seen()
        assert await self.store.touched(last) == Touched(upto=last)

    async def test_writers_at_once_are_each_noticed(self) -> None:
        await self.seed()

        async def write_and_look(number: int) -> None:
            project = ProjectName(f"p{number}")
            serial = await self.commit(PutFile(DEV, project, hosted(f"{project}-1.zip")))
            assert self.store.seen() >= serial
            touched = await self.store.touched(Serial(serial - 1))
            assert isinstance(touched, Touched)
            assert (DEV, project) in touched.projects
            assert serial <= touched.upto <= self.store.seen()

        await asyncio.gather(*(write_and_look(number) for number in range(60)))

    async def test_what_is_replayed_is_noticed(self) -> None:
        lists = ((PutUser(user("ann")), PutIndex(stage(DEV))), (PutFile(DEV, DEMO, hosted("demo-1.zip")),))
        commits = [
            Commit(serial=Serial(number), at=Timestamp(START), who="elsewhere", changes=changes)
            for number, changes in enumerate(lists, 1)
        ]
        await self.store.replay(commits)
        assert self.store.seen() == 2
        expected = Touched(upto=Serial(2), tree=True, identities=True, projects=frozenset({(DEV, DEMO)}))
        assert await self.store.touched(Serial(0)) == expected

    async def test_what_was_committed_before_a_store_was_opened_is_told_too(self) -> None:
        after = await self.seed()
        await self.commit(PutFile(DEV, DEMO, hosted("demo-1.zip")))
        await self.store.close()
        self.store = await self.open_store(self.context)
        if self.survives_reopening:
            assert self.store.seen() == after + 1
            assert await self.store.touched(after) == Touched(upto=self.store.seen(), projects=frozenset({(DEV, DEMO)}))

    async def test_two_stores_on_one_medium_notice_each_other(self) -> None:
        await self.seed()
        second = await self.open_store(self.context)
        try:
            if not self.survives_reopening:
                assert second.seen() == 0
                return
            for turn in range(5):
                after = await self._noticed(second)
                await self.commit(PutFile(DEV, DEMO, hosted(f"demo-{turn}.zip")))
                serial = await self._noticed(second)
                assert await second.touched(after) == Touched(upto=serial, projects=frozenset({(DEV, DEMO)}))
                token = Token(id=f"t{turn}", user="ann", secret_sha256=sha256_of(b"t"))
                await second.apply([PutToken(token), PutFile(DEV, OTHER, hosted(f"other-{turn}.zip"))], who="second")
                await second.apply([DropToken(token.id)], who="second")
                last = await self._noticed(self.store)
                expected = Touched(upto=last, identities=True, projects=frozenset({(DEV, OTHER)}))
                assert await self.store.touched(serial) == expected
                # The commits of both stores.
                both = Touched(upto=last, identities=True, projects=frozenset({(DEV, DEMO), (DEV, OTHER)}))
                assert await self.store.touched(after) == both
        finally:
            await second.close()

    async def _noticed(self, store: IndexStore) -> Serial:
        """The last commit of any store, after the time in which this store has promised to see it."""
        await asyncio.sleep(store.lag)
        serial = max(await store.head(), await self.store.head())
        assert store.seen() == serial
        return serial
