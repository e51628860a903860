"""Single flights: all callers that want the same thing wait for one task.

    join(key) ─► under way already? ─ yes ─► that flight
                      └ no ─► a task of its own ─► a turn ─► work()

The flight goes on when a waiter is cancelled or stops waiting. Every waiter gets the result or the error of the work. The
result is not kept: a later call starts a new flight.
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
    """One piece of work that is running or has ended."""

    def __init__(self, task: asyncio.Task[Value]) -> None:
        self.task = task

    @property
    def done(self) -> bool:
        return self.task.done()

    async def result(self) -> Value:
        """Wait for the result without a limit. Raises the error of the work."""
        await asyncio.wait({self.task})
        return self._ended()

    async def wait(self, seconds: float) -> Value | None:
        """Wait for the result for some seconds; None when it takes longer."""
        done, _ = await asyncio.wait({self.task}, timeout=max(seconds, 0.0))
        return self._ended() if done else None

    def _ended(self) -> Value:
        if self.task.cancelled():
            raise Unavailable("the server is stopping")
        return self.task.result()


class SingleFlight(Generic[Value]):
    """Flights by key. The key names everything that the value depends on; later callers join the first one's flight."""

    def __init__(self, tasks: Tasks | None = None, *, turns: int | None = None) -> None:
        """`tasks`: those of the owner; it bounds and closes them. `turns`: the number of flights that work at a time; None: all."""
        self._tasks = Tasks() if tasks is None else tasks
        self._turns: AbstractAsyncContextManager[None] = nullcontext() if turns is None else asyncio.Semaphore(turns)
        self._flights: dict[Hashable, Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def get(self, key: Hashable, work: Callable[[], Awaitable[Value]]) -> Value:
        """Wait for the result of the flight for a key. Starts it if there is none."""
        return await self.join(key, work).result()

    def join(self, key: Hashable, work: Callable[[], Awaitable[Value]], *, name: str | None = None) -> Flight[Value]:
        """Return the flight for a key. Starts it if there is none. `name` is the name of its task, for logs."""
        flight = self._flights.get(key)
        if flight is None or flight.done:
            flight = Flight(self._tasks.start(lambda: self._in_turn(work), name=name))
            self._flights[key] = flight
            # A callback instead of `finally` inside the work: a task that is cancelled before its first step runs none of it.
            flight.task.add_done_callback(lambda ended: self._landed(key, ended))
        return flight

    async def _in_turn(self, work: Callable[[], Awaitable[Value]]) -> Value:
        async with self._turns:
            return await work()

    def _landed(self, key: Hashable, ended: asyncio.Task[Value]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is ended:
            del self._flights[key]
