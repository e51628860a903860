"""Brings removed files back from the past of a store, with the metadata, documentation and test results of their versions.

A file comes back if its project is still there, its name is still that of the removed file, and its bytes are still stored. The commit
requires that no clearing announces blobs meanwhile (`tools.clearing`), so none of them is removed under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import Change, IndexIs, ProjectAt, PutAttachment, PutFile, PutProject, PutRelease
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Missing
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import Event, File, Page, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexWriter, Notes, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.rules.quotas import within_quotas
from pkgindex_core.rules.retaining import RESTORED
from pkgindex_core.tools.clearing import announced
from pkgindex_core.tools.committing import until_committed


class BroughtBack(Struct, frozen=True, kw_only=True):
    """The outcome for the removed files of one project."""

    project: ProjectName
    files: Sequence[str]
    """The files that came back, or would."""
    gone: Sequence[str]
    """The files of which bytes are not stored any more."""


class _Store(Trees, Projects, ReleaseRecords, IndexWriter, Notes, Protocol): ...


class BringingBack:
    """Brings removed files back."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def project(
        self,
        index: IndexName,
        project: ProjectName,
        filenames: Iterable[str],
        before: Serial,
        *,
        who: str,
        dry_run: bool,
    ) -> BroughtBack:
        """Bring files of a project back as they were at a commit. Raises `QuotaExceeded`."""
        filenames = tuple(filenames)

        async def attempt(_turn: int) -> BroughtBack:
            config = (await self._store.tree()).indexes.get(index)
            if config is None:
                raise Missing("index", index)
            (standing,) = await self._store.standings(project, [index])
            clearing = await announced(self._store)
            files, gone = list[File](), list[str]()
            for filename in filenames if standing.holds else ():
                file = await self._returnable(index, project, filename, before)
                if file is None:
                    continue
                keys = [key for key in (file.sha256, file.metadata_sha256) if key]
                if clearing.keys.isdisjoint(keys) and all([await self._is_stored(key) for key in keys]):
                    files.append(file)
                else:
                    gone.append(filename)
            if files and not dry_run:
                await self._store.apply(
                    await self._changes(index, project, files, before, who),
                    who=who,
                    require=[
                        IndexIs(config),
                        ProjectAt(index, project, standing.stamp),
                        clearing.unchanged,
                        *within_quotas(config),
                    ],
                )
            return BroughtBack(project=project, files=[file.filename for file in files], gone=gone)

        return await until_committed(attempt, f"{project} changes faster than it can be written", hint="try again")

    async def _returnable(self, index: IndexName, project: ProjectName, filename: str, before: Serial) -> File | None:
        """The file as it was, if its name is still that of this deleted file."""
        file = await self._store.file(index, project, filename, at=before)
        taken = await self._store.taken(index, filename)
        is_its_name = taken is not None and not taken.live and taken.project == project
        return file if file is not None and taken is not None and is_its_name and taken.sha256 == file.sha256 else None

    async def _is_stored(self, key: Sha256) -> bool:
        return await self._blobs.stat(key) is not None

    async def _changes(
        self, index: IndexName, project: ProjectName, files: Sequence[File], before: Serial, who: str
    ) -> list[Change]:
        event = Event(what=RESTORED, at=self._clock.now(), who=who)
        changes: list[Change] = [
            PutFile(index, project, replace(file, history=(*file.history, event))) for file in files
        ]
        versions = {canonical_version(file.version) for file in files}
        for version in sorted(versions):
            release = await self._store.release(index, project, version, at=before)
            if release is not None and await self._store.release(index, project, version) is None:
                changes.append(PutRelease(index, project, release))
        names = {file.filename for file in files}
        there = {each.filename for each in await self._store.attachments(index, project)}
        for each in await self._store.attachments(index, project, at=before):
            belongs = each.about in names if each.about else canonical_version(each.version) in versions
            if belongs and each.filename not in there and await self._is_stored(each.sha256):
                changes.append(PutAttachment(index, project, each))
        return [*changes, *await self._head(index, project, versions, before)]

    async def _head(self, index: IndexName, project: ProjectName, versions: set[str], before: Serial) -> list[Change]:
        """The change that lists the versions on the page again that it listed before."""
        now, then = await self._store.page(index, project), await self._store.page(index, project, at=before)
        if now is None or then is None:
            return []
        listed = _listed(then, versions)
        missing = tuple(each for each in listed if each not in now.head.versions)
        return (
            [PutProject(index, project, replace(now.head, versions=(*now.head.versions, *missing)))] if missing else []
        )


def _listed(page: Page, versions: set[str]) -> Sequence[str]:
    return [each for each in page.head.versions if canonical_version(each) in versions]
