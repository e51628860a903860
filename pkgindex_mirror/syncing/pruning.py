"""Applies the filters again to what is mirrored, from stored pages, without the network.

A project that they refuse is removed. Of the others, files that they refuse leave, and files that they choose now and that are not there
are left to the next run.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.file_policies import FilePolicies
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.file_fetching import SIDECAR
from pkgindex_mirror.syncing.judging import judge
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST, SyncTarget
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject


class PruneReport(Struct, kw_only=True):
    """Everything that was removed, or would be."""

    dry_run: bool
    projects: int = 0
    """Projects that were looked at."""
    removed: list[str] = field(default_factory=list)
    """Projects that filters refuse, each with the reason."""
    files: int = 0
    """Files that were removed, those of removed projects included."""
    bytes: int = 0
    later: int = 0
    """Files that are chosen now and not there: the next run fetches them."""
    unknown: list[str] = field(default_factory=list)
    """Projects that are left as they are, since filters read a document of them that is not there, or cannot be read."""


class Pruning:
    """One pruning. The caller holds the turn of the target."""

    def __init__(
        self,
        target: SyncTarget,
        chosen: Chosen,
        progress: Progress,
        *,
        dry_run: bool,
        policies: FilePolicies = FilePolicies(),  # noqa: B008 - a frozen value
    ) -> None:
        self._target = target
        self._chosen = chosen
        self._chosen_by = chosen.fingerprint
        self._progress = progress
        self._dry_run = dry_run
        self._policies = policies
        self._report = PruneReport(dry_run=dry_run)

    async def run(self) -> PruneReport:
        self._progress.phase = "projects"
        names = [state.name async for batch in self._target.states() for state in batch if state.published]
        self._progress.projects = len(names)
        for name in names:
            await self._project(name)
            self._progress.project_ended(failed=False)
        if not self._dry_run:
            self._progress.phase = "finishing"
            await self._target.finish(FORGOTTEN_LIST)  # earlier filters may come back
            await self._target.settle()
        self._progress.phase = "ended"
        return self._report

    async def _project(self, name: ProjectName) -> None:
        state, project = await self._target.state(name), await self._target.held(name)
        if state is None or project is None:
            return
        self._report.projects += 1
        if self._chosen.needs_document and not project.document:
            self._report.unknown.append(name)
            return
        try:
            judgement = judge(self._chosen, project)
        except BadUpstream:
            self._report.unknown.append(name)
            return
        if judgement.refusal is not None:
            self._report.removed.append(f"{name}: {judgement.refusal.reason} ({judgement.refusal.filter})")
            self._count(await self._there(project.files))
            if not self._dry_run:
                await self._target.remove(name)
            return
        await self._choose_again(state, project, judgement.chosen)

    async def _choose_again(self, state: ProjectState, project: UpstreamProject, chosen: Sequence[File]) -> None:
        wanted = {file.filename for file in chosen}
        there = await self._there(project.files)
        # Files that come with their first request are listed, there or not.
        listed = there if self._policies.is_immediate(state.name) else chosen
        kept = [file for file in listed if file.filename in wanted]
        left = [file for file in there if file.filename not in wanted]
        self._count(left)
        later = len(wanted) - len(kept)
        self._report.later += later
        if self._dry_run or not (left or state.chosen_by != self._chosen_by):
            return
        row = replace(
            state,
            # Under its former fingerprint the next run looks for the files that are not there, and for the change that was refused.
            chosen_by=state.chosen_by if later or state.refused else self._chosen_by,
            files=len(kept),
            bytes=sum(file.size or 0 for file in kept),
        )
        if state.hidden:
            await self._target.put_states([row])
        else:
            await self._target.publish(project, kept, row)

    async def _there(self, files: tuple[File, ...]) -> list[File]:
        absent = {file.filename for file in await self._target.missing(files) if not file.filename.endswith(SIDECAR)}
        return [file for file in files if file.filename not in absent]

    def _count(self, files: list[File]) -> None:
        self._report.files += len(files)
        self._report.bytes += sum(file.size or 0 for file in files)
