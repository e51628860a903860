"""A push within this server: a release goes from one index to another, with everything that belongs to it, in one commit or not at all.

    rights -> what the source has -> what the target has -> plan (`rules.pushing`) -> bytes are there -> checks of plugins,
    policies of the target -> commit

The source's part is a `PushableRelease`. Bytes are not copied: both indexes name the same blobs. The commit requires that
everything it was planned from is unchanged (both configurations, the project in both, free names); after a concurrent change
the push is planned again.

A principal needs the `push` permission on the source and `upload` on the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from pkgindex_core.changes import IndexIs, ProjectAt, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.errors import Denied
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File, IndexConfig, Standing, Tree
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import (
    Principal,
    Projects,
    ReleaseRecords,
    Taken,
    Trees,
)
from pkgindex_core.rules.access import open_project, publishing_index
from pkgindex_core.rules.namespaces import require_namespace
from pkgindex_core.rules.permissions import Action
from pkgindex_core.rules.pushing import Holding, Push, PushedItem, plan_push
from pkgindex_core.rules.quotas import within_quotas
from pkgindex_core.services.moving.checking_pushes import PushChecks
from pkgindex_core.services.moving.outcomes import NotAdmittedError, PushResult
from pkgindex_core.services.moving.pushable_releases import PushableRelease, PushableReleases
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.sources import Sources


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
        sources: Sources,
        releases: PushableReleases,
        checks: PushChecks,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sources = sources
        self._releases = releases
        self._checks = checks
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
        checking = self._checks.of_a_push()

        async def attempt(_turn: int) -> PushResult:
            draft = await self.drafted(source, target, project, version, principal=principal, files=files, docs=docs)
            goal, standing, there = draft.push.target, draft.standing, draft.there
            pushable = await self._releases.complete(draft.pushable, own=True)
            plan = plan_push(draft.push, pushable.holding, there, draft.taken)
            failpoint("push.fetched")
            await checking.check(draft.tree, goal, pushable, skip=there.files)
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


def _target(tree: Tree, name: IndexName, principal: Principal, project: ProjectName) -> IndexConfig:
    try:
        return publishing_index(tree, name, principal, Action.UPLOAD, project=project)
    except Denied as error:
        raise NotAdmittedError(error.message, anonymous=error.anonymous, hint=error.hint) from error
