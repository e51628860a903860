"""Promotion: a release goes from one index to another, with everything that belongs to it, in one commit or not at all.

    rights -> what the source has -> what the target has -> plan (`rules.promoting`) -> bytes are there -> checks of plugins -> commit

The bytes are not copied: both indexes name the same blobs. What a mirror lists without having stored it is fetched and verified first,
a wheel's metadata too. The commit is guarded by everything that was looked at (both configurations, the project in both, free
names); when any of it has changed meanwhile, all is looked at again.

The right to read the source and to upload to the target is all that it takes. What a page filter hides, or a quarantine, is not there
to be pushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pkgindex_core.changes import IndexIs, ProjectAt, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Denied, Missing, Refused, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats import version_documents
from pkgindex_core.formats.archives import inspect_archive
from pkgindex_core.formats.core_metadata import read_metadata
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, IndexConfig, Release, Serial, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none
from pkgindex_core.protocols import (
    BlobStore,
    Build,
    IndexStore,
    InspectedUpload,
    PageFilter,
    Principal,
    Refresher,
    Taken,
    UploadCheck,
    UploadForm,
)
from pkgindex_core.rules.filtering import applying, why_hidden
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.promoting import Holding, Moved, Push, plan_push
from pkgindex_core.services.access import allowed_index, open_project, publishing_index
from pkgindex_core.services.committing import until_committed
from pkgindex_core.services.workers import in_worker
from pkgindex_core.storage_failures import storage_failure

_FETCHES = 8
"""Files of one push that are fetched, or looked for, at once."""
_RESTORE = "restore the blob from a backup, or upload the same file to the source again"


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


class Parcel(Struct, frozen=True, kw_only=True):
    """A release as one index has it, ready to be sent: every blob that it names is stored."""

    source: IndexConfig
    project: ProjectName
    stamp: Serial
    holding: Holding


class Promotion:
    """Pushes releases between indexes."""

    def __init__(
        self,
        *,
        store: IndexStore,
        blobs: BlobStore,
        refreshers: Mapping[str, Refresher],
        filters: Mapping[str, PageFilter],
        checks: Sequence[UploadCheck],
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._refreshers = refreshers
        self._filters = filters
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
            parcel = await self._select(tree, source, project, version, principal, files=files, docs=docs)
            (standing,) = await self._store.standings(project, [target])
            open_project(standing, project)
            there = await self._holding(goal, project, version, holds=standing.holds)
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
            parcel = await self._complete(parcel)
            plan = plan_push(push, parcel.holding, there, taken)
            failpoint("push.fetched")
            await self._check(goal.name, parcel, checked, skip=there.files)
            failpoint("push.judged")
            guards: list[Requirement] = [
                IndexIs(parcel.source),
                IndexIs(goal),
                ProjectAt(source, project, parcel.stamp),
                ProjectAt(target, project, standing.stamp),
                *plan.guards,
            ]
            commit = await self._store.apply(plan.changes, who=principal.label, require=guards)
            failpoint("push.committed")
            return Promoted(source=source, target=target, project=project, moved=plan.moved, changed=commit is not None)

        return await until_committed(attempt, f"{project} changes faster than it can be pushed", hint="push it again")

    async def parcel(
        self,
        source: IndexName,
        project: ProjectName,
        version: str,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
    ) -> Parcel:
        """A release as it would be pushed, for those who send it somewhere else."""
        tree = await self._store.tree()
        return await self._complete(
            await self._select(tree, source, project, version, principal, files=files, docs=docs)
        )

    async def _select(
        self,
        tree: Tree,
        source: IndexName,
        project: ProjectName,
        version: str,
        principal: Principal,
        *,
        files: bool,
        docs: bool,
    ) -> Parcel:
        """What is to be pushed of what the source has."""
        config = allowed_index(tree, source, principal, Action.PUSH, project=project)
        (standing,) = await self._store.standings(project, [source])
        if config.is_mirror:
            await self._refresher(config).refresh(config, project, standing)
            (standing,) = await self._store.standings(project, [source])
        if not standing.holds or standing.status == "quarantined":
            raise Missing("version", f"{project} {version}"[:160])
        holding = await self._holding(config, project, version, holds=True)
        if not holding.knows(version):
            raise Missing("version", f"{project} {version}"[:160])
        part = holding.of(version)
        shown = tuple(file for file in part.files if files and not self._hides(tree, config, project, file))
        names = {file.filename for file in shown}
        attachments = tuple(
            each for each in part.attachments if (docs if each.kind == "doczip" else each.about in names)
        )
        if not shown and not attachments:
            raise Missing("release", f"{project} {version}"[:160])
        part = replace(part, files=shown, attachments=attachments)
        return Parcel(source=config, project=project, stamp=standing.stamp, holding=part)

    async def _holding(self, config: IndexConfig, project: ProjectName, version: str, *, holds: bool) -> Holding:
        """What an index has of one version; of a project with thousands of files no other is decoded."""
        page = await self._store.page(config.name, project) if holds else None
        if page is None:
            return Holding(index=config.name)
        hosted = not config.is_mirror
        release = await self._store.release(config.name, project, version) if hosted else None
        wanted = canonical_version(version)
        return Holding(
            index=config.name,
            holds=True,
            head=page.head,
            files=tuple(decode_file(row.body) for row in page.rows if canonical_version(row.version) == wanted),
            attachments=tuple(await self._store.attachments(config.name, project)) if hosted else (),
            releases=(release,) if release is not None else (),
        )

    async def _taken(self, target: IndexName, files: Sequence[File]) -> dict[str, Taken]:
        holders = {}
        for file in files:
            holder = await self._store.taken(target, file.filename)
            if holder is not None:
                holders[file.filename] = holder
        return holders

    def _hides(self, tree: Tree, config: IndexConfig, project: ProjectName, file: File) -> bool:
        filters = applying(self._filters, tree, config.name)
        if not filters:
            return False
        build = Build(tree=tree, start=config.name, project=project, moment=self._clock.now())
        return bool(why_hidden(config.name, file, filters, build))

    async def _complete(self, parcel: Parcel) -> Parcel:
        """Make sure that every blob of a parcel is stored; what that taught of its files stands in the one returned."""
        files = await _all(self._complete_file(parcel, file) for file in parcel.holding.files)
        for attachment in parcel.holding.attachments:
            blob = await self._blobs.stat(attachment.sha256)
            if blob is None or blob.size != attachment.size:
                raise Corrupt(
                    f"the bytes of {attachment.filename} are not in the blob store, or damaged", hint=_RESTORE
                )
        holding = replace(parcel.holding, files=files)
        if parcel.source.is_mirror:
            holding = replace(holding, releases=(await self._described(holding, parcel.project),))
        return replace(parcel, holding=holding)

    async def _described(self, holding: Holding, project: ProjectName) -> Release:
        """What a mirror's files say of their release: a wheel if there is one, otherwise no more than the page."""
        for sidecar in (file.metadata_sha256 for file in holding.files):
            if sidecar is not None:
                data = b"".join([chunk async for chunk in self._blobs.read(sidecar)])
                metadata = read_metadata(data)
                if normalized_or_none(metadata.name) != project or not holding.of(metadata.version).files:
                    continue  # it speaks of something else
                return Release(version=metadata.version, metadata=version_documents.from_archive(metadata))
        version = holding.files[0].version
        requires_python = next((file.requires_python for file in holding.files if file.requires_python), "")
        name = holding.head.display_name or project
        return Release(version=version, metadata=version_documents.bare(name, version, requires_python))

    async def _complete_file(self, parcel: Parcel, file: File) -> File:
        config = parcel.source
        blob = await self._blobs.stat(file.sha256) if file.sha256 else None
        if blob is None or file.size not in {None, blob.size}:
            if not config.is_mirror:
                raise Corrupt(f"the bytes of {file.filename} are not in the blob store, or damaged", hint=_RESTORE)
            arriving = await self._refresher(config).fetch(config, parcel.project, file)
            blob = await arriving.finished()
        file = replace(file, digests={**file.digests, "sha256": blob.sha256}, size=blob.size)
        if not file.filename.endswith(".whl"):
            return file
        sidecar = await self._blobs.stat(file.metadata_sha256) if file.metadata_sha256 else None
        if sidecar is not None:
            return file
        if not config.is_mirror:
            if file.metadata_sha256:
                raise Corrupt(f"the metadata of {file.filename} is not in the blob store", hint=_RESTORE)
            return file
        try:
            sidecar = await self._refresher(config).sidecar(config, parcel.project, file)
        except Missing:
            return replace(file, metadata_sha256=None)  # a wheel of old times, which says nothing of itself
        return replace(file, metadata_sha256=sidecar.sha256)

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
            metadata = inspect_archive(path, parse_upload_filename(file.filename, any_sdist_spelling=True)).metadata
        except Refused:
            metadata = b""  # a file of old times, which a mirror has and nobody could upload today
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

    def _refresher(self, config: IndexConfig) -> Refresher:
        refresher = self._refreshers.get(config.type)
        if refresher is None:
            raise Unavailable(f"nothing here can fetch for {config.name}", hint="ask a running server")
        return refresher


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


async def _all(jobs: Iterable[Awaitable[File]]) -> tuple[File, ...]:
    """Run jobs, a few at once; the first failure, after all have ended."""
    gate = asyncio.Semaphore(_FETCHES)

    async def one(job: Awaitable[File]) -> File:
        async with gate:
            return await job

    outcomes = await asyncio.gather(*(one(job) for job in jobs), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return tuple(outcome for outcome in outcomes if isinstance(outcome, File))
