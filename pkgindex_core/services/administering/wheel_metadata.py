"""Compares the metadata beside stored wheels with the METADATA inside them.

Installers resolve by the one and install by the other (PEP 658). Wheels of mirrors are left out: their upstream may change them, and
what a mirror stores is verified when it is fetched.
"""

from __future__ import annotations

import zipfile
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Missing
from pkgindex_core.protocols import Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_of
from pkgindex_core.services.administering.verifying import Progress, Throttle, Verified
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker

_LIMIT: Final = 16 << 20


class _Store(Trees, Projects, ReleaseRecords, Protocol): ...


class WheelMetadata:
    """Reads the metadata inside stored wheels."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def compare(self, found: Verified, *, throttle: Throttle, progress: Progress) -> None:
        """Add the metadata that differs from its wheel to `found`. Damaged and lost blobs are skipped: they are in it already."""
        known = {trouble.sha256 for trouble in found.troubles}
        compared = 0

        async def look_at(owner: Owner) -> None:
            nonlocal compared
            wheel = owner.file.sha256
            if wheel is None or not known.isdisjoint((wheel, owner.key)):
                return
            try:
                inside = await self.inside(wheel)
            except Missing:
                return  # the file was deleted meanwhile
            if owner.key not in map(sha256_of, inside) and await is_named(self._store, owner):
                found.differing.append(owner)
            await throttle.read(owner.file.size or 0)
            compared += 1
            progress("metadata", compared, 0)

        async for owners in owners_of(self._store):
            sidecars = [each for each in owners if each.role == "metadata" and not each.elsewhere]
            await side_by_side([each for each in sidecars if each.file.filename.endswith(".whl")], look_at)

    async def inside(self, wheel: Sha256) -> list[bytes]:
        """The members of a stored wheel that may be its metadata; the caller compares digests. Raises `Missing` without the wheel."""
        place = await self._blobs.locate(wheel, filename="wheel")
        if isinstance(place, Path):
            return await in_worker(self._workers, partial(_members, place))
        async with self._blobs.spool() as spool:
            async for chunk in self._blobs.read(wheel):
                await spool.write(chunk)
            await spool.flush()
            return await in_worker(self._workers, partial(_members, spool.path))


def _members(path: Path) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if one.filename.endswith(".dist-info/METADATA")]
            return [archive.read(one) for one in members if one.file_size <= _LIMIT]
    except FileNotFoundError as error:
        raise Missing("wheel", path.name) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        return []
