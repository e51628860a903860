"""One piece of work for everybody who wants the same thing, owned by nobody who waits for it.

    join(key) ─► under way already? ─ yes ─► that flight
                      └ no ─► a task of its own ─► a turn ─► work()

A waiter that is cancelled or that loses patience leaves, the flight goes on. What the work returns or raises reaches every waiter,
and nothing of it is kept: the next one who asks begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Generic, TypeVar

from pkgindex_core.errors import Unavailable
from pkgindex_core.tools.tasks import Tasks

Value = TypeVar("Value")


class Flight(Generic[Value]):
    """One piece of work that is under way, or has ended."""

    def __init__(self, task: asyncio.Task[Value]) -> None:
        self.task = task

    @property
    def done(self) -> bool:
        return self.task.done()

    async def result(self) -> Value:
        """The result, however long it takes. What the work raised is raised to every waiter."""
        await asyncio.wait({self.task})
        return self._ended()

    async def wait(self, seconds: float) -> Value | None:
        """The result, or None when it takes longer."""
        done, _ = await asyncio.wait({self.task}, timeout=max(seconds, 0.0))
        return self._ended() if done else None

    def _ended(self) -> Value:
        if self.task.cancelled():
            raise Unavailable("the server is stopping")
        return self.task.result()


class SingleFlight(Generic[Value]):
    """Flights by key. The key names all that the value depends on; a second caller joins the first one's flight."""

    def __init__(self, tasks: Tasks | None = None, *, turns: int | None = None) -> None:
        """`tasks`: those of an owner who bounds and closes them. `turns`: how many flights work at a time; None is all."""
        self._tasks = Tasks() if tasks is None else tasks
        self._turns: AbstractAsyncContextManager[None] = nullcontext() if turns is None else asyncio.Semaphore(turns)
        self._flights: dict[Hashable, Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def get(self, key: Hashable, work: Callable[[], Awaitable[Value]]) -> Value:
        """The result of the flight for a key, started if there is none."""
        return await self.join(key, work).result()

    def join(self, key: Hashable, work: Callable[[], Awaitable[Value]], *, name: str | None = None) -> Flight[Value]:
        """The flight for a key, started if there is none. `name` is the task's, for logs."""
        flight = self._flights.get(key)
        if flight is None or flight.done:
            flight = Flight(self._tasks.start(lambda: self._in_turn(work), name=name))
            self._flights[key] = flight
            # A callback and not `finally` inside the work: a task that is cancelled before its first step runs no line of it.
            flight.task.add_done_callback(lambda ended: self._landed(key, ended))
        return flight

    async def _in_turn(self, work: Callable[[], Awaitable[Value]]) -> Value:
        async with self._turns:
            return await work()

    def _landed(self, key: Hashable, ended: asyncio.Task[Value]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is ended:
            del self._flights[key]
