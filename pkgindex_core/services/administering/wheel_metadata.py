"""Compares the metadata beside stored wheels with the METADATA inside them.

Installers resolve by the one and install by the other (PEP 658). The wheel is what its uploader built, so a repair takes the metadata
from it. Wheels of mirrors are left out: their upstream may change them, and what a mirror stores is verified when it is fetched.
"""

from __future__ import annotations

import re
import zipfile
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from pkgindex_core.changes import ProjectAt, PutFile
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import Missing, PkgIndexError
from pkgindex_core.failpoints import failpoint
from pkgindex_core.protocols import IndexWriter, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.services.administering.blob_owners import Owner, is_named, owners_of
from pkgindex_core.services.administering.verified_record import VerifiedRecord
from pkgindex_core.services.administering.verifying import Difference, Progress, Throttle, Verified
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker

WHO: Final = "[verify]"
_LIMIT: Final = 16 << 20
_MEMBER: Final = re.compile(r"[^/]+\.dist-info/METADATA")
"""Directories below may have those of other projects, which the wheel brings along."""
_AMBIGUOUS: Final = "the wheel has not one readable METADATA; upload a corrected version"


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Protocol): ...


class WheelMetadata:
    """Reads the metadata inside stored wheels."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, workers: Executor) -> None:
        self._store = store
        self._blobs = blobs
        self._workers = workers

    async def compare(self, found: Verified, record: VerifiedRecord, *, throttle: Throttle, progress: Progress) -> None:
        """Add the metadata that differs from its wheel to `found`. Damaged and lost blobs are skipped: they are in it already.

        The record has the pairs that a stopped comparison found equal.
        """
        known = {trouble.sha256 for trouble in found.troubles}
        compared = 0

        async def look_at(owner: Owner) -> None:
            nonlocal compared
            wheel = owner.file.sha256
            if wheel is None or not known.isdisjoint((wheel, owner.key)) or (pair := _pair(wheel, owner.key)) in record:
                return
            try:
                inside = await self.inside(wheel)
            except Missing:
                return  # the file was deleted meanwhile
            if owner.key in map(sha256_of, inside):
                record.add(pair)
            elif await is_named(self._store, owner):
                found.differing.append(Difference(owner=owner))
            await throttle.read(owner.file.size or 0)
            compared += 1
            progress("metadata", compared, 0)

        async for owners in owners_of(self._store):
            sidecars = [each for each in owners if each.role == "metadata" and not each.elsewhere]
            await side_by_side([each for each in sidecars if each.file.filename.endswith(".whl")], look_at)

    async def plan(self, difference: Difference) -> str:
        """Describe the change that `correct` would make."""
        inside = await self._inside_of(difference)
        return f"left: {_AMBIGUOUS}" if len(inside) != 1 else "the metadata in the wheel takes its place"

    async def correct(self, difference: Difference) -> None:
        """Let a file have the metadata that its wheel has, and record the outcome. A file that was changed meanwhile is left alone."""
        try:
            inside = await self._inside_of(difference)
            if len(inside) != 1:
                difference.outcome, difference.reason = "left", _AMBIGUOUS
                return
            key = (await self._blobs.put(inside[0])).sha256
            failpoint("correct.stored")
            await until_committed(lambda _: self._replace(difference.owner, key), "the project changes too fast")
        except PkgIndexError as error:
            difference.outcome, difference.reason = "left", error.message
            return
        failpoint("correct.committed")
        difference.outcome = "repaired"

    async def _inside_of(self, difference: Difference) -> list[bytes]:
        wheel = difference.owner.file.sha256
        assert wheel is not None, "a hosted file has a sha256"
        return await self.inside(wheel)

    async def _replace(self, owner: Owner, key: Sha256) -> None:
        (standing,) = await self._store.standings(owner.project, [owner.index])
        file = await self._store.file(owner.index, owner.project, owner.file.filename)
        if file is None or (file.sha256, file.metadata_sha256) != (owner.file.sha256, owner.key):
            return
        await self._store.apply(
            [PutFile(owner.index, owner.project, replace(file, metadata_sha256=key))],
            who=WHO,
            require=[ProjectAt(owner.index, owner.project, standing.stamp, standing.content)],
        )

    async def inside(self, wheel: Sha256) -> list[bytes]:
        """The metadata in a stored wheel: one, unless the wheel is odd. Raises `Missing` without the wheel."""
        place = await self._blobs.locate(wheel, filename="wheel")
        if isinstance(place, Path):
            return await in_worker(self._workers, partial(_members, place))
        async with self._blobs.spool() as spool:
            async for chunk in self._blobs.read(wheel):
                await spool.write(chunk)
            await spool.flush()
            return await in_worker(self._workers, partial(_members, spool.path))


def _pair(wheel: Sha256, metadata: Sha256) -> Sha256:
    """The entry of the record for a wheel and the metadata that is equal to its own."""
    return sha256_of(f"{wheel} {metadata}".encode())


def _members(path: Path) -> list[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if _MEMBER.fullmatch(one.filename)]
            return [archive.read(one) for one in members if one.file_size <= _LIMIT]
    except FileNotFoundError as error:
        raise Missing("wheel", path.name) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        return []
