"""The task that stores pending things together: it decides when, how much may wait, and what happens while the medium fails.

    added ─► LINGER ─► pass ─► what came meanwhile: LINGER ─► pass ─► … ─► nothing is left: the task ends
                        └─ the medium fails: all stays pending, RETRY ─► pass

A pass stores everything that was pending when it began. The owner of the task has the things, and stores them.

A pass begins when nothing was added for a while, since a client that asks for many things waits for the processor and the disk that a pass
would take. It begins also when things go on being added for `LONGEST`, and when little room is left, before anybody has to wait for room.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from pkgindex_core.errors import PkgIndexError, Unavailable, afresh
from pkgindex_core.storage_failures import storage_failure

LINGER: Final = 0.4
"""Seconds without anything new before things are stored together."""
LONGEST: Final = 10.0
"""Seconds in which things gather at most, if new ones go on coming."""
_HIGH: Final = 0.75
"""The part of the room that is taken when a pass does not wait any longer."""
RETRY: Final = 1.0
"""Seconds between two tries while the medium fails."""

_log = logging.getLogger(__name__)


class Storing:
    """Calls `store` until nothing is pending, and counts what is pending, in bytes or in number."""

    def __init__(self, store: Callable[[], Awaitable[None]], *, what: str, limit: int, linger: float) -> None:
        """`store` makes one pass; it raises when the medium fails. `limit`: how much may be pending; `linger`: seconds without anything new
        before a pass.
        """
        self._store = store
        self._what = what
        self._limit = limit
        self._linger = linger
        self._latest = 0.0  # the time of the loop when something was last added
        self._pending = 0
        self._trouble: PkgIndexError | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._passed = asyncio.Event()
        self._closed = False

    async def room(self, size: int) -> None:
        """Wait until there is room for `size` more. What is larger than the limit has room when nothing else is pending."""
        while True:
            if self._closed:
                raise Unavailable("the store is closed")
            if not self._pending or self._pending + size <= self._limit:
                return
            if self._trouble is not None:
                raise afresh(self._trouble)
            self._hurry.set()
            await self._passed.wait()

    def added(self, size: int) -> None:
        """Count `size` more as pending."""
        self._pending += size
        loop = asyncio.get_running_loop()
        self._latest = loop.time()
        if self._pending > self._limit * _HIGH and self._trouble is None:
            self._hurry.set()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run(), name=f"store {self._what}")

    def gone(self, size: int) -> None:
        """Count `size` less as pending."""
        self._pending -= size

    async def settle(self) -> None:
        """Store now what is pending. Raises what keeps it from being stored."""
        for _ in range(2):  # a pass that is under way, and one that begins after it
            if not self._pending or self._task is None or self._task.done():
                return
            passed = self._passed
            self._hurry.set()
            await passed.wait()
            if self._trouble is not None:
                raise afresh(self._trouble)

    async def close(self) -> None:
        """Store what is pending. If that fails, log that it is forgotten. Nothing more is accepted."""
        self._closed = True
        try:
            await self.settle()
        except PkgIndexError as error:
            _log.warning("pending %s could not be stored, and are forgotten: %s", self._what, error)
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        while self._pending:
            if self._trouble is None:
                await self._gather()
            else:
                await self._wait(RETRY)
            trouble = await self._pass()
            if trouble is not None and self._trouble is None:
                _log.warning("%s that were learned from upstreams cannot be stored now: %s", self._what, trouble)
            self._trouble = trouble
            passed, self._passed = self._passed, asyncio.Event()
            passed.set()

    async def _gather(self) -> None:
        """Wait until nothing is added for a while, or not much longer if that does not happen."""
        clock = asyncio.get_running_loop().time
        last = clock() + max(LONGEST, self._linger)
        hurried = False
        while not hurried and (left := min(self._latest + self._linger, last) - clock()) > 0:
            hurried = await self._wait(left)

    async def _wait(self, seconds: float) -> bool:
        """Wait for some seconds, less if a pass is wanted now: True."""
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return False
        finally:
            self._hurry.clear()
        return True

    async def _pass(self) -> PkgIndexError | None:
        """Make one pass; return the error that keeps things from being stored, if any."""
        try:
            await self._store()
        except PkgIndexError as error:
            return error
        except OSError as error:
            return storage_failure(error, "storing what was fetched from an upstream")
        except Exception:
            if self._trouble is None:  # and not again each second
                _log.exception("storing %s failed unexpectedly", self._what)
            return Unavailable(
                f"{self._what} that were fetched from an upstream could not be stored",
                hint="the log of the server has the reason",
            )
        return None
