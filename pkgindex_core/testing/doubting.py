"""The contract suite of `Doubting`: a source that can be told not to believe an answer of its upstream.

class TestMySource(DoubtingContract):
    async def begin(self): ...                     # this and the others as for `SourceContract`
    async def open_source(self, context): return MySource(...)
"""

from __future__ import annotations

import asyncio

from pkgindex_core.names import ProjectName
from pkgindex_core.protocols.sources import Doubting
from pkgindex_core.testing.index_cases.values import DEMO, OTHER
from pkgindex_core.testing.needed import pytest
from pkgindex_core.testing.source_cases.base import (
    ABSENT,
    HOUR,
    OTHER_WHEEL,
    SDIST,
    WHEEL,
    SourceCases,
    some_turns,
    told,
)
from pkgindex_core.testing.wheels import build_wheel

_TURNS = (0, 1, 2, 3, 5, 8, 13, 34, 89)


class DoubtingContract(SourceCases):
    """Subclass, name it `Test…`, and provide the content of the source, whose upstream can be asked."""

    upstream = "there"

    def doubt(self, project: ProjectName | None = DEMO) -> None:
        assert isinstance(self.source, Doubting)
        self.source.doubt(self.index, project)

    async def listed(self) -> list[ProjectName]:
        return await told(await self.source.names(self.index))

    async def test_it_is_known_to_doubt(self) -> None:
        assert isinstance(self.source, Doubting)

    async def test_the_next_request_asks_though_the_answer_is_new(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        await self.publish(DEMO, SDIST)
        self.doubt()
        assert not await self.is_current()
        assert (await self.refreshed()).state == "fresh"
        assert set(await self.files()) == {WHEEL.filename, SDIST.filename}
        assert await self.is_current()

    async def test_an_absence_is_doubted_too(self) -> None:
        assert await self.outcome(ABSENT) == "absent"
        await self.publish(ABSENT, build_wheel(ABSENT, "1.0"))
        self.doubt(ABSENT)
        assert not await self.is_current(ABSENT)
        assert await self.outcome(ABSENT) == "fresh"

    async def test_a_doubt_of_what_nobody_asked_for_changes_nothing(self) -> None:
        head = await self.head()
        self.doubt()
        self.doubt(None)
        assert await self.head() == head
        await self.publish(DEMO, WHEEL)
        assert await self.outcome(DEMO) == "fresh"
        assert await self.is_current()

    async def test_nothing_that_is_stored_is_dropped(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        await self.listed()
        before, head = await self.files(), await self.head()
        await self.go_away()
        self.doubt()
        self.doubt(None)
        assert await self.outcome(DEMO) == "stale"
        assert await self.listed() == [DEMO]
        assert (await self.files(), await self.head()) == (before, head)

    async def test_it_lasts_until_the_upstream_has_answered(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        self.doubt()
        await self.go_away()
        for _ in range(2):
            assert await self.outcome(DEMO) == "stale"
            assert not await self.is_current()
        await self.come_back()
        self.clock.advance(HOUR)
        assert await self.outcome(DEMO) == "fresh"
        assert await self.is_current()

    @pytest.mark.parametrize("turns", _TURNS)
    async def test_an_answer_to_an_earlier_question_does_not_end_it(self, turns: int) -> None:
        """A doubt that comes after a publication brings it to the next request, also if another request was under way."""
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        self.doubt()
        asking = asyncio.ensure_future(self.source.refresh(self.index, DEMO, await self.standing()))
        await some_turns(turns)
        await self.publish(DEMO, SDIST)
        self.doubt()
        await asking
        await self.refreshed()
        assert set(await self.files()) == {WHEEL.filename, SDIST.filename}

    async def test_a_project_is_doubted_by_itself(self) -> None:
        for project, built in ((DEMO, WHEEL), (OTHER, OTHER_WHEEL)):
            await self.publish(project, built)
            await self.refreshed(project)
        before = await self.listed()
        await self.publish(ABSENT)
        self.doubt()
        assert await self.is_current(OTHER)
        assert await self.listed() == before

    async def test_the_list_is_doubted_by_itself(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        assert await self.listed() == [DEMO]
        await self.publish(OTHER, OTHER_WHEEL)
        self.doubt(None)
        assert await self.is_current()
        assert await self.listed() == ([DEMO, OTHER] if self.lists_names else [DEMO])
