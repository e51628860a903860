"""Removes old backups, with the blobs that no other backup has.

    forget      the file of each old backup: from now on it cannot be restored
    blobs       those of its list that no list of a kept backup has
    lists       the lists of backups that are gone

A run that dies leaves the mark of an unfinished run. The next one then removes every blob that no list has. The log is never cut, since
later backups need it from the beginning.
"""

from __future__ import annotations

from msgspec import Struct

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.tools.side_by_side import side_by_side


class Pruned(Struct, frozen=True, kw_only=True):
    """The result of pruning."""

    backups: list[str]
    blobs: int


async def prune(place: BackupPlace, target: BlobStore, *, keep: int, sweep: bool) -> Pruned:
    """Remove all but the newest `keep` backups (0: none), and with `sweep` everything that a killed run has left.

    The caller holds the turn. Raises `Corrupt`, and removes no blob, if the list of a kept backup is damaged.
    """
    names = await place.names()
    old = names[:-keep] if keep else []
    unused: set[bytes] = set()
    for name in old:
        try:
            blobs = await place.blobs_of(await place.backup(name))
        except Corrupt:
            sweep = True
        else:
            unused |= blobs.needed | blobs.copies
    for name in old:
        await place.forget(name)
        failpoint("backup.forgotten")
    if sweep:
        unused = {bytes.fromhex(blob.sha256) async for blob in target.walk()}
    for name in names[len(old) :]:
        if not unused:
            break
        blobs = await place.blobs_of(await place.backup(name))
        unused -= blobs.needed
        unused -= blobs.copies
    removed = 0

    async def remove(key: bytes) -> None:
        nonlocal removed
        if await target.drop(Sha256(key.hex())):
            removed += 1
        failpoint("backup.blob_removed")

    await side_by_side(unused, remove)
    if old or sweep:
        await place.remove_lists()
    return Pruned(backups=old, blobs=removed)
