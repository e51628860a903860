"""Scrubs a store: reads every blob again and again, slowly, so that damage is found before a client meets it.

One process over the store scrubs, while it holds a lease; another one goes on when that is gone. The cost has bounds: `rate` bytes a second,
and one listing of a 256th of the keys in memory. A row whose blob is missing is for `verifying` to find.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from pkgindex_core.errors import Conflict, Unavailable
from pkgindex_core.services.administering.scrub_round import Pace, ScrubParts, ScrubRound
from pkgindex_core.services.administering.scrub_state import ScrubNote, ScrubState
from pkgindex_core.services.administering.verifying import Pause, Progress
from pkgindex_core.tools import leases
from pkgindex_core.tools.regularly import regularly

LEASE: Final = "scrub"
LEASE_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 3600.0
"""Seconds between two looks at known damage, outside of rounds."""


class Scrubbing:
    """Scrubs one store."""

    def __init__(self, parts: ScrubParts) -> None:
        self._parts = parts

    async def state(self) -> ScrubState:
        """The state of the scrub, by whatever process."""
        return await ScrubNote(self._parts.notes).read()

    async def keep_on(self, *, rate: int, every: float, pause: Pause) -> None:
        """Scrub until cancelled: every blob once in `every` seconds, reading at most `rate` bytes a second (0: no limit)."""
        clock = self._parts.clock
        looked = clock.monotonic()

        async def look() -> None:
            nonlocal looked
            state = await self.state()
            is_late = bool(state.damaged) and clock.monotonic() - looked >= min(_AGAIN_SECONDS, every)
            if is_late or state.is_due(clock.now(), every):
                await self._hold(rate=rate, every=every, pause=pause, progress=_no_progress)
                looked = clock.monotonic()

        await regularly("the scrub", look, every=every, pause=pause)

    async def scrub(self, *, rate: int, anew: bool, pause: Pause, progress: Progress) -> ScrubState:
        """Make one round, or go on with one; with `anew` from the beginning. Raises `Conflict` while another process scrubs."""
        ended = await self._hold(rate=rate, every=0, anew=anew, pause=pause, progress=progress)
        if ended is None:
            raise Unavailable("the lease of the scrub was not renewed in time", hint="run it again: it goes on")
        return ended

    async def _hold(
        self, *, rate: int, every: float, pause: Pause, progress: Progress, anew: bool = False
    ) -> ScrubState | None:
        """Make what is due while the lease is held. None: it was lost."""
        ended: ScrubState | None = None

        async def work(held: leases.HeldLease) -> None:  # the note is the guard of each write
            nonlocal ended
            pace = Pace(self._parts.clock, rate, pause)
            ended = await ScrubRound(self._parts, pace, progress).run(await held.time(), every=every, anew=anew)

        holder = f"{socket.gethostname()} {os.getpid()}"
        await leases.while_held(self._parts.notes, LEASE, holder, work, seconds=LEASE_SECONDS, pause=_refuse)
        return ended


async def _refuse() -> None:
    raise Conflict(
        "another process is scrubbing this store",
        hint=f"wait until its round has ended; one that was killed is over {LEASE_SECONDS:.0f} seconds later",
    )


def _no_progress(_what: str, _done: int, _of: int) -> None: ...
