"""The turn of one run of a mirror, as a lease in the notes of the store: other machines over the store see it too.

A run renews its lease. When it dies, the lease ends by time; a run on the same machine sees at once that its process is gone.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.errors import Conflict, PkgIndexError, Unavailable
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import IndexWriter, Notes
from pkgindex_core.tools import leases

SECONDS: Final = 60.0
_RENEWED: Final = 20.0


class _Store(Notes, IndexWriter, Protocol): ...


class RunTurn:
    """The turn of this process. It commits while it lasts: an `IndexWriter` whose commits the store refuses afterwards (`tools.leases`)."""

    def __init__(self, store: _Store, index: IndexName, *, what: str = "") -> None:
        """`what`: words before the name of the index, such as `snapshots of `, for a turn that is not the one of its runs."""
        self._store = store
        self._index = f"{what}{index}"
        self._name = f"mirror.sync {self._index}"
        self._holding: leases.HeldLease | None = None

    def check(self) -> None:
        """Raise `Unavailable` if the turn was lost, as after the machine was suspended."""
        self._held()

    async def apply(self, changes: Sequence[Change], *, who: str, require: Iterable[Requirement] = ()) -> Commit | None:
        """As `IndexWriter.apply`. Raises `Unavailable` if the turn was lost; nothing was changed then."""
        holding = self._held()
        try:
            return await holding.guarded(lambda held: self._store.apply(changes, who=who, require=[*require, held]))
        except Unavailable:
            self.check()
            raise

    def _held(self) -> leases.HeldLease:
        if self._holding is None or self._holding.is_over:
            raise Unavailable(
                f"the run lost its turn to write {self._index}", hint="run the command again; it goes on where it was"
            )
        return self._holding

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lease. Raises `Conflict` while another run holds it."""
        asked = asyncio.get_running_loop().time()
        holder = f"{platform.node()} {os.getpid()}"
        await self._end_dead()
        lease = await leases.acquire(self._store, self._name, holder, seconds=SECONDS)
        if lease is None:
            note = await self._store.note(leases.KIND, self._name)
            who = f" ({note.value.decode()})" if note is not None else ""
            raise Conflict(
                f"another run is writing {self._index}{who}",
                hint=f"wait until it has ended; the turn of a run that died is free after {SECONDS:.0f} seconds",
            )
        self._holding = holding = leases.HeldLease(self._store, lease, seconds=SECONDS, asked=asked)
        renewing = asyncio.create_task(_renew(holding), name=f"renew the turn of {self._index}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})
            self._holding = None
            with suppress(PkgIndexError):
                await self._release(holder)

    async def _release(self, holder: str) -> None:
        note = await self._store.note(leases.KIND, self._name)
        if note is not None and note.value == holder.encode():
            await self._store.drop_note(leases.KIND, self._name, expected=note.version)

    async def _end_dead(self) -> None:
        """End the lease of a process of this machine that is not there any more."""
        note = await self._store.note(leases.KIND, self._name)
        if note is None:
            return
        machine, _, process = note.value.decode().rpartition(" ")
        is_here = machine == platform.node() and process.isdecimal()
        if is_here and int(process) != os.getpid() and not _lives(int(process)):
            await self._store.drop_note(leases.KIND, self._name, expected=note.version)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


async def _renew(holding: leases.HeldLease) -> None:
    while True:
        await asyncio.sleep(_RENEWED)
        with suppress(PkgIndexError):  # perhaps the next one succeeds in time
            if not await holding.renew():
                return
