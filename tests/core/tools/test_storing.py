"""When a pass begins: in a pause, at the latest after a while, and at once when little room is left. Time is virtual."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pkgindex_core.tools.storing import LONGEST, Storing

_STEP = 0.125
_LINGER = 4 * _STEP


class _Skipping(selectors.SelectSelector):
    """Never waits: the time of the loop jumps instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self.now += timeout
        return super().select(0)


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    selector = _Skipping()

    def loop() -> asyncio.AbstractEventLoop:
        made = asyncio.SelectorEventLoop(selector)
        made.time = lambda: selector.now  # type: ignore[method-assign]  # the only clock that timers use
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


class _Medium:
    """Stores what was added since the last pass, and remembers how many things that were."""

    def __init__(self, limit: int = 1000) -> None:
        self.passes: list[int] = []
        self.waiting = 0
        self.storing = Storing(self._store, what="things", limit=limit, linger=_LINGER)

    async def _store(self) -> None:
        self.passes.append(self.waiting)
        self.storing.gone(self.waiting)
        self.waiting = 0

    async def add(self, count: int, *, apart: float) -> None:
        for _ in range(count):
            await self.storing.room(1)
            self.storing.added(1)
            self.waiting += 1
            await asyncio.sleep(apart)


def test_nothing_is_stored_while_things_go_on_coming() -> None:
    async def main() -> None:
        medium = _Medium()
        await medium.add(12, apart=_STEP)  # 1.5 s: three times the pause that a pass waits for
        assert medium.passes == []
        await asyncio.sleep(_LINGER)
        assert medium.passes == [12]

    _run(main)


def test_things_that_never_stop_coming_are_stored_all_the_same() -> None:
    async def main() -> None:
        medium = _Medium()
        count = int(3 * LONGEST / _STEP)
        await medium.add(count, apart=_STEP)
        assert len(medium.passes) == 3 - (medium.waiting > 0)
        assert sum(medium.passes) + medium.waiting == count

    _run(main)


@pytest.mark.parametrize(("limit", "first"), [(1, 1), (3, 3), (5, 4)])
def test_who_has_no_room_does_not_wait_for_a_pause(limit: int, first: int) -> None:
    async def main() -> None:
        medium = _Medium(limit)
        begun = asyncio.get_running_loop().time()
        await medium.add(limit + 1, apart=0)
        assert medium.passes[0] == first
        assert sum(medium.passes) + medium.waiting == limit + 1
        assert asyncio.get_running_loop().time() == begun

    _run(main)


def test_a_pass_begins_before_there_is_no_room() -> None:
    async def main() -> None:
        medium = _Medium(limit=100)
        begun = asyncio.get_running_loop().time()
        await medium.add(75, apart=0)
        await asyncio.sleep(0)
        assert medium.passes == []
        medium.storing.added(1)
        medium.waiting += 1
        for _ in range(5):
            await asyncio.sleep(0)
        assert medium.passes == [76]
        assert asyncio.get_running_loop().time() == begun

    _run(main)
