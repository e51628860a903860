"""Makes and verifies password hashes outside the event loop, a few at a time.

Hashing is expensive on purpose (tens of milliseconds, 32 MiB). At most two of the engine's worker threads hash at a time,
for log-ins and new passwords together, so that a flood of log-ins leaves the other threads to disk and compression.
`PasswordHashing` makes the hashes; `outdated` tells which to replace at the next log-in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final

from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.tools.workers import in_worker

if TYPE_CHECKING:
    from pkgindex_core.protocols import PasswordComparing, PasswordHashing, Passwords

PASSWORD_LIMIT: Final = 4096
"""The most bytes of a password, as on PyPI. Bounds the cost of one attempt."""

WAITING_LIMIT: Final = 200
"""The most attempts that may wait. Their work takes some seconds."""


class PasswordPool:
    """Makes and verifies hashes in `workers`, at most `at_once` at a time."""

    def __init__(self, hashing: PasswordHashing, workers: Executor, *, at_once: int = 2) -> None:
        self._hashing = hashing
        self._workers = workers
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0

    async def hash(self, password: str, *, may_be_empty: bool = False) -> str:
        """Hash a new password, or refuse an unusable one. `Unavailable` when too many attempts wait already."""
        if not password and not may_be_empty:
            raise Refused("the password is empty", hint="give a password of at least one character")
        if len(password.encode(errors="replace")) > PASSWORD_LIMIT:
            raise Refused(f"the password is longer than {PASSWORD_LIMIT} bytes")
        async with self._turn():
            return await in_worker(self._workers, self._hashing.hash, password)

    async def verify(self, password_hash: str, password: str, *, comparing: PasswordComparing | None = None) -> bool:
        """Compare. An empty hash (no such user, or no password set) never matches, and takes as long as a real one.

        `comparing` is for hashes of other kinds, which are not in the store. `Unavailable` when too many attempts wait already, so
        that a flood of guesses does not grow the queue without bound.
        """
        async with self._turn():
            if len(password.encode(errors="replace")) > PASSWORD_LIMIT:
                return False
            return await in_worker(self._workers, (comparing or self._hashing).verify, password_hash, password)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("too many log-ins at once", hint="try again in a moment, or use an API token")
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        return self._hashing.outdated(password_hash)


if TYPE_CHECKING:
    _: type[Passwords] = PasswordPool
