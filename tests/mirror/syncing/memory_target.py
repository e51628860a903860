"""A target of a sync in memory, which keeps the promises of the role."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pkgindex_core.errors import BadUpstream, Conflict
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.syncing.file_fetching import SIDECAR
from pkgindex_mirror.syncing.targets import FileSink, SyncTarget
from pkgindex_mirror.syncing.values import ProjectState, UpstreamProject
from pkgindex_mirror.urls import with_suffix


class MemorySink:
    def __init__(self, target: MemoryTarget, file: File) -> None:
        self._target = target
        self._file = file
        self._data = bytearray(target.parts.pop(file.filename, b""))
        self.kept = False

    @property
    def offset(self) -> int:
        return len(self._data)

    async def write(self, data: bytes) -> None:
        self._data += data

    async def restart(self) -> None:
        self._data.clear()

    async def keep(self) -> None:
        self.kept = True
        data, file = bytes(self._data), self._file
        if (file.size not in {None, len(data)}) or file.digests["sha256"] != hashlib.sha256(data).hexdigest():
            raise BadUpstream(f"{file.filename} has other bytes than its page says")
        self._target.files[file.filename] = data

    def leave(self) -> None:
        if not self.kept and self._data:
            self._target.parts[self._file.filename] = bytes(self._data)


class MemoryTarget:
    """`pages` holds what a server would show: the chosen filenames of each project. `log`: what was done, in order."""

    def __init__(self) -> None:
        self.rows: dict[ProjectName, ProjectState] = {}
        self.known: dict[str, str] = {}
        self.projects: dict[ProjectName, UpstreamProject] = {}
        self.pages: dict[ProjectName, list[str]] = {}
        self.files: dict[str, bytes] = {}
        self.parts: dict[str, bytes] = {}
        self.listed: list[str] = []
        self.log: list[str] = []
        self._is_held = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._is_held:
            raise Conflict("another run holds the turn")
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    async def states(self) -> AsyncIterator[Sequence[ProjectState]]:
        names = sorted(self.rows)
        for start in range(0, len(names), 2):
            yield [self.rows[name] for name in names[start : start + 2]]

    async def state(self, name: ProjectName) -> ProjectState | None:
        return self.rows.get(name)

    async def failing(self) -> Sequence[ProjectState]:
        return [state for state in self.rows.values() if state.error]

    async def put_states(self, states: Iterable[ProjectState]) -> None:
        for state in states:
            self.rows[state.name] = state

    async def facts(self) -> Mapping[str, str]:
        return dict(self.known)

    async def put_facts(self, facts: Mapping[str, str]) -> None:
        self.known.update(facts)

    async def held(self, name: ProjectName) -> UpstreamProject | None:
        return self.projects.get(name)

    async def missing(self, files: Sequence[File]) -> Sequence[File]:
        wanted = [each for file in files for each in (file, _sidecar(file)) if each is not None]
        return [file for file in wanted if file.filename not in self.files]

    @asynccontextmanager
    async def sink(self, file: File) -> AsyncIterator[FileSink]:
        sink = MemorySink(self, file)
        try:
            yield sink
        finally:
            sink.leave()

    async def keep(self, file: File, data: bytes) -> None:
        async with self.sink(file) as sink:
            await sink.restart()
            await sink.write(data)
            await sink.keep()

    async def publish(self, project: UpstreamProject, chosen: Sequence[File], state: ProjectState) -> None:
        absent = [file.filename for file in chosen if file.filename not in self.files]
        assert not absent, f"the page of {project.name} would name {absent}"
        for gone in {*self.pages.get(project.name, [])} - {file.filename for file in chosen}:
            self.files.pop(gone, None)
        self.pages[project.name] = [file.filename for file in chosen]
        self.projects[project.name] = project
        self.rows[project.name] = state
        self.log.append(f"publish {project.name}")

    async def hide(self, state: ProjectState) -> None:
        self.pages.pop(state.name, None)
        self.rows[state.name] = state
        self.log.append(f"hide {state.name}")

    async def remove(self, name: ProjectName) -> None:
        for filename in self.pages.pop(name, []):
            self.files.pop(filename, None)
        self.projects.pop(name, None)
        self.rows.pop(name, None)
        self.log.append(f"remove {name}")

    async def finish(self, facts: Mapping[str, str]) -> None:
        self.listed = sorted(self.pages)
        self.known.update(facts)
        self.log.append("finish")

    async def settle(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _sidecar(file: File) -> File | None:
    if file.metadata_sha256 is None:
        return None
    return File(
        filename=file.filename + SIDECAR,
        digests={"sha256": file.metadata_sha256},
        url=with_suffix(file.url, SIDECAR),
    )


if TYPE_CHECKING:
    _: type[SyncTarget] = MemoryTarget
