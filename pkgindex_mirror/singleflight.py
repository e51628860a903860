"""One piece of work for everybody who wants the same thing, owned by nobody who waits for it.

A flight is a task of its own: a waiter that is cancelled or that loses patience leaves, the flight goes on. All tasks
are held here, so that closing ends every one of them and none is collected while it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from pkgindex_core.errors import Unavailable

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Flight(Generic[Value]):
    """One piece of work that is under way."""

    def __init__(self, task: asyncio.Task[Value]) -> None:
        self.task = task

    @property
    def done(self) -> bool:
        return self.task.done()

    async def wait(self, seconds: float) -> Value | None:
        """The result, or None when it takes longer. What the flight raised is raised to every waiter."""
        done, _ = await asyncio.wait({self.task}, timeout=max(seconds, 0.0))
        if not done:
            return None
        if self.task.cancelled():
            raise Unavailable("the server is stopping")
        return self.task.result()


class Tasks:
    """Background tasks that belong to one owner: bounded in number, closed with it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Callable[[], Coroutine[Any, Any, Value]], *, name: str) -> asyncio.Task[Value]:
        """Start a task; `Unavailable` when too many run already, so that nothing queues without end."""
        if self._closed:
            raise Unavailable("the server is stopping")
        if len(self._running) >= self._limit:
            raise Unavailable(f"{self._limit} upstream requests are under way already")
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, grace: float) -> None:
        """Wait briefly, then cancel what is left and see it end. Nothing starts any more."""
        self._closed = True
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace)
        left = set(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        # Retrieved here, so that work whose waiters all left does not complain when it is collected.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("background work %s ended with %s", task.get_name(), type(error).__name__)


class SingleFlight(Generic[Key, Value]):
    """Flights by key; a second caller joins the first one's."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._flights: dict[Key, Flight[Value]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: Key, work: Callable[[], Coroutine[Any, Any, Value]], *, name: str) -> Flight[Value]:
        """The flight for a key, started if there is none."""
        flight = self._flights.get(key)
        if flight is None or flight.done:
            task = self._tasks.start(work, name=name)
            flight = Flight(task)
            self._flights[key] = flight
            # A callback and not `finally` inside the work: a task that is cancelled before its first step runs no line of it.
            task.add_done_callback(lambda ended: self._landed(key, ended))
        return flight

    def _landed(self, key: Key, ended: asyncio.Task[Value]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is ended:
            del self._flights[key]
