"""One piece of work for everybody, owned by nobody who waits."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.tasks import Tasks


@pytest.fixture
def tasks() -> Tasks:
    return Tasks(10, full=lambda: Unavailable("10 upstream requests"))


async def test_those_who_come_meanwhile_share_the_result(tasks: Tasks) -> None:
    flights: SingleFlight[int] = SingleFlight(tasks)
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
    flights: SingleFlight[str] = SingleFlight(tasks)

    async def work(value: str) -> str:
        return value

    joined = [flights.join(key, lambda key=key: work(key), name=key) for key in "abc"]
    assert [await flight.wait(5) for flight in joined] == ["a", "b", "c"]


async def test_a_failure_reaches_everybody_and_is_not_repeated(tasks: Tasks) -> None:
    flights: SingleFlight[int] = SingleFlight(tasks)
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
    flights: SingleFlight[int] = SingleFlight(tasks)
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
    flights: SingleFlight[bool] = SingleFlight(tasks)
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


async def test_who_has_all_the_time_gets_the_result_and_who_goes_away_stops_nothing() -> None:
    flights: SingleFlight[int] = SingleFlight()
    begun, gate = 0, asyncio.Event()

    async def work() -> int:
        nonlocal begun
        begun += 1
        await gate.wait()
        return begun

    waiters = [asyncio.create_task(flights.get("same", work)) for _ in range(5)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    gate.set()
    assert await asyncio.gather(*waiters[1:]) == [1, 1, 1, 1]
    with pytest.raises(asyncio.CancelledError):
        await waiters[0]
    assert await flights.get("same", work) == 2  # nothing is kept


async def test_a_failure_is_everybodys_and_the_next_try_is_new() -> None:
    flights: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        raise LookupError

    async def succeed() -> int:
        return 1

    outcomes = await asyncio.gather(*(flights.get("same", fail) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    assert await flights.get("same", succeed) == 1


async def test_a_flight_that_has_landed_still_tells_its_result_and_is_not_joined() -> None:
    flights: SingleFlight[int] = SingleFlight()
    numbers = iter(range(9))

    async def work() -> int:
        return next(numbers)

    landed = flights.join("same", work)
    assert [await landed.result(), await landed.result(), await landed.wait(0)] == [0, 0, 0]
    assert await flights.get("same", work) == 1


async def test_a_waiter_that_comes_between_the_end_and_the_clearing_away_begins_anew() -> None:
    flights: SingleFlight[int] = SingleFlight()
    numbers = iter(range(9))

    async def work() -> int:
        return next(numbers)

    first = flights.join("same", work)
    await asyncio.sleep(0)  # the work ends; what is to be done about it comes in the next round
    assert first.done
    assert flights.join("same", work) is not first
    await flights.get("same", work)
    assert len(flights) == 0


@pytest.mark.parametrize(("turns", "most"), [(2, 2), (None, 6)])
async def test_no_more_than_its_turns_are_under_way(turns: int | None, most: int) -> None:
    flights: SingleFlight[None] = SingleFlight(turns=turns)
    under_way, seen = 0, 0

    async def work() -> None:
        nonlocal under_way, seen
        under_way += 1
        seen = max(seen, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await asyncio.gather(*(flights.get(number, work) for number in range(6)))
    assert seen == most
