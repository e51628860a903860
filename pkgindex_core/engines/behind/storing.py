"""The task that stores what is pending: when, how much may wait, and what happens while the medium fails.

    added ─► LINGER ─► pass ─► what came meanwhile: LINGER ─► pass ─► … ─► nothing is left: the task ends
                        └─ the medium fails: all stays pending, RETRY ─► pass

A pass stores everything that was pending when it began. What that is, and how it is stored, the owner knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from pkgindex_core.errors import PkgIndexError, Unavailable, afresh
from pkgindex_core.storage_failures import storage_failure

LINGER: Final = 0.2
"""Seconds in which things gather before they are stored together."""
RETRY: Final = 1.0
"""Seconds between two tries while the medium fails."""

_log = logging.getLogger(__name__)


class Storing:
    """Calls `store` until nothing is pending; counts the bytes that are."""

    def __init__(self, store: Callable[[], Awaitable[None]], *, what: str, limit: int, linger: float) -> None:
        """`store` makes one pass; it raises when the medium fails. `limit`: bytes that may be pending; `linger`: seconds before a pass."""
        self._store = store
        self._what = what
        self._limit = limit
        self._linger = linger
        self._pending = 0
        self._trouble: PkgIndexError | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._passed = asyncio.Event()
        self._closed = False

    async def room(self, size: int) -> None:
        """Wait until so many bytes may be pending besides what is. What is larger than the limit has room when nothing else is pending."""
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
        """Something is pending from now on."""
        self._pending += size
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"store {self._what}")

    def gone(self, size: int) -> None:
        """It is pending no longer."""
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
        """Store what is pending, or say that it is forgotten; take nothing more."""
        self._closed = True
        try:
            await self.settle()
        except PkgIndexError as error:
            _log.warning(
                "%s that were learned from upstreams could not be stored, and are forgotten: %s", self._what, error
            )
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        pause = self._linger
        while self._pending:
            await self._wait(pause)
            trouble = await self._pass()
            pause = self._linger if trouble is None else RETRY
            if trouble is not None and self._trouble is None:
                _log.warning("%s that were learned from upstreams cannot be stored now: %s", self._what, trouble)
            self._trouble = trouble
            passed, self._passed = self._passed, asyncio.Event()
            passed.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    async def _pass(self) -> PkgIndexError | None:
        """Make one pass; return the error that keeps things from being stored, if any."""
        try:
            await self._store()
        except PkgIndexError as error:
            return error
        except OSError as error:
            return storage_failure(error, "storing what was learned")
        except Exception:
            if self._trouble is None:  # and not again each second
                _log.exception("storing %s failed unexpectedly", self._what)
            return Unavailable("what was learned could not be stored")
        return None
