"""Removes blobs that nothing refers to: of deleted and replaced files, of refused and broken uploads, of uploads that lost a race.

    condemn   a blob that no live row names gets a note with the present time
    remove    a blob that was condemned `grace` seconds ago, is still the same, and is still named by no row

Rows are those of files, sidecars and attachments, also of mirrored pages. The past is none: a deleted file is listed as of an earlier
commit, but its bytes go. Copies of mirrors are apart (`protocols.learning`), and are evicted by their own rules.

Servers may run meanwhile. The rows are read once. Commits since then are read from the log, after the blobs that are about to go were
announced; `tools.clearing` tells why no later commit names one of them. A blob that was stored again has another time, and stays.
One clearing runs at a time, by a lease. It may be killed at any moment: notes are left, and the next one goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, Refused, Unavailable
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.clearing_run import Cleared, ClearingRun, ClearingStore, Progress
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.tools import leases
from pkgindex_core.tools.clearing import LEASE, is_shared, last_end, unshare
from pkgindex_core.tools.regularly import regularly

LEASE_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


class Clearing:
    """Clears the blobs of one store."""

    def __init__(self, *, store: ClearingStore, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def clear(self, *, grace: float, dry_run: bool, progress: Progress, is_only_index: bool = False) -> Cleared:
        """Condemn unused blobs, and remove those that were condemned `grace` seconds ago. Changes nothing if `dry_run`.

        `is_only_index`: the copy of this index that used the same blobs is not used any more (`tools.clearing.share`).

        Raises `Conflict` while another clearing runs, and `Refused` if the blobs do not belong to this store alone.
        """
        if is_only_index and not dry_run:
            await unshare(self._store)
        await self._require_ownership(is_only_index)
        found: list[Cleared] = []
        run = ClearingRun(self._store, self._blobs, self._clock, grace, progress)
        if dry_run:
            return await run.told()

        async def work(holding: leases.HeldLease) -> None:
            found.append(await run.done(self._require_ownership, holding))

        await leases.while_held(self._store, LEASE, run.holder, work, seconds=LEASE_SECONDS, pause=_refuse)
        if not found:
            raise Unavailable("the lease of the gc was not renewed in time", hint="run it again: it goes on")
        return found[0]

    async def keep_on(self, *, every: float, grace: float, pause: Callable[[float], Awaitable[None]]) -> None:
        """Clear until cancelled, `every` seconds after the end of the last clearing by whatever process."""

        async def look() -> None:
            if self._clock.now() >= await last_end(self._store) + every * 1_000_000:
                done = await self.clear(grace=grace, dry_run=False, progress=lambda *_: None)
                _log.info("%d unused files (%d bytes) were removed", done.removed, done.removed_bytes)

        await regularly("the removal of unused files", look, every=every, pause=pause)

    async def _require_ownership(self, is_only_index: bool = False) -> None:
        """Refuse blobs of another index: its rows are not in this database."""
        owner, mine = await self._blobs.owner(), await identity_of(self._store)
        if owner != mine:
            raise Refused(
                "the files belong to another index too" if owner else "the files have no mark of this index",
                hint="start the server of this index once; it marks its files, or refuses those of another index",
            )
        if not is_only_index and await is_shared(self._store):
            raise Refused(
                "the files are shared with a copy of this index, which `pkgindex-serve migrate` has made",
                hint="if the other copy is not used any more: pkgindex-serve gc --only-index",
            )


async def _refuse() -> None:
    raise Conflict(
        "another gc of this store is running",
        hint=f"wait until it has ended; one that was killed is over {LEASE_SECONDS:.0f} seconds later",
    )
