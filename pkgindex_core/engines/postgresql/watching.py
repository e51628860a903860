"""The newest commit of any server: asked for again and again, so that `seen` answers without waiting.

A message of the database (LISTEN, NOTIFY) would come sooner, but never through a pooler, and servers that notify in their commits wait for each
other. The question is for one row, twenty times in a second.
Callers who need the newest commit of this moment ask too, and all who wait share one question.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from pkgindex_core.engines.postgresql import queries
from pkgindex_core.engines.postgresql.failures import closed
from pkgindex_core.engines.postgresql.sessions import Session, Sessions
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.models import Serial

ASK_SECONDS: Final = 0.05
LAG_SECONDS: Final = 1.0
"""Seconds after which an answer is too old to be told."""


class HeadWatch:
    """Follows the head of one store, in a task of its own."""

    def __init__(self, sessions: Sessions, first: Serial) -> None:
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self._known = first
        self._asked = self._loop.time()
        self._tree = Serial(-1)
        self._moved = asyncio.Event()
        self._failure: PkgIndexError | None = None
        self._asking = asyncio.Lock()
        self._next: asyncio.Task[Serial] | None = None
        self._task = asyncio.create_task(self._follow())

    def seen(self) -> Serial:
        """The newest commit, at most `LAG_SECONDS` old. Raises `Unavailable` if the database has not answered for so long."""
        if self._loop.time() - self._asked > LAG_SECONDS:
            if self._sessions.is_closed:
                raise closed()
            raise Unavailable(
                f"the index database {self._sessions.database.name} does not answer",
                hint=self._failure.hint if self._failure is not None else "check the database server and the network",
            )
        return self._known

    @property
    def last(self) -> Serial:
        """The newest commit that is known, however old that is."""
        return self._known

    async def ask(self) -> Serial:
        """The newest commit now. Callers who come while a question is under way share the next one."""
        if self._next is None:
            self._next = asyncio.create_task(self._ask())
            # Perhaps every caller is gone when it fails.
            self._next.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._next)

    async def tree_serial(self) -> Serial:
        """The newest commit of the tree now."""
        await self.ask()
        return self._tree

    async def _ask(self) -> Serial:
        async with self._asking:
            self._next = None
            asked, head, self._tree = await self._sessions.tried(self._heads)
            self.learn(head)
            self._asked = asked
            return self._known

    async def _heads(self, session: Session) -> tuple[float, Serial, Serial]:
        # The time of the attempt that is answered: those before it may have taken the whole patience of a call.
        return self._loop.time(), *await queries.heads(session)

    def learn(self, serial: Serial) -> None:
        """Take note of a commit."""
        if serial > self._known:
            self._known = serial
            self.wake()

    def wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait(self, after: Serial, timeout: float) -> None:
        """Wait for a commit after a serial, until the store is closed or some seconds have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._known <= after and not self._sessions.is_closed:
                    await self._moved.wait()

    async def _follow(self) -> None:
        while not self._sessions.is_closed:
            try:
                await self.ask()
                self._failure = None
            except PkgIndexError as error:
                self._failure = error
            await asyncio.sleep(ASK_SECONDS)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.wake()
