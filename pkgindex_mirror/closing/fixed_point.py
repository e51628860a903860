"""The work on a closure: asks a source for pages and metadata until nothing new is needed.

    requirement ─► state of the project ─ settle ─► versions ─ facts ─► requirements …

A step of the work is a version with an extra on some targets, and each step is done once. Each file's metadata is asked for once; wheels
of a version with the same metadata digest count as one. Rests on `settling`, which decides what is in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pkgindex_core.errors import PkgIndexError
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_mirror.closing.candidates import Candidate, Candidates, CandidateVersion, SdistPolicy
from pkgindex_mirror.closing.install_targets import TargetSet
from pkgindex_mirror.closing.metadata_source import MetadataSource
from pkgindex_mirror.closing.settling import DemandOrigin, Grown, SettlingProject
from pkgindex_mirror.closing.version_facts import VersionFacts, completed
from pkgindex_mirror.prefetching.wanted import Wanted

AT_ONCE: Final = 48
"""Questions to the source that wait for an answer at the same time."""

ClosingProgress = Callable[[str, int, int], None]
"""Called with the name of a project, the number of versions whose metadata were read, and the number of known ones."""

Constraints = Mapping[ProjectName, SpecifierSet]
"""By project, the versions that may be in at all."""
Work = Coroutine[Any, Any, None]
Result = TypeVar("Result")

_requirement = lru_cache(maxsize=65_536)(Requirement)


class FixedPoint:
    """The work on one closure."""

    def __init__(
        self,
        source: MetadataSource,
        targets: TargetSet,
        *,
        newest: bool = False,
        constraints: Constraints | None = None,
        sdists: SdistPolicy = "needed",
        progress: ClosingProgress = lambda *_: None,
    ) -> None:
        self.targets = targets
        self.sdists: SdistPolicy = sdists
        self.states: dict[ProjectName, SettlingProject] = {}
        self._source = source
        self._newest = newest
        self._constraints = constraints or {}
        self._progress = progress
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._pages: dict[ProjectName, asyncio.Task[list[File] | None]] = {}
        self._facts: dict[tuple[ProjectName, str], asyncio.Task[VersionFacts]] = {}
        self._settling: set[ProjectName] = set()
        self._read = 0

    async def run(self, *works: Work) -> None:
        """Do this work, and all that follows from it. Raises `Unavailable` if something is not known now."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for work in works:
                    self._start(work)
        except BaseExceptionGroup as errors:
            expected = errors.subgroup(PkgIndexError)
            if expected is None or errors.split(PkgIndexError)[1] is not None:
                raise
            raise _first(expected) from None

    async def ask(self, wanted: Iterable[Wanted]) -> None:
        """Ask for what the user wants."""
        for each in wanted:
            mask = 0
            for extra in ("", *sorted(each.choices)):
                mask |= self.targets.holding(each.marker, extra, each.choices)
            requirement = Requirement(each.shown)
            self._demand(requirement, each.project, mask, DemandOrigin(each.where))

    async def build(self, project: ProjectName, file: File, mask: int) -> None:
        """Ask for what is needed to build a source distribution."""
        self._build_with(project, await self._facts_of(project, file), mask, -1)

    async def page(self, project: ProjectName) -> list[File] | None:
        """The files of a project, asked for once."""
        task = self._pages.get(project)
        if task is None:
            task = self._pages[project] = self._start(self._page(project))
        return await asyncio.shield(task)

    def _start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        assert self._group is not None
        return self._group.create_task(work)

    async def _page(self, project: ProjectName) -> list[File] | None:
        async with self._turns:
            files = await self._source.page(project)
        return None if files is None else list(files)

    def _demand(self, requirement: Requirement, project: ProjectName, mask: int, origin: DemandOrigin) -> None:
        if not mask:
            return
        state = self.states.get(project)
        if state is None:
            state = self.states[project] = SettlingProject(project, self.targets, newest=self._newest)
        extras = frozenset(normalized_or_none(each) or each for each in requirement.extras)
        bracket = f"[{','.join(sorted(extras))}]" if extras else ""
        shown = f"{project}{bracket}{requirement.specifier}"
        if state.demand(shown, requirement.specifier, extras, mask, origin):
            self._settle_soon(state)

    def _settle_soon(self, state: SettlingProject) -> None:
        if state.name not in self._settling:
            self._settling.add(state.name)
            self._start(self._settle(state))

    async def _settle(self, state: SettlingProject) -> None:
        if state.candidates is None:
            files = await self.page(state.name)
            state.is_missing = files is None
            # Again, since another task may have waited for the same page.
            if state.candidates is None:
                constraint = self._constraints.get(state.name)
                found = Candidates(state.name, files or [], self.targets, sdists=self.sdists, constraint=constraint)
                state.place(found)
        self._settling.discard(state.name)
        for grown in state.settle():
            self._start(self._follow(state, grown))

    async def _follow(self, state: SettlingProject, grown: Grown) -> None:
        """Ask for the requirements of a version."""
        assert state.candidates is not None
        version = state.candidates.versions[grown.number]
        left = grown.mask
        # A file that its own metadata exclude makes room for the next one.
        while groups := self._by_metadata(state, version, left, grown.number):
            permitted = 0
            for candidate, mask in groups:
                facts = await self._all_facts(state.name, version, candidate)
                permitted |= self._apply(state, grown, candidate, facts, mask)
            left &= ~permitted
        if left:
            state.refute(grown.number, left)
            self._settle_soon(state)

    def _by_metadata(
        self, state: SettlingProject, version: CandidateVersion, mask: int, number: int
    ) -> list[tuple[Candidate, int]]:
        """The files of a version for targets; of those with the same metadata one, with the targets of all."""
        groups: dict[str, tuple[Candidate, int]] = {}
        pinned = state.mask_of(number, state.pinned)
        taken = version.available(mask, pinned=pinned, sdists=self.sdists, refuted=state.refuted_files)
        for candidate, fits in taken.values():
            key = candidate.file.metadata_sha256 or candidate.file.filename
            _, known = groups.get(key, (candidate, 0))
            groups[key] = candidate, known | fits
        return [*groups.values()]

    async def _all_facts(self, project: ProjectName, version: CandidateVersion, candidate: Candidate) -> VersionFacts:
        """The facts of a file. What it does not say is taken from another file of the version."""
        facts = await self._facts_of(project, candidate.file)
        other = version.sibling
        if candidate.is_wheel:
            other = next((each.file for each in version.files if not each.is_wheel), None)
        if other is None or not facts.unknown or (not candidate.is_wheel and not facts.guessed):
            return facts
        return completed(facts, await self._facts_of(project, other))

    def _apply(self, state: SettlingProject, grown: Grown, candidate: Candidate, facts: VersionFacts, mask: int) -> int:
        """Ask for what one file requires. Returns the targets that its metadata permit."""
        permitted = mask & self.targets.permitting(facts.requires_python)
        if permitted != mask:
            state.refute_file(candidate.file.filename, mask & ~permitted)
        if facts.unknown:
            state.unknown.setdefault(grown.number, {})[facts.unknown] = None
        origin = DemandOrigin("", state.name, grown.number, grown.extra)
        for text in facts.requires_dist:
            self._require(state, grown, origin, text, permitted)
        if not candidate.is_wheel and not grown.extra:
            self._build_with(state.name, facts, permitted, grown.number)
        return permitted

    def _require(self, state: SettlingProject, grown: Grown, origin: DemandOrigin, text: str, mask: int) -> None:
        requirement = _requirement(text)
        if grown.extra and requirement.marker is None:
            return
        counting = mask & self.targets.holding(requirement.marker, grown.extra)
        project = normalized_or_none(requirement.name)
        if not counting:
            return
        if project is None or requirement.url:
            state.unknown.setdefault(grown.number, {})[f"its requirement {text[:80]!r} is of no index"] = None
        elif project != state.name:
            self._demand(requirement, project, counting, origin)
        elif state.candidates is not None:
            # A resolution has one version of a project, so it asks for extras of itself.
            for extra in requirement.extras:
                state.add_own_extra(grown.number, normalized_or_none(extra) or extra, counting)
            self._settle_soon(state)

    def _build_with(self, project: ProjectName, facts: VersionFacts, mask: int, number: int) -> None:
        origin = DemandOrigin("", project, number, building=True)
        for text in facts.build_requires:
            requirement = _requirement(text)
            name = normalized_or_none(requirement.name)
            if name is not None and not requirement.url:
                self._demand(requirement, name, mask & self.targets.holding(requirement.marker), origin)

    async def _facts_of(self, project: ProjectName, file: File) -> VersionFacts:
        key = project, file.metadata_sha256 or file.filename
        task = self._facts.get(key)
        if task is None:
            task = self._facts[key] = self._start(self._facts_once(project, file))
        return await asyncio.shield(task)

    async def _facts_once(self, project: ProjectName, file: File) -> VersionFacts:
        async with self._turns:
            facts = await self._source.facts(project, file)
        self._read += 1
        self._progress(project, self._read, len(self._facts))
        return facts


def _first(errors: BaseExceptionGroup[PkgIndexError]) -> PkgIndexError:
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
