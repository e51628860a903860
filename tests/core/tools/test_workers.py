"""Blocking work runs in a thread of the workers, and its outcome reaches the caller whatever it is."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pkgindex_core.tools.workers import begun, in_worker


async def test_a_result_and_an_error_reach_the_caller() -> None:
    with ThreadPoolExecutor(1) as workers:
        assert await in_worker(workers, divmod, 7, 2) == (3, 1)
        assert await in_worker(workers, threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await in_worker(workers, divmod, 7, 0)
        assert await asyncio.gather(*(in_worker(workers, abs, -each) for each in range(20))) == list(range(20))


async def test_work_of_a_cancelled_caller_is_left_out_unless_it_has_begun() -> None:
    entered, leave, done = threading.Event(), threading.Event(), list[str]()

    def work(name: str) -> None:
        entered.set()
        leave.wait(20)
        done.append(name)

    with ThreadPoolExecutor(1) as workers:
        first = asyncio.ensure_future(in_worker(workers, work, "first"))
        second = asyncio.ensure_future(in_worker(workers, work, "second"))
        while not entered.is_set():
            await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        leave.set()
        assert await in_worker(workers, done.copy) == ["first"]
    assert [type(each) for each in outcomes] == [asyncio.CancelledError] * 2


async def test_closed_workers_take_nothing() -> None:
    workers = ThreadPoolExecutor(1)
    workers.shutdown()
    with pytest.raises(RuntimeError):
        begun(workers, abs, 1)
    with pytest.raises(RuntimeError):
        await in_worker(workers, abs, 1)


async def test_work_whose_turn_never_comes_is_cancelled() -> None:
    leave = threading.Event()
    workers = ThreadPoolExecutor(1)
    first, second = begun(workers, leave.wait, 20), begun(workers, abs, 1)
    workers.shutdown(wait=False, cancel_futures=True)
    leave.set()
    assert await first
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(second, 5)


def test_an_outcome_for_a_closed_loop_is_dropped() -> None:
    leave = threading.Event()
    with ThreadPoolExecutor(1) as workers:

        async def leave_it() -> None:
            begun(workers, leave.wait, 20)

        asyncio.run(leave_it())
        leave.set()
        assert workers.submit(abs, -1).result() == 1
