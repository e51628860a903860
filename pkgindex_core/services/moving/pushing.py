"""A push within this server: a release goes from one index to another, with everything that belongs to it, in one commit or not at all.

    rights -> what the source has -> what the target has -> plan (`rules.pushing`) -> bytes are there -> checks of plugins,
    policies of the target -> commit

The source's part is a `PushableRelease`. Bytes are not copied: both indexes name the same blobs. The commit requires that
everything it was planned from is unchanged (both configurations, the project in both, free names); after a concurrent change
the push is planned again.

A principal needs the `push` permission on the source and `upload` on the target.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
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
from pkgindex_core.formats.archives.inspecting import inspect_archive
from pkgindex_core.formats.filenames import parse_upload_filename
from pkgindex_core.formats.upload_rules import LENIENT
from pkgindex_core.models import File, IndexConfig, Release, Standing, Tree
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
from pkgindex_core.rules.namespaces import require_namespace
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.pushing import Holding, Push, PushedItem, plan_push
from pkgindex_core.rules.quotas import within_quotas
from pkgindex_core.services.moving.outcomes import NotAdmittedError, PushResult
from pkgindex_core.services.moving.pushable_releases import PushableRelease, PushableReleases
from pkgindex_core.services.writing.policing import UploadPolicing, same_terms
from pkgindex_core.storage_failures import storage_failure
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources
from pkgindex_core.tools.workers import in_worker


class PlannedPush(Struct, frozen=True, kw_only=True):
    """A push that was planned, and the data that it was planned from."""

    push: Push
    tree: Tree
    pushable: PushableRelease
    there: Holding
    """The part of the release that the target has."""
    standing: Standing
    """Of the project in the target."""
    taken: Mapping[str, Taken]
    items: tuple[PushedItem, ...]
    """Each file, test result and documentation that the target has after the push."""


class _Store(Trees, Projects, ReleaseRecords, Protocol): ...


class Pushing:
    """Pushes releases between indexes."""

    def __init__(
        self,
        *,
        store: _Store,
        blobs: BlobStore,
        sources: Sources,
        releases: PushableReleases,
        checks: Sequence[UploadCheck],
        policing: UploadPolicing,
        workers: Executor,
        clock: Clock,
    ) -> None:
        self._store = store
        self._policing = policing
        self._blobs = blobs
        self._sources = sources
        self._releases = releases
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
    ) -> PushResult:
        """Push a release to another index, with or without `files` and `docs`.

        Raises `Missing` ("version": the source does not have the release; "release": it has nothing to push), `NotAdmittedError`, and
        `Conflict` when a non-volatile target has a filename with other bytes.
        """
        checked: set[str] = set()
        terms: IndexConfig | None = None

        async def attempt(_turn: int) -> PushResult:
            nonlocal terms
            draft = await self.drafted(source, target, project, version, principal=principal, files=files, docs=docs)
            goal, standing, there = draft.push.target, draft.standing, draft.there
            pushable = await self._releases.complete(draft.pushable, own=True)
            plan = plan_push(draft.push, pushable.holding, there, draft.taken)
            failpoint("push.fetched")
            if terms is None or not same_terms(terms, goal):
                checked.clear()
            terms = goal
            policies = await self._policing.check(draft.tree, goal, project, {})
            async with self._policing.heard(policies):
                checks = self._checks if policies is None else (*self._checks, policies)
                await self._check(goal.name, pushable, checks, checked, skip=there.files)
            failpoint("push.judged")
            guards: list[Requirement] = [
                IndexIs(pushable.source),
                IndexIs(goal),
                ProjectAt(source, project, pushable.stamp, pushable.content),
                ProjectAt(target, project, standing.stamp),
                *plan.guards,
                *within_quotas(goal),
            ]
            commit = await self._sources.of(goal).put(goal, plan.changes, who=principal.label, require=guards)
            failpoint("push.committed")
            return PushResult(
                source=source, target=target, project=project, items=plan.items, changed=commit is not None
            )

        return await until_committed(attempt, f"{project} changes faster than it can be pushed", hint="push it again")

    async def drafted(
        self,
        source: IndexName,
        target: IndexName,
        project: ProjectName,
        version: str,
        *,
        principal: Principal,
        files: bool = True,
        docs: bool = True,
    ) -> PlannedPush:
        """Plan a push, with its errors as far as they are known before anything is fetched. Nothing is written."""
        tree = await self._store.tree()
        goal = _target(tree, target, principal, project)
        pushable = await self._releases.select(source, project, version, principal, files=files, docs=docs)
        (standing,) = await self._store.standings(project, [target])
        open_project(standing, project)
        require_namespace(tree, standing, project)
        there = await self._releases.holding(goal, project, version, holds=standing.holds)
        push = Push(
            project=project,
            version=version,
            source=source,
            target=goal,
            who=principal.name or "",
            at=self._clock.now(),
        )
        taken = await self._taken(target, pushable.holding.files)
        plan = plan_push(push, pushable.holding, there, taken)
        return PlannedPush(
            push=push, tree=tree, pushable=pushable, there=there, standing=standing, taken=taken, items=plan.items
        )

    async def _taken(self, target: IndexName, files: Sequence[File]) -> dict[str, Taken]:
        holders = {}
        for file in files:
            holder = await self._store.taken(target, file.filename)
            if holder is not None:
                holders[file.filename] = holder
        return holders

    async def _check(
        self,
        target: IndexName,
        pushable: PushableRelease,
        checks: Sequence[UploadCheck],
        checked: set[str],
        *,
        skip: Sequence[File],
    ) -> None:
        """Run checks of uploads on the files that are new at the target."""
        known = {(file.filename, file.sha256) for file in skip}
        problems: list[str] = []
        for file in pushable.holding.files if checks else ():
            if file.sha256 is None or file.filename in checked or (file.filename, file.sha256) in known:
                continue
            async with self._local(file.sha256, file.filename) as path:
                problems += await in_worker(self._workers, partial(_judged, target, pushable, checks, file, path))
            checked.add(file.filename)
        if problems:
            raise Refused(problems)

    @asynccontextmanager
    async def _local(self, key: Sha256, filename: str) -> AsyncIterator[Path]:
        """A blob as a local file for reading; a temporary copy if the store has no local files."""
        place = await self._blobs.locate(key, filename=filename)
        try:
            if isinstance(place, Path):
                yield place
                return
            async with self._blobs.spool() as spool:
                async for chunk in self._blobs.read(key):
                    await spool.write(chunk)
                await spool.flush()
                yield spool.path
        except OSError as error:
            raise storage_failure(error, "checking a push") from error


def _target(tree: Tree, name: IndexName, principal: Principal, project: ProjectName) -> IndexConfig:
    try:
        return publishing_index(tree, name, principal, Action.UPLOAD, project=project)
    except Denied as error:
        raise NotAdmittedError(error.message, anonymous=error.anonymous, hint=error.hint) from error


def _judged(
    target: IndexName, pushable: PushableRelease, checks: Sequence[UploadCheck], file: File, path: Path
) -> list[str]:
    """Run checks on one file, in a worker thread; return the problems."""
    try:
        name = parse_upload_filename(file.filename, LENIENT, project=pushable.project)
        metadata = inspect_archive(path, name, rules=LENIENT).metadata or b""
    except Refused:
        metadata = b""  # a mirror may have files that are not accepted as uploads
    upload = InspectedUpload(
        index=target,
        project=pushable.project,
        file=file,
        form=_form(pushable.holding.releases),
        metadata=metadata,
        path=path,
    )
    return [problem for check in checks for problem in check.problems(upload)]


def _form(releases: Sequence[Release]) -> UploadForm:
    """The metadata of a release as the fields of an upload form, for the checks."""
    fields: dict[str, tuple[str, ...]] = {}
    for release in releases:
        for name, value in msgspec.json.decode(release.metadata, type=dict[str, object]).items():
            values = value if isinstance(value, list) else [value]
            fields[name] = tuple(each for each in values if isinstance(each, str) and each)
    return UploadForm(fields={name: values for name, values in fields.items() if values})
