"""Damaged and lost blobs made good, as far as their bytes can be had again.

    1. what is damaged is set aside, never deleted: from here on it is served to no client
    2. files that a mirror lists are fetched again, and verified as at the first time
    3. metadata of wheels is read out of the wheel, or fetched with a mirror's file; it must have the digest that the row names

What is left is told with the upload that it came from: sending the same file again makes it good. The order is also that of a repair that was killed and begins
again: what was set aside is lost then, and what is lost is made in the same way.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import BlobStore, OnDisk, Redirect, Trees
from pkgindex_core.services.administering.blob_owners import Owner
from pkgindex_core.services.administering.verifying import Progress, Trouble, Verified, Verifying
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker

_METADATA_LIMIT: Final = 16 << 20
_AGAIN: Final = "restore the blob from a backup, or send the same file again"


class Repairing:
    """Repairs what a verification has found."""

    def __init__(
        self,
        *,
        store: Trees,
        blobs: BlobStore,
        sources: Sources,
        verifying: Verifying,
        workers: Executor,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._sources = sources
        self._verifying = verifying
        self._workers = workers

    async def repair(self, found: Verified, *, progress: Progress) -> None:
        """Make good what can be, and write down in `found` what came of it."""
        for trouble in found.troubles:
            await self._set_aside(trouble)
        wheels_first = sorted(found.troubles, key=lambda trouble: all(o.role == "metadata" for o in trouble.owners))
        for number, trouble in enumerate(wheels_first, start=1):
            if trouble.outcome != "repaired":
                await self._make(trouble)
            progress("repairs", number, len(found.troubles))

    async def _set_aside(self, trouble: Trouble) -> None:
        if trouble.state == "lost":
            trouble.outcome = "left"
            return
        try:
            moved = await self._blobs.set_aside(trouble.sha256)
        except PkgIndexError as error:
            trouble.outcome, trouble.reason = "left", error.message
            return
        # Not moved: it was sent again meanwhile, and is whole.
        trouble.outcome = "set aside" if moved else "repaired"
        failpoint("repair.set_aside")

    async def _make(self, trouble: Trouble) -> None:
        if not trouble.owners and trouble.outcome == "set aside":
            trouble.outcome = "repaired"  # nothing names these bytes, and they are out of the way
            return
        reasons = []
        for owner in sorted(trouble.owners, key=lambda owner: not owner.mirrored):
            try:
                await self._make_for(owner)
            except PkgIndexError as error:
                reasons.append(error.message)
                continue
            if await self._verifying.is_whole(trouble.sha256):
                failpoint("repair.made")
                trouble.outcome = "repaired"
                return
        trouble.reason = trouble.reason or "; ".join(dict.fromkeys(reasons)) or "what was made has another digest"

    async def _make_for(self, owner: Owner) -> None:
        if owner.mirrored:
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
        async with self._blobs.stage() as stage:
            async for chunk in self._blobs.read(wheel):
                await stage.write(chunk)
            await stage.flush()
            path, wanted = stage.path, owner.key
            for data in await in_worker(self._workers, _reading(path)):
                async with self._blobs.stage() as metadata:
                    await metadata.write(data)
                    if metadata.hexdigest() == wanted:
                        await metadata.keep()


def _reading(path: Path) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        """The members that may be the metadata of the wheel; the digest tells."""
        try:
            with zipfile.ZipFile(path) as archive:
                members = [one for one in archive.infolist() if one.filename.endswith(".dist-info/METADATA")]
                return [archive.read(one) for one in members if one.file_size <= _METADATA_LIMIT]
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
            return []

    return read
