"""What is large to build is built once for all who ask for it, and only a few such things at a time.

    get(key) ─► under way already? ─ yes ─► wait for it
                     └ no ─► a task of its own ─► a turn ─► make()

Whoever goes away meanwhile stops nothing: others may wait for the same, and what was begun is over soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Generic, TypeVar

Built = TypeVar("Built")


class Building(Generic[Built]):
    """Builds values by key. The key names all that the value depends on."""

    def __init__(self, *, turns: int | None = None) -> None:
        """`turns`: how many are built at a time; None is all."""
        self._turns: AbstractAsyncContextManager[None] = nullcontext() if turns is None else asyncio.Semaphore(turns)
        self._under_way: dict[Hashable, asyncio.Task[Built]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[Built]]) -> Built:
        """What is being built under this key, or else what `make` builds when it gets a turn."""
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._build(make))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _build(self, make: Callable[[], Awaitable[Built]]) -> Built:
        async with self._turns:
            return await make()

    def _forget(self, key: Hashable, done: asyncio.Task[Any]) -> None:
        self._under_way.pop(key, None)
        if not done.cancelled():
            done.exception()  # seen, even if everybody who waited has gone
