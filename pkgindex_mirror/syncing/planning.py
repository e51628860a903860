"""Plans a run before it does anything: projects, files and bytes to fetch, to delete and to keep, and what each filter leaves out.

Reads the list and the pages of projects that changed. Fetches no file and writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.errors import BadUpstream
from pkgindex_core.models import QUARANTINED, File
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.filters.filtering import Chosen
from pkgindex_mirror.syncing.comparing import Comparing, Comparison
from pkgindex_mirror.syncing.departures import shrank
from pkgindex_mirror.syncing.judging import judge
from pkgindex_mirror.syncing.listing import NoList, ReadList, read_list
from pkgindex_mirror.syncing.progress import Progress
from pkgindex_mirror.syncing.project_reading import read_project
from pkgindex_mirror.syncing.reports import PageRemarks
from pkgindex_mirror.syncing.running import UpstreamPlaces
from pkgindex_mirror.syncing.settings import RunSettings
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.syncing.transport import ACCEPT_DOCUMENT, Transport
from pkgindex_mirror.syncing.values import Listed, ProjectState, Refusal, UpstreamProject
from pkgindex_mirror.upstreams.upstream_answers import Document, Failed, Unchanged

_NAMES_LIMIT = 1000


class Amount(Struct):
    """A number of files with their bytes."""

    files: int = 0
    bytes: int = 0
    unknown: int = 0
    """Files whose size the upstream does not say; they are not in `bytes`."""

    def add(self, file: File) -> None:
        self.files += 1
        self.bytes += file.size or 0
        self.unknown += file.size is None


class LeftOut(Struct):
    """The projects and files that one filter leaves out."""

    projects: int = 0
    files: int = 0
    bytes: int = 0


class RunPlan(Struct, kw_only=True):
    """The work of a run that was not done."""

    listed: int = 0
    chosen: int = 0
    new: int = 0
    changed: int = 0
    due_again: int = 0
    resting: int = 0
    publish: int = 0
    """Projects whose pages would be written."""
    fetch: Amount = field(default_factory=Amount)
    delete: Amount = field(default_factory=Amount)
    """Files of changed projects that are there and not chosen any more."""
    keep: Amount = field(default_factory=Amount)
    """Files of changed projects that are there already."""
    on_demand: Amount = field(default_factory=Amount)
    """Files of changed projects that come with their first request, whether they have come or not."""
    streamed: Amount = field(default_factory=Amount)
    """Files of changed projects that are passed on to clients and not kept."""
    unchanged: Amount = field(default_factory=Amount)
    """Files of the projects that do not change."""
    vanished: list[str] = field(default_factory=list)
    """Mirrored projects that the list does not have any more."""
    vanished_policy: str = ""
    unchosen: int = 0
    remarks: PageRemarks = field(default_factory=PageRemarks)
    filters: dict[str, LeftOut] = field(default_factory=dict)
    """By the word of the filter."""
    failures: list[str] = field(default_factory=list)
    """Projects whose pages could not be read, with the reason."""
    problem: str = ""
    """Why there is no plan."""
    warnings: list[str] = field(default_factory=list)


class Planning:
    """Makes one plan."""

    def __init__(
        self,
        *,
        target: SyncTarget,
        transport: Transport,
        places: UpstreamPlaces,
        chosen: Chosen,
        settings: RunSettings,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self._target = target
        self._transport = transport
        self._places = places
        self._chosen = chosen
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self._plan = RunPlan()

    async def run(self) -> RunPlan:
        """Make the plan. If the upstream cannot be asked, it has a `problem`."""
        self._progress.phase = "listing"
        found = await read_list(self._transport, self._places.list_url, None)
        if isinstance(found, NoList):
            self._plan.problem = found.reason
        elif isinstance(found, ReadList):
            await self._from(found)
        self._progress.phase = "ended"
        return self._plan

    async def _from(self, found: ReadList) -> None:
        plan = self._plan
        self._progress.phase = "comparing"
        comparing = Comparing(
            permits=self._permits,
            chosen_by=self._chosen.fingerprint,
            now=self._clock.now(),
            everything=False,
        )
        comparison = await comparing.run(found.projects.pile.entries(), self._counted(self._target.states()))
        plan.listed, plan.chosen, plan.unchosen = found.projects.pile.count, comparison.chosen, comparing.unchosen
        plan.new, plan.changed, plan.due_again = comparison.new, comparison.changed, comparison.due_again
        plan.resting = comparison.resting
        self._departures(comparison)
        self._progress.phase = "projects"
        self._progress.projects = comparison.work.count
        await side_by_side(comparison.work, self._planned, at_once=self._settings.projects_at_once)

    async def _counted(self, states: AsyncIterator[Sequence[ProjectState]]) -> AsyncIterator[Sequence[ProjectState]]:
        async for batch in states:
            for state in batch:
                self._plan.unchanged.files += state.files
                self._plan.unchanged.bytes += state.bytes
            yield batch

    def _permits(self, listed: Listed) -> bool:
        refusal = self._chosen.name(listed)
        if refusal is not None:
            self._left_out(refusal).projects += 1
        return refusal is None

    def _departures(self, comparison: Comparison) -> None:
        plan = self._plan
        plan.vanished_policy = self._settings.removed
        problem = shrank(comparison, self._settings)
        if problem:
            plan.warnings.append(problem)
            plan.vanished_policy = "keep"
        for listed in comparison.vanished:
            if len(plan.vanished) < _NAMES_LIMIT:
                plan.vanished.append(listed.name)

    async def _planned(self, listed: Listed) -> None:
        try:
            problem = await self._project(listed)
        except BadUpstream as error:
            problem = error.message
        if problem and len(self._plan.failures) < _NAMES_LIMIT:
            self._plan.failures.append(f"{listed.name}: {problem}")
        self._progress.project_ended(failed=bool(problem))

    async def _project(self, listed: Listed) -> str:
        """Add a project to the plan; return why it could not be read."""
        plan = self._plan
        state = await self._target.state(listed.name)
        if state is not None:
            plan.unchanged.files -= state.files
            plan.unchanged.bytes -= state.bytes
        project = await self._read(listed, state)
        if isinstance(project, str):
            return project
        plan.remarks.add(listed.name, project.remarks)
        judgement = judge(self._chosen, project)
        if judgement.refusal is not None:
            self._left_out(judgement.refusal).projects += 1
            return ""
        plan.publish += 1
        by_name = {file.filename: file for file in project.files}
        for filename, refusal in judgement.refusals.items():
            left_out = self._left_out(refusal)
            left_out.files += 1
            left_out.bytes += by_name[filename].size or 0 if filename in by_name else 0
        if project.head.status != QUARANTINED:
            await self._files(listed, judgement.chosen)
        return ""

    async def _files(self, listed: Listed, chosen: Sequence[File]) -> None:
        plan = self._plan
        fetches = self._settings.fetches_files(listed.name)
        missing = {file.filename for file in await self._target.missing(chosen)} if fetches else set()
        there = {"immediate": plan.keep, "on-demand": plan.on_demand, "streamed": plan.streamed}[
            self._settings.policies.of(listed.name)
        ]
        for file in chosen:
            (plan.fetch if file.filename in missing else there).add(file)
        held = await self._target.held(listed.name)
        kept = {file.filename for file in chosen}
        gone = [file for file in held.files if file.filename not in kept] if held is not None else []
        absent = {file.filename for file in await self._target.missing(gone)} if gone else set()
        for file in gone:
            if file.filename not in absent:
                plan.delete.add(file)

    async def _read(self, listed: Listed, state: ProjectState | None) -> UpstreamProject | str:
        """The project, or why it could not be read."""
        if (
            state is not None
            and not state.refused
            and listed.serial is not None
            and (state.serial or -1) >= listed.serial
        ):
            held = await self._target.held(listed.name)
            if held is not None and (held.document or not self._chosen.needs_document):
                return held
        answer = await self._transport.page(
            self._places.addresses.page_of(listed.name), validators=state.validators if state is not None else None
        )
        if isinstance(answer, Unchanged):
            return await self._target.held(listed.name) or "it is not held"
        if not isinstance(answer, Document):
            return answer.reason if isinstance(answer, Failed) else f"the upstream answered {answer.status}"
        found = read_project(answer, listed, self._clock.now())
        if isinstance(found, UnreadablePage):
            return found.reason
        project = found[0]
        if self._chosen.needs_document:
            document = await self._transport.page(
                self._places.addresses.document_of(listed.name), accept=ACCEPT_DOCUMENT
            )
            if not isinstance(document, Document):
                return "its JSON document could not be read"
            project = replace(project, document=document.body)
        return project

    def _left_out(self, refusal: Refusal) -> LeftOut:
        return self._plan.filters.setdefault(refusal.filter, LeftOut())
