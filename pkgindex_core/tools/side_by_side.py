"""Does work on many items, a few at a time, or all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

_AT_ONCE: Final = 4
"""The default number of items at a time. Work on one item usually waits for the disk twice."""


async def side_by_side(items: Iterable[T], each: Callable[[T], Awaitable[None]], *, at_once: int = _AT_ONCE) -> None:
    """Run `each` on all items. After a failure no new item is begun; the first failure is raised when all running ones have ended."""
    turns = asyncio.Semaphore(at_once)
    failures: list[Exception] = []

    async def one(item: T) -> None:
        try:
            await each(item)
        except Exception as error:
            failures.append(error)
        finally:
            turns.release()

    async with asyncio.TaskGroup() as tasks:
        for item in items:
            await turns.acquire()
            if failures:
                break
            tasks.create_task(one(item))
    if failures:
        raise failures[0]


async def all_or_raise(*work: Awaitable[T]) -> list[T]:
    """Do all at once, and return the results. When all have ended, the first failure is raised."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    failed = next((each for each in outcomes if isinstance(each, BaseException)), None)
    if failed is not None:
        raise failed
    return [each for each in outcomes if not isinstance(each, BaseException)]
