"""An upstream that is away, callers that are cancelled, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.index_cases.values import DEMO, OTHER
from pkgindex_core.testing.source_cases.base import ABSENT, HOUR, OTHER_WHEEL, WHEEL, SourceCases, some_turns, told
from pkgindex_core.testing.wheels import build_wheel

_TURNS = (0, 1, 2, 3, 5, 8, 13)


class AwayCases(SourceCases):
    @pytest.mark.parametrize("project", [DEMO, ABSENT])
    async def test_what_nobody_can_be_asked_about_is_unknown(self, project: ProjectName) -> None:
        await self.go_away()
        assert await self.outcome(project) == ("absent" if self.upstream == "none" else "unknown")
        assert await self.is_current(project) is (self.upstream == "none")
        await self.come_back()
        self.clock.advance(HOUR)
        await self.publish(DEMO, WHEEL)
        assert await self.outcome(DEMO) == ("stale" if self.upstream == "unreachable" else "fresh")

    async def test_what_is_stored_stays_and_is_called_stale(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        before = await self.files()
        await self.go_away()
        assert await self.outcome(DEMO, again=True) == ("fresh" if self.upstream == "none" else "stale")
        assert await self.files() == before
        await self.come_back()
        self.clock.advance(HOUR)
        assert await self.outcome(DEMO, again=True) == ("stale" if self.upstream == "unreachable" else "fresh")

    async def test_a_list_that_is_not_stored_is_unknown(self) -> None:
        await self.go_away()
        if self.upstream == "none" or not self.lists_names:
            assert await told(await self.source.names(self.index)) == []
        else:
            with pytest.raises(Unavailable):
                await self.source.names(self.index)

    async def test_a_list_that_is_stored_is_told_and_called_stale(self) -> None:
        await self.publish(DEMO, WHEEL)
        await self.refreshed()
        await self.source.names(self.index)
        await self.go_away()
        self.clock.advance(HOUR)
        names = await self.source.names(self.index)
        assert await told(names) == [DEMO]
        if self.lists_names:
            assert names.freshness.state == ("fresh" if self.upstream == "none" else "stale")

    async def test_bytes_that_are_elsewhere_are_unknown(self) -> None:
        file = await self.published(WHEEL)
        await self.go_away()
        if not self.fetches:
            assert await self.bytes_of(file) == WHEEL.data
            assert await self.metadata_of(file) == WHEEL.metadata
            return
        with pytest.raises(Unavailable):
            await self.metadata_of(file)
        with pytest.raises(Unavailable):
            await self.bytes_of(file)
        assert self.blobs.blobs == {}
        await self.come_back()
        self.clock.advance(HOUR)
        assert await self.bytes_of(file) == WHEEL.data
        assert await self.metadata_of(file) == WHEEL.metadata

    async def test_bytes_that_are_here_stay(self) -> None:
        file = await self.published(WHEEL)
        await self.bytes_of(file)
        await self.metadata_of(file)
        await self.go_away()
        file = (await self.files())[WHEEL.filename]
        assert await self.bytes_of(file) == WHEEL.data
        assert await self.metadata_of(file) == WHEEL.metadata


class SourceLifeCases(SourceCases):
    async def test_a_caller_that_leaves_stops_no_other(self) -> None:
        await self.publish(DEMO, WHEEL)
        for turns in _TURNS:
            state = await self._left_alone(turns, lambda: self.outcome(DEMO, again=True))
            assert state == ("stale" if self.upstream == "unreachable" else "fresh")

    async def test_a_reader_that_leaves_stops_no_other(self) -> None:
        for turns in _TURNS:
            built = build_wheel("demo", f"1.{turns}")
            file = await self.published(built)
            assert await self._left_alone(turns, lambda file=file: self.bytes_of(file)) == built.data  # type: ignore[misc]  # bound in the loop
            assert self.blobs.blobs[built.sha256][0] == built.data

    async def test_whoever_wants_metadata_and_leaves_stops_no_other(self) -> None:
        for turns in _TURNS:
            built = build_wheel("demo", f"1.{turns}")
            file = await self.published(built)
            assert await self._left_alone(turns, lambda file=file: self.metadata_of(file)) == built.metadata  # type: ignore[misc]  # bound in the loop

    @pytest.mark.parametrize("turns", [0, 1, 2, 5])
    async def test_closing_ends_what_is_under_way(self, turns: int) -> None:
        """Callers get an answer or `Unavailable`. That no work goes on is checked after every test."""
        file = await self.published(WHEEL)
        await self.publish(OTHER, OTHER_WHEEL)
        pending = [
            asyncio.ensure_future(work)
            for work in (
                self.source.refresh(self.index, OTHER, await self.standing(OTHER)),
                self.source.refresh(self.index, DEMO, await self.standing(), again=True),
                self.bytes_of(file),
                self.metadata_of(file),
            )
        ]
        await some_turns(turns)
        await self.source.close()
        answers = await asyncio.gather(*pending, return_exceptions=True)
        for answer in answers:
            assert not isinstance(answer, BaseException) or isinstance(answer, Unavailable), answer

    async def _left_alone(self, turns: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Begin work twice, cancel the first after some turns of the loop, and return what the second gets."""
        leaving, staying = asyncio.ensure_future(work()), asyncio.ensure_future(work())
        await some_turns(turns)
        leaving.cancel()
        await asyncio.wait({leaving})
        return await staying
