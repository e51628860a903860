"""Removes the releases that the retention rule of an index does not keep (`rules.retaining`), and brings them back.

    a project's page -> verdicts -> one commit by `WHO`, if the page and the rule are unchanged

The removed releases are found by the log, in which their commits have the author `WHO`. Stores keep the rows of the past, and `gc`
removes bytes only after its grace, so a release can be brought back for as long. It then stays whatever the rule says.

Only indexes whose files are in the blob store have a retention: what is removed from a directory cannot be brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from pkgindex_core.changes import Change, Commit, DropFile, DropProject, IndexIs, ProjectAt, Requirement
from pkgindex_core.clock import Clock, Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Missing, Refused
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import IndexConfig, Page, Serial, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import ChangeLog, IndexWriter, Notes, Projects, ReleaseRecords, Trees
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.rules.kept_options import retention_rule
from pkgindex_core.rules.removing import drop_files, drop_metadata
from pkgindex_core.rules.retaining import ReleaseVerdict, judge
from pkgindex_core.services.writing.bringing_back import BringingBack, BroughtBack
from pkgindex_core.tools.committing import until_committed
from pkgindex_core.tools.leases import HeldLease

WHO: Final = "[retention]"
"""The author of the commits."""
_COMMITS: Final = 100

Progress = Callable[[str, int, int], None]


class JudgedProject(Struct, frozen=True, kw_only=True):
    """A project of which releases go, or would go if they were not protected."""

    project: ProjectName
    verdicts: Sequence[ReleaseVerdict]


class _Store(Trees, Projects, ReleaseRecords, ChangeLog, IndexWriter, Notes, Protocol): ...


class Retaining:
    """Applies the retention rules of indexes."""

    def __init__(self, *, store: _Store, blobs: LearningBlobs, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._bringing_back = BringingBack(store=store, blobs=blobs, clock=clock)

    async def retain(
        self, index: IndexName, *, dry_run: bool, progress: Progress | None = None, held: HeldLease | None = None
    ) -> Sequence[JudgedProject]:
        """Remove what the rule of an index does not keep, one project after the other, or only tell it if `dry_run`.

        Raises `Refused` for an index without a rule. `held`: the lease that the commits require.
        """
        config = retained_index(await self._store.tree(), index)
        if not retention_rule(config).removes:
            raise Refused(
                f"{index} has no retention rule",
                hint=f"set one, for example: pkgindex-serve index modify {index} retain_releases=10 retain_age=90d",
            )
        # A server with a wrong clock would take releases for old, and remove them.
        now = await held.time() if held is not None else self._clock.now()
        found = []
        rows = await self._store.projects(index)
        for count, row in enumerate(rows, 1):
            verdicts = await self._retain_project(index, row.name, now, dry_run=dry_run, held=held)
            if verdicts:
                found.append(JudgedProject(project=row.name, verdicts=verdicts))
            if progress is not None:
                progress(row.name, count, len(rows))
        return found

    async def bring_back(self, index: IndexName, *, within: float, who: str, dry_run: bool) -> Sequence[BroughtBack]:
        """Bring back what was removed within so many seconds, as it was when it was removed last, as far as its bytes are still there. Newer
        files are not replaced, and what somebody deleted later stays deleted.

        Raises `QuotaExceeded` when a quota of the index has no room; what was brought back before stays.
        """
        retained_index(await self._store.tree(), index)
        after = await self._store.serial_at(Timestamp(self._clock.now() - int(within * 1_000_000)))
        removed: dict[ProjectName, dict[str, Serial]] = {}
        while commits := await self._store.commits(after, limit=_COMMITS):
            for commit in commits:
                _follow(removed, commit, index)
            after = commits[-1].serial
        return [
            await self._bringing_back.project(
                index, project, [name for name in files if files[name] == before], before, who=who, dry_run=dry_run
            )
            for project, files in removed.items()
            for before in sorted(set(files.values()))
        ]

    async def _retain_project(
        self, index: IndexName, project: ProjectName, now: Timestamp, *, dry_run: bool, held: HeldLease | None
    ) -> Sequence[ReleaseVerdict]:
        async def attempt(_turn: int) -> Sequence[ReleaseVerdict]:
            tree = await self._store.tree()
            config = retained_index(tree, index)
            rule = retention_rule(config)
            page = await self._store.page(index, project)
            if page is None or not rule.removes:
                return ()
            files = [decode_file(row.body) for row in page.rows]
            verdicts = judge(project, files, rule, now)
            if any(each.goes for each in verdicts):
                digests = {file.sha256: canonical_version(file.version) for file in files}
                elsewhere = await self._elsewhere(tree, index, project, digests)
                verdicts = judge(project, files, rule, now, elsewhere=elsewhere)
            going = {canonical_version(each.version) for each in verdicts if each.goes}
            if going and not dry_run:
                guards: list[Requirement] = [IndexIs(config), ProjectAt(index, project, page.stamp, page.content)]
                commit = partial(self._remove, await self._removal(page, going), guards)
                await (held.guarded(commit) if held is not None else commit())
            return [each for each in verdicts if each.goes or each.protected]

        return await until_committed(attempt, f"{project} changes faster than it can be written", hint="try again")

    async def _remove(self, changes: Sequence[Change], guards: Sequence[Requirement], *more: Requirement) -> None:
        await self._store.apply(changes, who=WHO, require=[*guards, *more])

    async def _removal(self, page: Page, versions: set[str]) -> list[Change]:
        attachments = await self._store.attachments(page.index, page.project)
        released = await self._store.released(page.index, page.project)
        return [*drop_files(page, versions), *drop_metadata(page, versions, attachments, released)]

    async def _elsewhere(
        self, tree: Tree, index: IndexName, project: ProjectName, digests: Mapping[Sha256 | None, str]
    ) -> Mapping[str, IndexName]:
        """The releases with a file that another hosted index has too, by canonical version."""
        others = [name for name in sorted(tree.indexes) if name != index and not tree.indexes[name].mirrored]
        found: dict[str, IndexName] = {}
        for standing in await self._store.standings(project, others):
            page = await self._store.page(standing.index, project) if standing.holds else None
            for row in page.rows if page is not None else ():
                version = digests.get(decode_file(row.body).sha256)
                if version is not None:
                    found.setdefault(version, standing.index)
        return found


def retained_index(tree: Tree, index: IndexName) -> IndexConfig:
    """An index that may have a retention. Raises `Missing` and `Refused`."""
    config = tree.indexes.get(index)
    if config is None:
        raise Missing("index", index)
    if config.read_only or not config.needs_blobs:
        raise Refused(
            f"an index of type {config.type} has no retention",
            hint="only files that were uploaded to the store are removed",
        )
    return config


def _follow(removed: dict[ProjectName, dict[str, Serial]], commit: Commit, index: IndexName) -> None:
    """Note the files that a retention removed in a commit, with the serial before it, and forget those that somebody deleted later."""
    for change in commit.changes:
        match change:
            case DropProject(of_index, project) if of_index == index:
                removed.pop(project, None)
            case DropFile(of_index, project, filename) if of_index == index:
                files = removed.setdefault(project, {})
                files.pop(filename, None)
                if commit.who == WHO:
                    files[filename] = Serial(commit.serial - 1)
            case _:
                pass
