"""Leases: one of several processes over a store does some work. Made of notes by compare-and-set, so engines do not know them.

    acquire ─► token ─► renew, renew, …  ─► release
                          └─ too late: another process has it, with a larger token

The lease of a dead holder ends by time. A holder that was suspended (SIGSTOP, a machine that slept) goes on after its lease has ended, and
another one works already. So each write of the work has a guard, which the store checks together with the write:

    commit       `HeldLease.guarded`: the commit requires the note of the lease as this holder last wrote it
    note         `put_note(expected=…)`, with the version that this holder has read or written since it began
    elsewhere    `HeldLease.token`, for a receiver that refuses smaller tokens than the last one; or a write that changes nothing when it
                 is repeated. `HeldLease.check` before it makes the window small, and is no guard
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import NoteIs
from pkgindex_core.clock import Timestamp
from pkgindex_core.errors import PkgIndexError, RequirementFailed, Unavailable
from pkgindex_core.protocols.notes import Notes

Outcome = TypeVar("Outcome")

KIND: Final = "lease"
_RENEWALS: Final = 3
"""Renewals of a lease within its time."""

_log = logging.getLogger(__name__)


class Lease(Struct, frozen=True, kw_only=True):
    """A lease as its holder knows it."""

    name: str
    holder: str
    token: int
    """Larger than the tokens of all earlier leases of this name. Renewing keeps it."""
    version: int
    """The version of the note, as last written."""


async def acquire(notes: Notes, name: str, holder: str, *, seconds: float) -> Lease | None:
    """Take a lease for `seconds` by the clock of the store; None while the lease is held, even by the same holder.

    `holder` is only for people who inspect the store.
    """
    if await notes.note(KIND, name) is not None:
        return None
    version = await notes.put_note(KIND, name, holder.encode(), seconds=seconds, expected=0)
    return Lease(name=name, holder=holder, token=version, version=version) if version is not None else None


async def renew(notes: Notes, lease: Lease, *, seconds: float) -> Lease | None:
    """Hold a lease for `seconds` from now on; None when it has ended, and has to be acquired again."""
    version = await notes.put_note(KIND, lease.name, lease.holder.encode(), seconds=seconds, expected=lease.version)
    return replace(lease, version=version) if version is not None else None


async def release(notes: Notes, lease: Lease) -> bool:
    """End a lease early; False when it has ended already."""
    return await notes.drop_note(KIND, lease.name, expected=lease.version)


class HeldLease:
    """A lease that is held now, for the work that is done under it. Made by `while_held`, or of a lease that was just acquired."""

    def __init__(self, notes: Notes, lease: Lease, *, seconds: float, asked: float) -> None:
        """`asked`: the time of the event loop before the store was asked for the lease. Its answer may have been late."""
        self._notes = notes
        self._lease = lease
        self._seconds = seconds
        self._turn = asyncio.Lock()
        """Held while a commit names the version of the note, and while a renewal changes it."""
        self.end = asked + seconds
        """When the lease ends, by the clock of the event loop. That goes on while the process is stopped, but not while the machine sleeps."""

    @property
    def token(self) -> int:
        """The fencing token: larger than those of all earlier holders."""
        return self._lease.token

    @property
    def is_over(self) -> bool:
        """Whether the lease has ended, as far as this process can tell."""
        return asyncio.get_running_loop().time() >= self.end

    def check(self) -> None:
        """Raise `Unavailable` if the lease has ended."""
        if self.is_over:
            raise self._lost()

    async def time(self) -> Timestamp:
        """The time when the lease was last renewed, by the clock of the store: that of this process may be wrong.

        Raises `Unavailable` if the lease has ended.
        """
        async with self._turn:
            note = await self._notes.note(KIND, self._lease.name)
            if note is None or note.until is None or note.version != self._lease.version:
                raise self._lost()
            return Timestamp(note.until - int(self._seconds * 1_000_000))

    async def guarded(self, commit: Callable[[NoteIs], Awaitable[Outcome]]) -> Outcome:
        """Make a commit, which gets a requirement that holds only while this lease is held. Commits of one holder follow each other.

        Raises `Unavailable` if the lease has ended; nothing was changed then.
        """
        async with self._turn:
            self.check()
            held = NoteIs(KIND, self._lease.name, self._lease.version)
            try:
                return await commit(held)
            except RequirementFailed as error:
                if error.requirement != held:
                    raise
                self.end = 0.0
                raise self._lost() from error

    async def renew(self) -> bool:
        """Hold the lease from now on for its whole time; False when it has ended."""
        async with self._turn:
            asked = asyncio.get_running_loop().time()
            renewed = await renew(self._notes, self._lease, seconds=self._seconds)
            if renewed is None:
                self.end = 0.0
                return False
            self._lease, self.end = renewed, asked + self._seconds
            return True

    async def release(self) -> None:
        """End the lease early. One that has ended needs no release, and the store may not answer."""
        if not self.is_over:
            with suppress(PkgIndexError):
                await release(self._notes, self._lease)

    def _lost(self) -> Unavailable:
        return Unavailable(f"the lease of {self._lease.name} has ended", hint="the next holder goes on; try again")


async def while_held(
    notes: Notes,
    name: str,
    holder: str,
    work: Callable[[HeldLease], Awaitable[None]],
    *,
    seconds: float,
    pause: Callable[[], Awaitable[None]],
) -> None:
    """Wait for a lease, trying again after each `pause`, and work while it is held. Exceptions of the work are raised.

    Returns when the work has ended. Also returns when the lease was lost or could not be renewed in time; the work is then cancelled.
    """
    loop = asyncio.get_running_loop()
    asked = loop.time()  # before the store is asked: its answer may be late
    while (lease := await acquire(notes, name, holder, seconds=seconds)) is None:
        await pause()
        asked = loop.time()
    holding = HeldLease(notes, lease, seconds=seconds, asked=asked)
    working = asyncio.ensure_future(work(holding))
    try:
        while not (await asyncio.wait({working}, timeout=min(seconds / _RENEWALS, holding.end - loop.time())))[0]:
            try:
                async with asyncio.timeout_at(holding.end):
                    renewed = await holding.renew()
            except TimeoutError:
                _log.warning("the lease of %s was not renewed in time", name)
                return
            except PkgIndexError as error:
                _log.warning("the lease of %s cannot be renewed now: %s", name, error)
                if loop.time() + seconds / _RENEWALS < holding.end:
                    continue
                return
            if not renewed:
                _log.warning("the lease of %s was lost", name)
                return
        working.result()
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        await holding.release()
