"""Takes a backup of a store while servers write to it. Only what the place does not have is copied.

    gather      the blobs, and the log up to the serial of the backup (`gathering`)
    record      the list of all these blobs, then the backup itself
    prune       old backups (`pruning`)

A killed run leaves blobs and commits, which the next one takes over. It leaves no backup, since the file of a backup is written last.
"""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.clock import Clock
from pkgindex_core.errors import Conflict, Corrupt
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.backups import NO_BLOBS, BlobList, parse_name
from pkgindex_core.models import Serial
from pkgindex_core.protocols import ChangeLog, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.moving.backups.gathering import BackupGathering
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.services.moving.backups.pruning import prune
from pkgindex_core.tools.progress import Progress

_ABANDONED_SECONDS: Final = 86_400.0
"""Seconds after which the leftovers of a killed copy are removed."""


class TakenBackup(Struct, kw_only=True):
    """The result of a backup."""

    name: str
    serial: Serial
    commits: int
    """New commits."""
    blobs: int
    """Copied blobs."""
    bytes: int
    total_blobs: int
    removed: list[str]
    """Backups that were removed, because there are enough newer ones."""
    removed_blobs: int
    lost: list[str]
    """Files that an index lists, and whose bytes are missing or damaged in the store."""


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, Protocol): ...


class TakingBackups:
    """Takes backups of one store."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def take(
        self,
        place: BackupPlace,
        *,
        identity: str,
        cached: bool = True,
        keep: int = 0,
        progress: Progress,
    ) -> TakenBackup:
        """Take a backup, and remove all but the newest `keep` (0: none).

        Without `cached`, files of mirrors are left out. Raises `Conflict` while another run writes there, and for a place of another store.
        """
        async with place.writing(identity) as is_left, place.blobs() as target:
            failpoint("backup.begun")
            await target.sweep(older_than=_ABANDONED_SECONDS)
            names = await place.names()
            known, is_damaged = await self._known(place, names)
            logged = await self._agreed(place, names)
            has_more = is_left or is_damaged
            run = BackupGathering(self._store, self._blobs, place, target, known, ask_first=has_more, progress=progress)
            await run.copy_rows()
            failpoint("backup.blobs_kept")
            serial, at = await run.append_commits(logged, self._clock)
            if cached:
                await run.copy_copies()
            lost = [owners[0].told() for owners in run.missing.values()]
            kept = BlobList(frozenset(run.needed), frozenset(run.copies))
            backup = await place.write_blobs(serial, at, kept, lost=lost)
            failpoint("backup.listed")
            await place.record(backup)
            failpoint("backup.recorded")
            await place.note_again(())
            pruned = await prune(place, target, keep=keep, sweep=has_more)
        return TakenBackup(
            name=backup.name,
            serial=serial,
            commits=run.commits,
            blobs=run.blobs,
            bytes=run.bytes,
            total_blobs=backup.blobs + backup.copies,
            removed=pruned.backups,
            removed_blobs=pruned.blobs,
            lost=lost,
        )

    async def _known(self, place: BackupPlace, names: list[str]) -> tuple[BlobList, bool]:
        """The blobs that the place has by the list of its newest backup, and whether that is damaged."""
        if not names:
            return NO_BLOBS, False
        try:
            known = await place.blobs_of(await place.backup(names[-1]))
        except Corrupt:
            return NO_BLOBS, True
        again = await place.again()
        return BlobList(known.needed - again, known.copies - again), False

    async def _agreed(self, place: BackupPlace, names: list[str]) -> Serial:
        """The serial up to which the place has the log of the store. Raises `Conflict` if a backup has another log.

        Commits after the newest backup are of a run that did not end. The store may have lost them since, and have others.
        """
        newest = max((serial for serial, _ in filter(None, map(parse_name, names))), default=Serial(0))
        while (last := await place.last_commit()) is not None:
            ours = await self._store.commits(Serial(last.serial - 1), limit=1)
            if ours and ours[0] == last:
                return last.serial
            if last.serial <= newest:
                raise Conflict(
                    f"commit {last.serial} in {place.url} is not that of the store",
                    hint="the store was restored from an older backup since: name a new place, and keep this one as it is",
                )
            await place.cut_log(newest)
        return Serial(0)
