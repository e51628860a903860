"""Background tasks that have an owner: bounded in number, closed with it, and none is collected while it runs."""

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
        full: Callable[[], Unavailable] = lambda: Unavailable("too much is under way"),
    ) -> None:
        """`limit`: how many may run; None is any number. `full` makes the error for one more."""
        self._limit = limit
        self._full = full
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Callable[[], Coroutine[Any, Any, Value]], *, name: str | None = None) -> asyncio.Task[Value]:
        """Start a task. `Unavailable` when as many run as may, so that nothing queues without end, and after `close`."""
        if self._closed:
            raise Unavailable("the server is stopping")
        if self._limit is not None and len(self._running) >= self._limit:
            raise self._full()
        task = asyncio.get_running_loop().create_task(work(), name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self, grace: float) -> None:
        """Wait for `grace` seconds, then cancel what is left and see it end. Nothing starts any more."""
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
