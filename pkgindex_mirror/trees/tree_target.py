"""`MirrorTree` is the target of a sync: a tree of files in bandersnatch's layout, with its rows.

It brings no bytes itself. It knows which files are there, puts pages together, and decides in which order things are written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from pkgindex_core.clock import Clock
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.syncing.targets import FORGOTTEN_LIST, FileSink, SyncTarget
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject
from pkgindex_mirror.trees.adopting import adopt
from pkgindex_mirror.trees.committing import GroupCommitter, ProjectHiding, ProjectRemoval, page_after, state_after
from pkgindex_mirror.trees.finishing import TreeParts, finish_tree, write_last_modified
from pkgindex_mirror.trees.layout import TreeLayout, file_path, sidecar_of, sidecar_path
from pkgindex_mirror.trees.options import TreeOptions, require_usable
from pkgindex_mirror.trees.project_files import ProjectFiles, named_files
from pkgindex_mirror.trees.publications import PublicationDraft, everything_else, is_same_page, publication
from pkgindex_mirror.trees.records import PublishedPage, RecordedFile
from pkgindex_mirror.trees.rows import MirrorRows
from pkgindex_mirror.trees.storage import TreeStorage

_PAGES_OPTIONS: Final = "tree-options"
"""The fact that says with which options the pages were written."""
SYNCED: Final = "synced"
_MANY_FILES: Final = 40


class MirrorTree:
    """A `SyncTarget`. Construct, then `open`; writing needs the `turn`, and a tree that is not `reading`."""

    def __init__(
        self, storage: TreeStorage, options: TreeOptions, *, workers: Executor, clock: Clock, reading: bool = False
    ) -> None:
        require_usable(options)
        self.storage = storage
        self.options = options
        self.layout = TreeLayout(options)
        self.rows = MirrorRows(storage.database, reading=reading)
        self.parts = TreeParts(storage, self.rows, options, workers)
        self._committer = GroupCommitter(storage, self.rows)
        self.files = ProjectFiles(storage, self.rows, self._committer, options)
        self._workers = workers
        self._clock = clock
        self._begun = clock.now()
        self._newest = 0  # the largest serial of a page, as far as it was looked up
        self._knows_newest = False
        self._arrived: set[str] = set()
        self._is_open = False

    async def open(self) -> None:
        """Open the rows. Reading needs no more than this."""
        if not self._is_open:
            await self.storage.fetch_rows()
            await self.rows.open()
            self._is_open = True

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self.storage.turn():
            if self._is_open:  # the rows of before the turn may be old
                await self.rows.close()
                self._is_open = False
            await self.open()
            self._begun = self._clock.now()
            await self._committer.remove_doomed()
            await adopt(self.parts, self.layout)
            await self._write_again()
            yield

    # State.

    async def states(self) -> AsyncIterator[Sequence[ProjectState]]:
        await self._committer.flush()
        last = ""
        while batch := await self.rows.states_after(last):
            yield batch
            last = batch[-1].name

    async def state(self, name: ProjectName) -> ProjectState | None:
        pending = self._committer.pending(name)
        if pending is not None:
            return state_after(pending)
        return await self.rows.state(name)

    async def failing(self) -> Sequence[ProjectState]:
        await self._committer.flush()
        return await self.rows.failing()

    async def put_states(self, states: Iterable[ProjectState]) -> None:
        rows = list(states)
        if any(self._committer.pending(row.name) for row in rows):
            await self._committer.flush()  # the newer row comes last
        await self.rows.put_states(rows)

    async def facts(self) -> Mapping[str, str]:
        return await self.rows.facts()

    async def put_facts(self, facts: Mapping[str, str]) -> None:
        """Store facts. `synced` says that the mirror is up to date, which the tree shows too."""
        if SYNCED in facts:
            await write_last_modified(self.parts, self._begun)
        await self.rows.put_facts(facts)

    # Content.

    async def page(self, name: ProjectName) -> PublishedPage | None:
        """The project as it was last published, and what of it was left out."""
        pending = self._committer.pending(name)
        return page_after(pending) if pending is not None else await self.rows.pages.page(name)

    async def held(self, name: ProjectName) -> UpstreamProject | None:
        page = await self.page(name)
        return page.project if page is not None and page.is_whole else None

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        return await self.files.missing(files)

    def sink(self, file: File) -> AbstractAsyncContextManager[FileSink]:
        return self.storage.sink(file, file_path(file), self._kept)

    async def keep(self, file: File, data: bytes) -> None:
        path, sha256 = file_path(file), sha256_of(data)
        # Anything but the usual is for a sink to judge.
        if sha256 == file.digests.get("sha256") and file.size in {None, len(data)}:
            uploaded = file.upload_time
            failpoint("tree.file_checked")
            placed = await self.storage.place(path, data, self._clock.now() if uploaded is None else uploaded)
            if placed is not None:
                self._kept(path, RecordedFile(placed.size, placed.modified, sha256))
                return
        async with self.sink(file) as sink:
            await sink.restart()
            await sink.write(data)
            await sink.keep()

    async def publish(self, project: UpstreamProject, chosen: Sequence[File], state: ProjectState) -> None:
        """Accept a project with its files. It is visible and durable after `settle`, which also raises what keeps it from that.

        The page offers those metadata files of wheels that are there.
        """
        former = await self.page(project.name)
        records = await self.files.records(chosen)
        absent = [file.filename for file in chosen if file_path(file) not in records]
        if absent and self.options.release_files:
            raise Unavailable(
                f"{project.name} was not published: {absent[0]} is not in the tree",
                hint="files come before pages: fetch what `missing` names",
            )
        await self._publish(project, chosen, state, former, records)

    async def hide(self, state: ProjectState) -> None:
        await self._committer.add(
            ProjectHiding(state=state, page=await self.page(state.name), pages=await self._pages(state.name))
        )

    async def remove(self, name: ProjectName) -> None:
        page = await self.page(name)
        files = [path for path, _ in named_files(page)] if page is not None else []
        await self._committer.add(ProjectRemoval(name=name, files=files, pages=await self._pages(name)))

    async def _pages(self, name: ProjectName) -> Sequence[str]:
        """The paths of everything that a project may have beside its files."""
        older = await self.storage.names(f"{self.layout.page_directory(name)}/versions")
        return everything_else(name, self.layout, older)

    async def finish(self, facts: Mapping[str, str]) -> None:
        await self.settle()
        await finish_tree(self.parts, facts, begun=self._begun)
        await self.settle()

    async def settle(self) -> None:
        await self._committer.flush()
        await self.storage.settle()
        await self.rows.checkpoint()
        await self.storage.save_rows()
        failpoint("tree.rows_saved")

    async def close(self) -> None:
        await self._committer.close()
        if self._is_open:
            await self.rows.close()
        await self.storage.close()

    async def write_again(self, name: ProjectName, *, afresh: bool = False) -> None:
        """Write the pages of a project anew from what is known of it, with those of its files that are there.

        If some are not there, its row says that its files were not chosen yet, so the next sync brings them.
        `afresh`: with other options than before, which may want its document and metadata files too.
        """
        page, state = await self.page(name), await self.state(name)
        if page is None or state is None or state.hidden:
            return
        chosen = [file for file in page.project.files if file.filename not in page.left_out]
        records = await self.files.records(chosen)
        there = [file for file in chosen if not self.options.release_files or file_path(file) in records]
        if len(there) < len(chosen) or (afresh and self._lacks(page, there, records)):
            state = replace(state, chosen_by="", serial=None, validators={})
            await self.rows.put_facts(FORGOTTEN_LIST)
        await self._publish(page.project, there, state, page, records, is_whole=page.is_whole, afresh=afresh)

    def _lacks(self, page: PublishedPage, files: Sequence[File], records: Mapping[str, RecordedFile]) -> bool:
        """Whether a project has no document or metadata file although the options want them."""
        if self.options.json and not page.project.document:
            return True
        wants = self.options.release_files and self.options.core_metadata
        return wants and any(sidecar_of(file) is not None and sidecar_path(file) not in records for file in files)

    async def _publish(
        self,
        project: UpstreamProject,
        chosen: Sequence[File],
        state: ProjectState,
        former: PublishedPage | None,
        records: Mapping[str, RecordedFile],
        *,
        is_whole: bool = True,
        afresh: bool = False,
    ) -> None:
        older: Sequence[str] = ()
        elsewhere: Sequence[str] = ()
        if self.options.keep_index_versions or afresh:
            older = await self.storage.names(f"{self.layout.page_directory(project.name)}/versions")
        if afresh:
            elsewhere = await self.storage.names(f"{self.layout.other_page_directory(project.name)}/versions")
        arrived = frozenset(path for path in records if path in self._arrived)
        outline = PublicationDraft(
            project=project,
            chosen=chosen,
            state=state,
            former=former,
            records=records,
            serial=await self._serial(project, chosen, former),
            moment=self._clock.now(),
            older=older,
            older_elsewhere=elsewhere,
            arrived=arrived,
            is_whole=is_whole,
            afresh=afresh,
        )
        if len(chosen) < _MANY_FILES:
            made = publication(outline, self.layout, self.options)
        else:
            made = await in_worker(self._workers, publication, outline, self.layout, self.options)
        await self._committer.add(made)
        self._arrived -= arrived

    async def _serial(self, project: UpstreamProject, chosen: Sequence[File], former: PublishedPage | None) -> int:
        """The serial of a page: that of the upstream, or a number of our own that grows with each change."""
        if project.serial is not None:
            self._newest = max(self._newest, project.serial)
            return project.serial
        if former is not None and former.stamp and is_same_page(former, project, chosen):
            return former.stamp
        if not self._knows_newest:
            await self._committer.flush()
            self._newest = max(await self.rows.pages.newest_stamp(), self._newest)
            self._knows_newest = True
        self._newest += 1
        return self._newest

    def _kept(self, path: str, record: RecordedFile) -> None:
        self._committer.kept(path, record)
        if self.options.remember_changes:
            self._arrived.add(path)

    async def _write_again(self) -> None:
        """Write all pages anew if the options have changed under which they were written."""
        before = (await self.rows.facts()).get(_PAGES_OPTIONS)
        if before == self.options.pages:
            return
        if before is not None:
            last = ""
            while names := await self.rows.pages.names_after(last):
                for name in names:
                    await self.write_again(name, afresh=True)
                last = names[-1]
            await self._committer.flush()
        await self.rows.put_facts({_PAGES_OPTIONS: self.options.pages, **(FORGOTTEN_LIST if before else {})})


if TYPE_CHECKING:
    _: type[SyncTarget] = MirrorTree
