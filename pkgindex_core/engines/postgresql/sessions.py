"""Connections in use, and what is tried again when one is lost.

asyncpg's own pool asks the server to reset a connection after each use and forgets its statements: two more round trips for a read of one row.
Here nothing is set on a connection, so there is nothing to reset, and each statement is described once for each connection. It is then sent
whole with its values, in one round trip, without a name on the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from pkgindex_core.engines.postgresql.databases import Database
from pkgindex_core.engines.postgresql.failures import closed, is_transient, translation

MOST: Final = 10
"""Most connections of one store."""
PATIENCE: Final = 5.0
"""Seconds for which a call is tried again: a database server restarts in about one."""
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5

_Value = TypeVar("_Value")


class Session:
    """One connection, with the statements that it knows."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection
        self._statements: dict[str, Any] = {}

    async def rows(self, sql: str, *values: object) -> Sequence[Any]:
        """Run a statement and return its rows: one round trip, and one more the first time."""
        statement = self._statements.get(sql)
        if statement is None:
            statement = self._statements[sql] = await self.connection.prepare(sql)
        found: Sequence[Any] = await statement.fetch(*values)
        return found

    async def run(self, sql: str) -> None:
        """Run statements without values, in one round trip."""
        await self.connection.execute(sql)

    @property
    def is_idle(self) -> bool:
        return not self.connection.is_closed() and not self.connection.is_in_transaction()


class Sessions:
    """The connections of one store. Used from one event loop."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_closed = False
        self.patience = PATIENCE
        self._turns = asyncio.Semaphore(MOST)
        self._idle: list[Session] = []

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection for some statements. It is kept if they end well, or with an error of a statement outside of a transaction."""
        async with self._turns:
            session = self._known() or Session(await self.database.connect())
            keep = False
            try:
                yield session
                keep = True
            except asyncpg.PostgresError as error:
                keep = not is_transient(error)
                raise
            finally:
                if keep and session.is_idle and not self.is_closed:
                    self._idle.append(session)
                else:
                    session.connection.terminate()

    async def tried(self, work: Callable[[Session], Awaitable[_Value]]) -> _Value:
        """Do work that may be done twice, again if the connection is lost. Raises the library's errors."""
        attempts = self.attempts()
        while True:
            async with attempts, self.session() as session:
                return await work(session)

    def attempts(self, times: int = 1) -> Attempts:
        """For `while True: async with attempts: return …`. A failure after so many times the patience is raised."""
        return Attempts(self, self.patience * times)

    async def rows(self, sql: str, *values: object) -> Sequence[Any]:
        """Read. No row has a text that PostgreSQL cannot store, so such a value finds none."""
        if any(isinstance(value, str) and not _is_storable(value) for value in values):
            return []
        return await self.tried(lambda session: session.rows(sql, *values))

    async def row(self, sql: str, *values: object) -> Any:
        """The first row; None without one."""
        found = await self.rows(sql, *values)
        return found[0] if found else None

    def forget_idle(self) -> None:
        """Drop the idle connections: when one was lost, the others probably are too."""
        for session in self._idle:
            session.connection.terminate()
        self._idle.clear()

    async def close(self) -> None:
        """Close every idle connection, and the others after the call that uses them."""
        self.is_closed = True
        idle, self._idle = self._idle, []
        for session in idle:
            with contextlib.suppress(Exception):
                await session.connection.close(timeout=1.0)

    def _known(self) -> Session | None:
        if self.is_closed:
            raise closed()
        while self._idle:
            session = self._idle.pop()
            if session.is_idle:
                return session
        return None


class Attempts:
    """Swallows errors that may pass, after a pause, until the time is over. Other errors are translated and raised."""

    def __init__(self, sessions: Sessions, patience: float) -> None:
        self._sessions = sessions
        self._end = asyncio.get_running_loop().time() + patience
        self._pause = _FIRST_PAUSE

    async def __aenter__(self) -> None:
        if self._sessions.is_closed:
            raise closed()

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        if is_transient(error) and asyncio.get_running_loop().time() < self._end:
            self._sessions.forget_idle()
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that servers do not collide again
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            return True
        told = translation(error, self._sessions.database.name)
        if told is error:
            return False
        raise told from error


def _is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))
