"""Repairs damaged and lost blobs, if their bytes can be had again.

    1. damaged blobs are set aside, never deleted: from here on no client gets them
    2. uploaded files are copied from a mirror's copy, or from another store that the caller names, such as a backup
    3. files of mirrors are fetched again, and verified as at the first time
    4. metadata of wheels is read from the wheel, or fetched with a mirror's file; it must have the digest in the row
    5. metadata that differs from that in its wheel is replaced by it (`wheel_metadata`)

Other blobs are reported with their upload: sending the same file again repairs them. A repair that was killed can be run
again: a blob that was set aside is then lost, and lost blobs are repaired in the same way.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore, OnDisk, Redirect, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner
from pkgindex_core.services.administering.verifying import BlobTrouble, Progress, Verified, Verifying
from pkgindex_core.services.administering.wheel_metadata import WheelMetadata
from pkgindex_core.tools.sources import Sources

_AGAIN: Final = "restore the blob from a backup, or send the same file again"


class Repairing:
    """Repairs the troubles that a verification found."""

    def __init__(
        self,
        *,
        store: Trees,
        blobs: LearningBlobs,
        sources: Sources,
        verifying: Verifying,
        wheels: WheelMetadata,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._sources = sources
        self._verifying = verifying
        self._wheels = wheels

    async def repair(self, found: Verified, *, progress: Progress, other: BlobStore | None = None) -> None:
        """Repair what is possible, and record the outcomes in `found`. `other`: a store that may have intact bytes."""
        for trouble in found.troubles:
            await self._set_aside(trouble)
        wheels_first = sorted(found.troubles, key=lambda trouble: all(o.role == "metadata" for o in trouble.owners))
        total = len(found.troubles) + len(found.differing)
        for number, trouble in enumerate(wheels_first, start=1):
            if trouble.outcome != "repaired":
                await self._make(trouble, other)
            progress("repairs", number, total)
        for number, difference in enumerate(found.differing, start=len(found.troubles) + 1):
            await self._wheels.correct(difference)
            progress("repairs", number, total)

    async def foresee(self, found: Verified, *, other: BlobStore | None = None) -> None:
        """Record in `found` what `repair` would do. Changes nothing, and asks no upstream."""
        for trouble in found.troubles:
            aside = "" if trouble.state == "lost" else "set aside" + ", then " * bool(trouble.owners)
            trouble.plan = aside + await self._plan(trouble, other)
        for difference in found.differing:
            difference.plan = await self._wheels.plan(difference)

    async def _plan(self, trouble: BlobTrouble, other: BlobStore | None) -> str:
        if not trouble.owners:
            return ""
        key, copies = trouble.sha256, await self._blobs.copies()
        if any(not owner.elsewhere for owner in trouble.owners):
            if copies is not None and await copies.stat(key) is not None:
                return "copied from the file of a mirror"
            if other is not None and await other.stat(key) is not None:
                return "copied from the other store"
        mirrors = sorted({owner.index for owner in trouble.owners if owner.elsewhere})
        if mirrors:
            return f"fetched again from the upstream of {mirrors[0]}"
        for owner in trouble.owners:
            wheel = owner.file.sha256
            if owner.role == "metadata" and wheel is not None and await self._verifying.is_whole(wheel):
                return "read from its wheel"
        return f"left: {_AGAIN}"

    async def _set_aside(self, trouble: BlobTrouble) -> None:
        if trouble.state == "lost":
            trouble.outcome = "left"
            return
        try:
            moved = await self._blobs.set_aside(trouble.sha256)
        except PkgIndexError as error:
            trouble.outcome, trouble.reason = "left", error.message
            return
        # Not moved: the file was uploaded again meanwhile, and the blob is whole.
        trouble.outcome = "set aside" if moved else "repaired"
        failpoint("repair.set_aside")

    async def _make(self, trouble: BlobTrouble, other: BlobStore | None) -> None:
        if not trouble.owners and trouble.outcome == "set aside":
            trouble.outcome = "repaired"  # no row names these bytes, and they were set aside
            return
        hosted = any(not owner.elsewhere for owner in trouble.owners)
        if hosted and (await self._copied(trouble.sha256) or await self._taken(trouble.sha256, other)):
            failpoint("repair.made")
            trouble.outcome = "repaired"
            return
        reasons = []
        for owner in sorted(trouble.owners, key=lambda owner: not owner.elsewhere):
            try:
                await self._make_for(owner)
            except PkgIndexError as error:
                reasons.append(error.message)
                continue
            if await self._verifying.is_whole(trouble.sha256):
                if hosted:
                    await self._blobs.make_own(trouble.sha256)
                failpoint("repair.made")
                trouble.outcome = "repaired"
                return
        trouble.reason = trouble.reason or "; ".join(dict.fromkeys(reasons)) or "the repaired bytes have another digest"

    async def _copied(self, key: Sha256) -> bool:
        """Store the bytes for the hosted index from a mirror's copy. False: no copy has them."""
        with suppress(PkgIndexError):
            await self._blobs.make_own(key)
            return await self._verifying.is_whole(key)
        return False

    async def _taken(self, key: Sha256, other: BlobStore | None) -> bool:
        """Store the bytes from another store. False: it has none, or other ones."""
        if other is None:
            return False
        with suppress(PkgIndexError):
            async with self._blobs.spool() as spool:
                async for chunk in other.read(key):
                    await spool.write(chunk)
                if spool.hexdigest() == key:
                    await spool.keep()
                    return True
        return False

    async def _make_for(self, owner: Owner) -> None:
        if owner.elsewhere:
            config = (await self._store.tree()).indexes[owner.index]
            source = self._sources.of(config)
            if owner.role == "metadata":
                await source.metadata(config, owner.project, owner.file)
                return
            opened = await source.open(config, owner.project, owner.file, elsewhere=False)
            if not isinstance(opened, OnDisk | Redirect):
                await opened.file.finished()
        elif owner.role == "metadata":
            await self._read_metadata(owner)
        else:
            raise Missing("source", owner.file.filename, message=f"its bytes are nowhere else: {_AGAIN}")

    async def _read_metadata(self, owner: Owner) -> None:
        wheel = owner.file.sha256
        assert wheel is not None, "a hosted file has a sha256"
        if not await self._verifying.is_whole(wheel):
            raise Missing("wheel", owner.file.filename, message=f"its wheel is lost or damaged too: {_AGAIN}")
        for data in await self._wheels.inside(wheel):
            if sha256_of(data) == owner.key:
                await self._blobs.put(data)
