"""Background tasks of an owner: bounded in number, and closed with it. References keep running tasks from being collected."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pkgindex_core.errors import Unavailable

Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner."""

    def __init__(
        self,
        limit: int | None = None,
        *,
        full: Callable[[], Unavailable] = lambda: Unavailable("too many background tasks are running"),
    ) -> None:
        """`limit`: the number of tasks that may run; None: any number. `full` makes the error for one more."""
        self._limit = limit
        self._full = full
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Callable[[], Coroutine[Any, Any, Value]], *, name: str | None = None) -> asyncio.Task[Value]:
        """Start a task. Raises `Unavailable` when `limit` tasks run, and after `close`. Tasks never queue."""
        if self._closed:
            raise Unavailable("the server is stopping")
        if self._limit is not None and len(self._running) >= self._limit:
            raise self._full()
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, grace: float) -> None:
        """Refuse new tasks, wait for `grace` seconds, then cancel the others and wait until they have ended."""
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
        # Retrieve the error here. asyncio would log it otherwise when no waiter is left.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.debug("background work %s ended with %s", task.get_name(), type(error).__name__)
