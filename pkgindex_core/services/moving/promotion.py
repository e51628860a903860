"""Promotion: a release goes from one index to another, with everything that belongs to it, in one commit or not at all.

    rights -> what the source has -> what the target has -> plan (`rules.promoting`) -> bytes are there -> checks of plugins -> commit

What the source has is a parcel (`parcels`). The bytes are not copied: both indexes name the same blobs. The commit is guarded by
everything that was looked at (both configurations, the project in both, free names); when any of it has changed meanwhile, all is
looked at again.

The right to read the source and to upload to the target is all that it takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from pkgindex_core.changes import IndexIs, ProjectAt, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Denied, Refused
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.archives import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.models import File, IndexConfig, Release, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    BlobStore,
    InspectedUpload,
    Principal,
    Projects,
    ReleaseRecords,
    Taken,
    Trees,
    UploadCheck,
    UploadForm,
)
from pkgindex_core.rules.access import open_project, publishing_index
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.promoting import Moved, Push, plan_push
from pkgindex_core.services.moving.parcels import Parcel, Parcels
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker


class NotAdmittedError(Denied):
    """The target takes nothing from this principal, who may see that it exists."""


class Promoted(Struct, frozen=True, kw_only=True):
    """What a push came to."""

    source: IndexName
    target: IndexName
    project: ProjectName
    moved: tuple[Moved, ...]
    """Everything that belongs to the release at the target now, in devpi's order."""
    changed: bool
    """False: all of it was there already, nothing was written."""


class _Store(Trees, Projects, ReleaseRecords, Protocol): ...


class Promotion:
    """Pushes releases between indexes."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        sources: Sources,
        parcels: Parcels,
        checks: Sequence[UploadCheck],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._sources = sources
        self._parcels = parcels
        self._checks = checks
        self._workers = workers
        self._clock = clock

    async def push(
        self,
        source: IndexName,
        target: IndexName,
        project: ProjectName,
        version: str,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
    ) -> Promoted:
        """Give a target index everything that a source has of one release; without `files`, or without `docs`, only a part of it.

        Raises `Missing` ("version": the source knows no such release; "release": it has nothing of it to push), `NotAdmittedError`,
        `Conflict` when the target has a name with other bytes and may not overwrite it.
        """
        checked: set[str] = set()

        async def attempt(_turn: int) -> Promoted:
            tree = await self._store.tree()
            goal = _target(tree, target, principal, project)
            parcel = await self._parcels.select(source, project, version, principal, files=files, docs=docs)
            (standing,) = await self._store.standings(project, [target])
            open_project(standing, project)
            there = await self._parcels.holding(goal, project, version, holds=standing.holds)
            push = Push(
                project=project,
                version=version,
                source=source,
                target=goal,
                who=principal.name or "",
                at=self._clock.now(),
            )
            taken = await self._taken(target, parcel.holding.files)
            plan_push(push, parcel.holding, there, taken)  # what cannot be pushed is not fetched in vain
            parcel = await self._parcels.complete(parcel)
            plan = plan_push(push, parcel.holding, there, taken)
            failpoint("push.fetched")
            await self._check(goal.name, parcel, checked, skip=there.files)
            failpoint("push.judged")
            guards: list[Requirement] = [
                IndexIs(parcel.source),
                IndexIs(goal),
                ProjectAt(source, project, parcel.stamp, parcel.content),
                ProjectAt(target, project, standing.stamp),
                *plan.guards,
            ]
            commit = await self._sources.of(goal).put(goal, plan.changes, who=principal.label, require=guards)
            failpoint("push.committed")
            return Promoted(source=source, target=target, project=project, moved=plan.moved, changed=commit is not None)

        return await until_committed(attempt, f"{project} changes faster than it can be pushed", hint="push it again")

    async def _taken(self, target: IndexName, files: Sequence[File]) -> dict[str, Taken]:
        holders = {}
        for file in files:
            holder = await self._store.taken(target, file.filename)
            if holder is not None:
                holders[file.filename] = holder
        return holders

    async def _check(self, target: IndexName, parcel: Parcel, checked: set[str], *, skip: Sequence[File]) -> None:
        """Have the checks of plugins judge what is new at the target, as an upload of it would be."""
        known = {(file.filename, file.sha256) for file in skip}
        problems: list[str] = []
        for file in parcel.holding.files if self._checks else ():
            if file.sha256 is None or file.filename in checked or (file.filename, file.sha256) in known:
                continue
            async with self._local(file.sha256, file.filename) as path:
                problems += await in_worker(self._workers, partial(self._judge, target, parcel, file, path))
            checked.add(file.filename)
        if problems:
            raise Refused(problems)

    def _judge(self, target: IndexName, parcel: Parcel, file: File, path: Path) -> list[str]:
        """What the checks have against a file; in a worker thread."""
        try:
            name = parse_upload_filename(file.filename, LENIENT, project=parcel.project)
            metadata = inspect_archive(path, name, rules=LENIENT).metadata or b""
        except Refused:
            metadata = b""  # a mirror may have files that no index takes as uploads
        upload = InspectedUpload(
            index=target,
            project=parcel.project,
            file=file,
            form=_form(parcel.holding.releases),
            metadata=metadata,
            path=path,
        )
        return [problem for check in self._checks for problem in check.problems(upload)]

    @asynccontextmanager
    async def _local(self, key: Sha256, filename: str) -> AsyncIterator[Path]:
        """A blob as a local file that is read only; a copy that is thrown away where the store has no such file."""
        place = await self._blobs.locate(key, filename=filename)
        try:
            if isinstance(place, Path):
                yield place
                return
            async with self._blobs.stage() as stage:
                async for chunk in self._blobs.read(key):
                    await stage.write(chunk)
                await stage.flush()
                yield stage.path
        except OSError as error:
            raise storage_failure(error, "checking a push") from error


def _target(tree: Tree, name: IndexName, principal: Principal, project: ProjectName) -> IndexConfig:
    try:
        return publishing_index(tree, name, principal, Action.UPLOAD, project=project)
    except Denied as error:
        raise NotAdmittedError(error.message, anonymous=error.anonymous, hint=error.hint) from error


def _form(releases: Sequence[Release]) -> UploadForm:
    """The metadata of a release as the fields of an upload, which is what checks know."""
    fields: dict[str, tuple[str, ...]] = {}
    for release in releases:
        for name, value in msgspec.json.decode(release.metadata, type=dict[str, object]).items():
            values = value if isinstance(value, list) else [value]
            fields[name] = tuple(each for each in values if isinstance(each, str) and each)
    return UploadForm(fields={name: values for name, values in fields.items() if values})
