"""One piece of work for everybody, owned by nobody who waits."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_mirror.singleflight import SingleFlight, Tasks


@pytest.fixture
def tasks() -> Tasks:
    return Tasks(limit=10)


async def test_those_who_come_meanwhile_share_the_result(tasks: Tasks) -> None:
    flights: SingleFlight[str, int] = SingleFlight(tasks)
    gate = asyncio.Event()
    begun = 0

    async def work() -> int:
        nonlocal begun
        begun += 1
        await gate.wait()
        return begun

    waiting = [asyncio.ensure_future(flights.join("a", work, name="a").wait(5)) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*waiting) == [1] * 10
    assert len(flights) == 0
    assert await flights.join("a", work, name="a").wait(5) == 2


async def test_keys_do_not_share(tasks: Tasks) -> None:
    flights: SingleFlight[str, str] = SingleFlight(tasks)

    async def work(value: str) -> str:
        return value

    joined = [flights.join(key, lambda key=key: work(key), name=key) for key in "abc"]
    assert [await flight.wait(5) for flight in joined] == ["a", "b", "c"]


async def test_a_failure_reaches_everybody_and_is_not_repeated(tasks: Tasks) -> None:
    flights: SingleFlight[str, int] = SingleFlight(tasks)
    fails = True

    async def work() -> int:
        if fails:
            raise Unavailable("no")
        return 1

    waiting = [flights.join("a", work, name="a").wait(5) for _ in range(3)]
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    fails = False
    assert await flights.join("a", work, name="a").wait(5) == 1


async def test_losing_patience_and_being_cancelled_leave_the_flight_alone(tasks: Tasks) -> None:
    flights: SingleFlight[str, int] = SingleFlight(tasks)
    gate = asyncio.Event()
    done = False

    async def work() -> int:
        nonlocal done
        await gate.wait()
        done = True
        return 7

    assert await flights.join("a", work, name="a").wait(0) is None
    waiter = asyncio.ensure_future(flights.join("a", work, name="a").wait(5))
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate.set()
    assert await flights.join("a", work, name="a").wait(5) == 7
    assert done


async def test_the_number_of_tasks_is_bounded(tasks: Tasks) -> None:
    gate = asyncio.Event()
    for number in range(10):
        tasks.start(gate.wait, name=str(number))
    with pytest.raises(Unavailable, match="10 upstream requests"):
        tasks.start(gate.wait, name="one more")
    gate.set()
    await tasks.close(grace=5)
    assert len(tasks) == 0


async def test_closing_waits_then_cancels_also_what_never_began(tasks: Tasks) -> None:
    flights: SingleFlight[str, bool] = SingleFlight(tasks)
    cancelled: list[str] = []

    async def stubborn() -> bool:
        try:
            return await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("stubborn")
            raise

    waiting = asyncio.ensure_future(flights.join("a", stubborn, name="a").wait(5))
    await asyncio.sleep(0)
    unborn = flights.join("b", stubborn, name="b")
    await tasks.close(grace=0)
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable, match="stopping"):
        await unborn.wait(5)
    assert cancelled[:1] == ["stubborn"]
    with pytest.raises(Unavailable, match="stopping"):
        flights.join("c", stubborn, name="c")
    await asyncio.sleep(0)
    assert len(flights) == 0
