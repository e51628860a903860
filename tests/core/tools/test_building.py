"""What several want at once is built once, and who goes away stops nothing."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.tools.building import Building


async def test_equal_wishes_are_one_piece_of_work() -> None:
    building: Building[int] = Building()
    begun, gate = 0, asyncio.Event()

    async def make() -> int:
        nonlocal begun
        begun += 1
        await gate.wait()
        return begun

    wishes = [asyncio.create_task(building.get("same", make)) for _ in range(5)]
    await asyncio.sleep(0)
    wishes[0].cancel()
    gate.set()
    assert await asyncio.gather(*wishes[1:]) == [1, 1, 1, 1]
    with pytest.raises(asyncio.CancelledError):
        await wishes[0]
    assert await building.get("same", make) == 2  # nothing is kept


async def test_a_failure_is_everybodys_and_the_next_try_is_new() -> None:
    building: Building[int] = Building()

    async def fail() -> int:
        raise LookupError

    async def succeed() -> int:
        return 1

    outcomes = await asyncio.gather(*(building.get("same", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert await building.get("same", succeed) == 1


@pytest.mark.parametrize(("turns", "most"), [(2, 2), (None, 6)])
async def test_no_more_than_its_turns_are_under_way(turns: int | None, most: int) -> None:
    building: Building[None] = Building(turns=turns)
    under_way, seen = 0, 0

    async def make() -> None:
        nonlocal under_way, seen
        under_way += 1
        seen = max(seen, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(building.get(number, make) for number in range(6)))
    assert seen == most
