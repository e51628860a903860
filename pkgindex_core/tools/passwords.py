"""Password hashes: argon2id, verified off the event loop and never more than a few at once.

Hashing is made to be expensive (tens of milliseconds, 32 MiB), so a flood of log-ins must not take the machine: at most
two of the engine's worker threads ever hash, for log-ins and new passwords together, and the rest go on serving disk and compression. Hashes that came along from devpi
are verified too, within bounds of cost (`formats.password_hashes`); `outdated` tells which to replace at the next log-in.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final

import argon2

from pkgindex_core.errors import Refused, Unavailable
from pkgindex_core.formats.password_hashes import affordable_argon2, salted_sha256
from pkgindex_core.tools.workers import in_worker

if TYPE_CHECKING:
    from pkgindex_core.protocols import Passwords

PASSWORD_LIMIT: Final = 4096
"""Bytes; bounds what one attempt can cost (the same bound as PyPI's)."""

WAITING_LIMIT: Final = 200
"""Attempts that may wait for their turn: some seconds' work."""


class PasswordPool:
    """Makes and verifies hashes in `workers`, at most `at_once` at a time."""

    def __init__(self, workers: Executor, *, at_once: int = 2) -> None:
        # RFC 9106's parameters for constrained memory are too slow for a small index; OWASP's second choice, doubled in memory.
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)
        self._workers = workers
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._decoy = ""

    async def hash(self, password: str, *, may_be_empty: bool = False) -> str:
        """Hash a new password, or refuse one that cannot be used. `Unavailable` when too many wait already."""
        if not password and not may_be_empty:
            raise Refused("the password is empty", hint="give a password of at least one character")
        if len(password.encode(errors="replace")) > PASSWORD_LIMIT:
            raise Refused(f"the password is longer than {PASSWORD_LIMIT} bytes")
        async with self._turn():
            return await in_worker(self._workers, self._hasher.hash, password)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Compare. An empty hash (no such user, or no password set) takes as long as a real one and never matches.

        `Unavailable` when too many wait already: a flood of guesses must not grow a queue without end.
        """
        async with self._turn():
            return await self._verified(password_hash, password)

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

    async def _verified(self, password_hash: str, password: str) -> bool:
        return await in_worker(self._workers, self._verify, password_hash, password)

    def outdated(self, password_hash: str) -> bool:
        """Whether a hash that was just verified is not of the kind and cost that new ones have."""
        return salted_sha256(password_hash) is not None or self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        if len(password.encode(errors="replace")) > PASSWORD_LIMIT:
            return False
        salted = salted_sha256(password_hash)
        if salted is not None:
            digest = hashlib.sha256(salted.salt + password.encode(errors="replace")).hexdigest()
            # A wrong guess costs what it costs elsewhere; the right one is replaced by a proper hash.
            return hmac.compare_digest(digest, salted.digest) or self._refuse_slowly(password)
        if not affordable_argon2(password_hash):
            return self._refuse_slowly(password)
        try:
            self._hasher.verify(password_hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return True

    def _refuse_slowly(self, password: str) -> bool:
        """No, in the time that comparing takes: who asks learns nothing about why."""
        self._decoy = self._decoy or self._hasher.hash("nobody's password")
        with contextlib.suppress(argon2.exceptions.VerificationError):
            self._hasher.verify(self._decoy, password)
        return False


if TYPE_CHECKING:
    _: type[Passwords] = PasswordPool
