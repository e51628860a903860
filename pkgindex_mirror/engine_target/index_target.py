"""`IndexTarget` is the target of a sync: one mirror index of an engine, with its pages, its list and its files.

Pages are changes of the index, so servers over the store see them at once, in other processes too. Rows are notes (`sync_notes`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.models import File, IndexConfig
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.tools.workers import in_worker
from pkgindex_mirror.engine_target.committing import NewPage, PageCommitter, ProjectWrite
from pkgindex_mirror.engine_target.listing import write_list
from pkgindex_mirror.engine_target.new_pages import new_page
from pkgindex_mirror.engine_target.preparing import Preparing
from pkgindex_mirror.engine_target.sync_notes import SyncNotes, packed_project
from pkgindex_mirror.engine_target.synced_files import SyncedFiles, file_keys
from pkgindex_mirror.engine_target.turns import RunTurn
from pkgindex_mirror.file_policies import FilePolicies
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.syncing.targets import FileSink, SyncTarget
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject

_log = logging.getLogger(__name__)

_MANY_FILES: Final = 40
"""Files from which a page is put together in a worker."""


class IndexTarget:
    """A `SyncTarget`. Reading needs nothing; writing needs the `turn`. The engine stays open as long as the target is used."""

    def __init__(
        self,
        engine: Engine,
        source: ReadThrough,
        name: IndexName,
        *,
        upstream: str,
        policies: FilePolicies = FilePolicies(),  # noqa: B008 - a frozen value
    ) -> None:
        """`source`: that of mirrors in the engine. `upstream`: the URL of the simple index, perhaps with `user:password@`. `policies`: which files are stored before they are listed."""
        self.name = name
        self.store = engine.store
        self.blobs = engine.blobs
        self.clock = engine.clock
        self.workers = engine.workers
        self.policies = policies
        self._turn = RunTurn(engine.store, name)
        self.notes = SyncNotes(engine.store, name)
        self.files = SyncedFiles(engine.store, engine.blobs, source.cache, name)
        self._committer = PageCommitter(
            engine.store, self.notes, self._turn, clock=engine.clock, workers=engine.workers
        )
        self._preparing = Preparing(
            engine.store,
            engine.index_options,
            self.notes,
            upstream=upstream,
            policies=policies,
            is_mirror=lambda config: engine.sources.of(config) is source,
            turn=self._turn,
        )

    async def open(self) -> None:
        """Reading needs nothing more."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._turn.held():
            self._committer.index = await self._preparing.prepared(self.name)
            await self.files.judge_left(self.notes)
            try:
                yield
            finally:
                await self._committer.close()

    # State.

    def states(self) -> AsyncIterator[Sequence[ProjectState]]:
        return self.notes.states()

    async def state(self, name: ProjectName) -> ProjectState | None:
        return await self.notes.state(name)

    async def failing(self) -> Sequence[ProjectState]:
        return [state async for batch in self.states() for state in batch if state.error]

    async def put_states(self, states: Iterable[ProjectState]) -> None:
        self._turn.check()
        await self.notes.put_states(states)

    async def facts(self) -> Mapping[str, str]:
        return await self.notes.facts()

    async def put_facts(self, facts: Mapping[str, str]) -> None:
        self._turn.check()
        await self.notes.put_facts(facts)

    # Content.

    async def held(self, name: ProjectName) -> UpstreamProject | None:
        return await self.notes.held(name)

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        return await self.files.missing(files)

    def sink(self, file: File) -> AbstractAsyncContextManager[FileSink]:
        return self.files.sink(file)

    async def keep(self, file: File, data: bytes) -> None:
        async with self.files.sink(file) as sink:
            await sink.write(data)
            await sink.keep()

    async def publish(self, project: UpstreamProject, chosen: Sequence[File], state: ProjectState) -> None:
        """As the role says. Files of a project whose policy is `on-demand` need not be there, and those of a `streamed` one leave."""
        index = self._committer.index
        assert index is not None, "a run publishes in its turn"
        chosen = self.files.with_digests(chosen)
        if self.policies.is_immediate(project.name):
            await self.files.hold(chosen)
            absent = [file.filename for file in chosen if not await self.files.is_stored(file)]
            if absent:
                raise Unavailable(
                    f"{project.name} was not published: {absent[0]} is not stored",
                    hint="files come before pages: fetch what `missing` names",
                )
        make = partial(_made, project, chosen, index, self.clock.now())
        page, held = make() if len(project.files) < _MANY_FILES else await in_worker(self.workers, make)
        leaving = await self._leaving(project.name, chosen)
        for alarm in await self._committer.put(ProjectWrite(state=state, page=page, held=held)):
            _log.error("%s: %s", project.name, alarm)
        await self._let_go(project.name, leaving)

    async def hide(self, state: ProjectState) -> None:
        await self._committer.put(ProjectWrite(state=state))

    async def remove(self, name: ProjectName) -> None:
        leaving = await self._leaving(name, ())
        state = await self.notes.state(name) or ProjectState(name=name)
        await self._committer.put(ProjectWrite(state=state))
        await self._let_go(name, leaving)
        await self.notes.forget(name)
        failpoint("index.project_forgotten")

    async def finish(self, facts: Mapping[str, str]) -> None:
        index = self._committer.index
        assert index is not None, "a run finishes in its turn"
        mirrored = {
            state.name: state.raw or state.name
            async for batch in self.notes.states()
            for state in batch
            if state.is_mirrored
        }
        await write_list(self.store, self._turn, index, mirrored)
        await self.put_facts(facts)
        failpoint("index.finished")

    async def settle(self) -> None:
        await self.blobs.settle()
        await self.store.settle()

    async def close(self) -> None:
        await self._committer.close()

    async def _leaving(self, name: ProjectName, chosen: Sequence[File]) -> Collection[Sha256]:
        """The files of a project that are not listed any more, noted before they leave."""
        former = file_keys(await self.store.page(self.name, name))
        if not former and not chosen:  # a hidden project
            held = await self.notes.held(name)
            former = {file.sha256 for file in held.files if file.sha256 is not None} if held is not None else set()
        leaving = former - {file.sha256 for file in chosen}
        if self.policies.of(name) == "streamed":
            leaving |= await self.files.stored_keys(former - leaving)
        await self.notes.put_left(name, leaving)
        return leaving

    async def _let_go(self, name: ProjectName, leaving: Collection[Sha256]) -> None:
        if leaving:
            await self.files.let_go(self.notes, name, leaving)


def _made(
    project: UpstreamProject, chosen: Sequence[File], index: IndexConfig, moment: Timestamp
) -> tuple[NewPage, bytes]:
    return new_page(project, chosen, index, moment), packed_project(project)


if TYPE_CHECKING:
    _: type[SyncTarget] = IndexTarget
