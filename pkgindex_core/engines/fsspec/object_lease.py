"""Keeps other processes off a mirror or a backup in an object store, which has no locks.

    DIRECTORY/0000000007      {"holder": "…", "until": 1700000000.0}

The holder of the newest number has the lease, until its time is over. A new holder creates the next number, which of two only one can. The
holder writes its own object again to hold on, after looking whether it is still there and the newest. A holder that was suspended finds that it
is not, and stops.
Clocks that differ by more than the slack can make a lease end early for others.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.engines.fsspec.media import Medium
from pkgindex_core.errors import Conflict, PkgIndexError, Unavailable

SECONDS: Final = 90.0
"""How long a lease lasts that is not renewed."""
_RENEWALS: Final = 4
"""Renewals of a lease within its time."""
_SLACK: Final = 5.0
"""Seconds by which clocks may differ."""


class HeldUntil(Struct, frozen=True):
    """A lease as its object says it."""

    holder: str
    until: float
    """Seconds since 1970."""
    nonce: str = ""
    """So that the bytes of two holders differ, also in one process."""


class ObjectLease:
    """The lease below a directory of a medium. `subject` is what it is about, for messages: "this mirror"."""

    def __init__(self, medium: Medium, directory: str, clock: Clock, *, subject: str, seconds: float = SECONDS) -> None:
        self._medium = medium
        self._directory = directory
        self._clock = clock
        self._subject = subject
        self._seconds = seconds
        self._holder = f"process {os.getpid()} on {socket.gethostname()}"

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lease. `Conflict` when another has it; when it is lost meanwhile, the work is cancelled, and `Conflict` is raised."""
        number = await self._acquire()
        working = asyncio.current_task()
        assert working is not None
        lost: list[PkgIndexError] = []

        async def hold() -> None:
            try:
                await self._renew_until_lost(number)
            except PkgIndexError as error:
                lost.append(error)
                working.cancel()

        holding = asyncio.create_task(hold(), name="hold the lease")
        try:
            yield
        except asyncio.CancelledError:
            if lost and working.uncancel() == 0:
                raise lost[0] from None
            raise
        finally:
            holding.cancel()
            await asyncio.wait({holding})
            if not lost:
                with suppress(PkgIndexError, FileNotFoundError):
                    await self._medium.ask("rm_file", self._path(number))

    async def _acquire(self) -> int:
        numbers = await self._numbers()
        newest = numbers[-1] if numbers else 0
        found = await self._read(newest) if newest else None
        if found is not None and found.until + _SLACK > self._now():
            raise Conflict(
                f"another run works on {self._subject}: {found.holder}",
                hint=f"wait until it has ended; if it was killed, its turn ends by itself after {self._seconds:.0f} seconds",
            )
        if not await self._medium.create(self._path(newest + 1), self._said()):
            raise Conflict(f"another run has just begun on {self._subject}", hint="wait until it has ended")
        for old in numbers:
            with suppress(FileNotFoundError):
                await self._medium.ask("rm_file", self._path(old))
        return newest + 1

    async def _renew_until_lost(self, number: int) -> None:
        end = self._clock.monotonic() + self._seconds
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS)
            try:
                if (
                    max(await self._numbers(), default=0) != number
                ):  # without its object a later run has been here, and has ended
                    raise Conflict(
                        f"another run has taken {self._subject} over", hint="see why this run was silent for so long"
                    )
                now = self._clock.monotonic()
                await self._medium.ask("pipe_file", self._path(number), self._said())
                end = now + self._seconds
            except Unavailable:
                if self._clock.monotonic() + self._seconds / _RENEWALS > end:
                    raise

    async def _numbers(self) -> list[int]:
        try:
            found: list[str] = await self._medium.ask("ls", self._directory, detail=False)
        except FileNotFoundError:
            return []
        return sorted(int(name) for path in found if (name := path.rpartition("/")[2]).isdigit())

    async def _read(self, number: int) -> HeldUntil | None:
        try:
            return msgspec.json.decode(await self._medium.ask("cat_file", self._path(number)), type=HeldUntil)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _said(self) -> bytes:
        return msgspec.json.encode(HeldUntil(self._holder, self._now() + self._seconds, secrets.token_hex(8)))

    def _now(self) -> float:
        return self._clock.now() / 1_000_000

    def _path(self, number: int) -> str:
        return f"{self._directory}/{number:010}"
