"""`TreeWriter` brings a static tree up to date: changed objects are written, dropped ones removed, and the state comes last.

    survey ─► unfinished ─► files, pages of each project ─► pages about all ─► removals ─► catalogue ─► state

Files are written before the pages that name them and removed after them, so every link of a page leads to a file. A run that is killed leaves whole
objects, some of them newer. Its state says that it is unfinished, so the next run writes everything that the killed one may have
touched, whether or not the catalogue has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from functools import partial
from typing import Final

from msgspec.structs import replace

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt, Missing
from pkgindex_core.failpoints import failpoint
from pkgindex_core.formats.static_tree import ProjectObjects, StaticProject, has_tree_form, project_objects
from pkgindex_core.names import ProjectName
from pkgindex_core.services.moving.static_projects import Survey
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.static.catalogue import PACKAGES, Catalogue, CatalogueParts, DamagedTree
from pkgindex_mirror.static.entries import CatalogueEntry, entry_of
from pkgindex_mirror.static.reports import Progress, PublishReport
from pkgindex_mirror.static.shared_pages import SiteLook, look_of, shared_content, shared_pages
from pkgindex_mirror.static.state import FORMAT, STATE, TreeState, digest, read_state, write_state
from pkgindex_mirror.static.targets import OWN, Target
from pkgindex_mirror.static.templates import StaticTemplates
from pkgindex_mirror.static.tree_content import TreeContent

_AT_ONCE: Final = 16
"""Projects under way: each waits for the target several times."""
_MANY_FILES: Final = 50


class TreeWriter:
    """One run on one target."""

    def __init__(
        self,
        content: TreeContent,
        target: Target,
        *,
        workers: Executor,
        site: SiteLook,
        templates: StaticTemplates,
        per_release: bool = True,
        dry_run: bool = False,
        progress: Progress = lambda *_: None,
    ) -> None:
        self._content = content
        self._target = target
        self._workers = workers
        self._site = site
        self._templates = templates
        self._per_release = per_release
        self._dry_run = dry_run
        self._progress = progress
        self._begun = False
        self._beginning = asyncio.Lock()
        self._trusted = True
        self._afresh = False
        self._done = PublishReport()
        self._expendable: set[str] = set()

    async def run(self, *, afresh: bool = False) -> PublishReport:
        """Bring the tree up to date. `afresh` writes everything, whatever the tree says that it has."""
        try:
            return await self._run(afresh=afresh)
        except DamagedTree:
            return await self._run(afresh=True)

    async def _run(self, *, afresh: bool) -> PublishReport:
        self._done, self._expendable, self._afresh = PublishReport(dry_run=self._dry_run), set(), afresh
        before = read_state(await self._target.read(STATE))
        since = before if before is not None and not afresh and self._is_known(before) else None
        self._trusted = since is not None and not since.unfinished
        catalogue = Catalogue(self._target)
        if since is not None:
            await catalogue.open(finished=self._trusted)
        survey = await self._content.survey(since if self._continues(since) else None, catalogue)
        state = TreeState(
            format=FORMAT,
            identity=self._content.identity,
            serial=survey.serial,
            recipe=survey.recipe,
            look=look_of(self._site, self._templates),
            per_release=self._per_release,
        )
        self._done.serial, self._done.whole = survey.serial, survey.is_whole
        # Of a tree that has never been one nothing is removed: it may be a directory of something else.
        removable = before is not None
        names = survey.names | (catalogue.lines.keys() if survey.is_whole else frozenset())
        there = await self._there(survey) if removable and not self._trusted else set()
        begun = replace(before or state, unfinished="all" if survey.is_whole else "some")
        await catalogue.load(names)
        await self._projects(sorted(names), catalogue, there, begun)
        is_shown_so = self._trusted and since is not None and since.look == state.look
        if since is not None and is_shown_so and not names:
            shared, parts = dict(since.shared), None
        else:
            shared, parts = await self._shared(catalogue, since, begun, afresh=not is_shown_so)
        if since is not None:
            self._expendable |= since.shared.keys() - shared.keys()
        self._expendable |= there - self._kept(names, catalogue, shared)
        if removable and parts is not None:
            self._expendable |= await catalogue.there(trusted=self._trusted) - parts.kept
        await self._finish(replace(state, shared=shared), before, parts, begun)
        self._done.projects = len(catalogue.lines)
        return self._done

    def _is_known(self, state: TreeState) -> bool:
        """Whether the tree is of the same store and format, and no killed run was writing all of it."""
        return (state.format, state.identity) == (FORMAT, self._content.identity) and state.unfinished != "all"

    def _continues(self, state: TreeState | None) -> bool:
        return state is not None and state.per_release == self._per_release

    async def _there(self, survey: Survey) -> set[str]:
        """The objects of all projects that are looked at, as far as a tree may have written them."""
        below: tuple[str, ...] = OWN
        if not survey.is_whole:
            below = ("changelog", *(f"{each}/{name}" for each in OWN[:3] for name in survey.names))
        return {path for each in below for path in await self._target.walk(each) if has_tree_form(path)}

    async def _projects(
        self, names: Sequence[ProjectName], catalogue: Catalogue, there: AbstractSet[str], begun: TreeState
    ) -> None:
        self._done.looked_at = len(names)
        count = 0

        async def one(name: ProjectName) -> None:
            nonlocal count
            catalogue.put(name, await self._project(name, catalogue.entry(name), there, begun))
            count += 1
            self._progress("projects", count, len(names))

        await side_by_side(names, one, at_once=_AT_ONCE)
        failpoint("publish.projects_written")

    async def _project(
        self, name: ProjectName, old: CatalogueEntry | None, there: AbstractSet[str], begun: TreeState
    ) -> CatalogueEntry | None:
        """Write one project where it differs; None when there is none any more."""
        had = (old.digests(), old.files()) if old is not None else ({}, {})
        project = await self._content.read(name)
        if project is None:
            self._expendable |= had[0].keys() | had[1].keys()
            return None
        objects = await self._made(project)
        for path, sha256 in project.placed.items():
            # Objects are whole, so a file that is there is right: its path has its digest. That of a sidecar has the digest of its file.
            is_right = path in there and not self._afresh and not path.endswith(".metadata")
            if not is_right and not (self._trusted and had[1].get(path) == sha256):
                self._done.files += 1
                if await self._begin(begun):
                    await self._place(project, path, sha256)
        now = entry_of(project, objects)
        differing = {
            path: data
            for path, data in objects.written.items()
            if not (self._trusted and had[0].get(path) == digest(data))
        }
        await self._write(differing, begun)
        self._expendable |= (had[0].keys() - objects.written.keys()) | (had[1].keys() - project.placed.keys())
        return now

    async def _made(self, project: StaticProject) -> ProjectObjects:
        """The objects of a project. Those of a large project are made in a worker, since that takes a while."""
        make = partial(project_objects, project, self._content.renderers, per_release=self._per_release)
        return make() if len(project.files) < _MANY_FILES else await in_worker(self._workers, make)

    async def _shared(
        self, catalogue: Catalogue, since: TreeState | None, begun: TreeState, *, afresh: bool
    ) -> tuple[dict[str, str], CatalogueParts]:
        """Write the pages about all projects that differ; return their digests, and the parts of the new catalogue."""
        content = await shared_content(catalogue, afresh=afresh)
        frames = {} if afresh else catalogue.former.frames
        pages = await in_worker(
            self._workers, shared_pages, content, self._content.renderers, self._site, self._templates, frames
        )
        before = since.shared if since is not None and self._trusted else {}
        keys = {path: before[path] for path in pages.untouched}

        made = await in_worker(
            self._workers, lambda: {path: digest(page).hex() for path, page in pages.written.items()}
        )
        await self._write({path: pages.written[path] for path, key in made.items() if before.get(path) != key}, begun)
        keys |= made
        failpoint("publish.shared_written")
        packages = bytes.fromhex(keys[PACKAGES])
        parts = await in_worker(self._workers, catalogue.parts, content.first, content.changes, pages.frames, packages)
        return dict(sorted(keys.items())), parts

    def _kept(self, names: Iterable[ProjectName], catalogue: Catalogue, shared: Iterable[str]) -> set[str]:
        """The paths of the projects that were looked at, and of the pages about all."""
        kept = {*shared}
        for entry in map(catalogue.entry, names):
            if entry is not None:
                kept |= entry.digests().keys() | entry.files().keys()
        return kept

    async def _finish(
        self, state: TreeState, before: TreeState | None, parts: CatalogueParts | None, begun: TreeState
    ) -> None:
        gone = sorted(self._expendable)
        self._done.removed = len(gone)
        if gone and await self._begin(begun):
            await self._target.remove(gone)
        failpoint("publish.removed")
        if self._done.dry_run or (state == before and not self._begun):
            return
        if parts is not None and parts.written and await self._begin(begun):
            await self._target.write(parts.written)
        await self._target.settle()
        failpoint("publish.catalogue_written")
        await self._target.write({STATE: write_state(state)})
        await self._target.settle()
        failpoint("publish.ended")

    async def _place(self, project: StaticProject, path: str, sha256: Sha256) -> None:
        outside = await self._content.bring(project, path) if path in project.elsewhere else None
        try:
            await self._target.place(path, sha256, outside)
        except Missing as error:
            raise Corrupt(
                f"the index lists {path.rpartition('/')[2]}, but its bytes are not stored",
                hint="`pkgindex-serve verify` tells what else is lost; delete the file, or upload it again",
            ) from error

    async def _write(self, objects: Mapping[str, bytes], begun: TreeState) -> None:
        self._done.objects += len(objects)
        if objects and await self._begin(begun):
            await self._target.write(objects)

    async def _begin(self, begun: TreeState) -> bool:
        """Say in the tree that it is being changed, before the first change; False when nothing is to be changed."""
        if self._done.dry_run:
            return False
        async with self._beginning:
            if not self._begun:
                await self._target.write({STATE: write_state(begun)})
                self._begun = True
                failpoint("publish.begun")
        return True
