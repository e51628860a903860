"""Leases: one of several processes over a store does some work. Made of notes by compare-and-set, so engines do not know them.

    acquire ─► token ─► renew, renew, …  ─► release
                          └─ too late: another process has it, with a larger token

The lease of a dead holder ends by time. A holder that was suspended may work on for a moment after its lease has ended. So the writes of
the work need a guard too: compare-and-set on the same store, or a receiver that refuses smaller tokens than the last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.protocols.notes import Notes

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


async def while_held(
    notes: Notes,
    name: str,
    holder: str,
    work: Callable[[], Awaitable[None]],
    *,
    seconds: float,
    pause: Callable[[], Awaitable[None]],
) -> None:
    """Wait for a lease, trying again after each `pause`, and work while it is held. Exceptions of the work are raised.

    Returns when the work has ended. Also returns when the lease was lost or could not be renewed in time; the work is then cancelled.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()  # before the store is asked: its answer may be late
    while (lease := await acquire(notes, name, holder, seconds=seconds)) is None:
        await pause()
        begun = loop.time()
    end = begun + seconds
    working = asyncio.ensure_future(work())
    try:
        while not (await asyncio.wait({working}, timeout=min(seconds / _RENEWALS, end - loop.time())))[0]:
            begun = loop.time()
            try:
                async with asyncio.timeout_at(end):
                    renewed = await renew(notes, lease, seconds=seconds)
            except TimeoutError:
                _log.warning("the lease of %s was not renewed in time", name)
                return
            except PkgIndexError as error:
                _log.warning("the lease of %s cannot be renewed now: %s", name, error)
                if loop.time() + seconds / _RENEWALS < end:
                    continue
                return
            if renewed is None:
                _log.warning("the lease of %s was lost", name)
                return
            lease, end = renewed, begun + seconds
        working.result()
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
        if loop.time() < end:  # one that has ended needs no release, and the store may not answer
            with suppress(PkgIndexError):
                await release(notes, lease)
