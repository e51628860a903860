"""A few at once, and the first failure when all have ended."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.tools.side_by_side import side_by_side


async def test_each_is_done_and_never_more_than_four_at_once() -> None:
    done: list[int] = []
    running = most = 0

    async def each(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        done.append(number)

    await side_by_side(range(20), each)
    assert sorted(done) == [*range(20)]
    assert most == 4


async def test_after_a_failure_nothing_new_is_begun_and_what_was_begun_ends() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def each(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("the first")
        if number == 2:
            raise LookupError("the second")
        for _ in range(3):
            await asyncio.sleep(0)
        ended.append(number)

    with pytest.raises(ValueError, match="the first"):
        await side_by_side(range(20), each)
    assert sorted([*ended, 1, 2]) == begun
    assert len(begun) < 6
