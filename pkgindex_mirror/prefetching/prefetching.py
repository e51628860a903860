"""Fetches what requirements and lock files name: pages, metadata and files. It asks the index as an installer does, and the index stores them.

    wanted -> the project's page -> the files for the targets -> each fetched, with its metadata -> its dependencies are wanted too

Stored files are not fetched again, so a second run goes on where an interrupted one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement

from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError, Refused, Unavailable
from pkgindex_core.names import IndexName, ProjectName, normalized_or_none, parse_index_name
from pkgindex_core.protocols import Principal
from pkgindex_core.services.reading.opened_files import ArrivingContent, ElsewhereFile, StoredContent
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_mirror.prefetching.choosing import ChoosableFile, TargetPython, choose
from pkgindex_mirror.prefetching.wanted import Wanted, wanted_by
from pkgindex_mirror.readthrough.source import ReadThrough

AT_ONCE: Final = 8
"""Projects that are worked on at the same time."""
_JSON: Final = "application/vnd.pypi.simple.v1+json"
_ROOT: Final = "../../"
_HERE: Final = "http://index/simple/project/"

Progress = Callable[[str, int, int], None]
"""Called with the name of a file, the number of finished files, and the number of known ones."""


class _PageDocument(Struct, rename="kebab"):
    files: list[ChoosableFile]


_decode = msgspec.json.Decoder(_PageDocument).decode


class Prefetched(Struct, kw_only=True):
    """The result of a run."""

    projects: int = 0
    files: int = 0
    """The chosen files that are stored now."""
    fetched: int = 0
    """Those that were not stored before."""
    bytes: int = 0
    """Of these files."""
    failures: list[str]
    """One sentence for each thing that is not stored now."""
    remarks: list[str]
    """One sentence for each file that may need more than what was fetched."""


class Prefetching:
    """One run over one index."""

    def __init__(
        self,
        engine: Engine,
        index: IndexName,
        targets: Sequence[TargetPython],
        *,
        everything: bool,
        dependencies: bool,
        constraints: Sequence[Wanted],
        pin: bool | None,
        progress: Progress,
    ) -> None:
        """`pin`: True keeps the files in a bounded cache, False lets them be removed again, None changes neither."""
        self._engine = engine
        self._index = index
        self._targets = targets
        self._everything = everything
        self._dependencies = dependencies
        self._constraints = constraints
        self._pin = pin
        self._progress = progress
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._begun: set[Wanted] = set()
        self._projects: set[ProjectName] = set()
        self._fetching: dict[str, asyncio.Task[tuple[Sha256, bytes]]] = {}
        self._kept: dict[Sha256, tuple[Wanted, str]] = {}
        self._finished = 0
        self._done = Prefetched(failures=[], remarks=[])

    async def run(self, wanted: Iterable[Wanted]) -> Prefetched:
        """Fetch everything that is wanted, and return when all of it is stored durably or has failed."""
        async with asyncio.TaskGroup() as group:
            for each in wanted:
                self._begin(each, (), group)
        await self._engine.settle()
        await self._unpin()
        await self._look_again()
        self._done.projects = len(self._projects)
        self._done.files = self._finished
        return self._done

    async def _pin_now(self, sha256: str | None) -> None:
        """Pin a file before the files after it need its room."""
        if self._pin and sha256:
            for source in self._sources():
                await source.cache.pin([Sha256(sha256)])

    async def _unpin(self) -> None:
        for source in self._sources() if self._pin is False else ():
            for key in self._kept:
                await source.cache.unpin(key)

    def _sources(self) -> list[ReadThrough]:
        return [each for each in self._engine.sources.by_type.values() if isinstance(each, ReadThrough)]

    async def _look_again(self) -> None:
        """Name the files that a bound of the cache has removed since."""
        for key, (wanted, filename) in self._kept.items():
            if await self._engine.blobs.stat(key) is None:
                hint = "cache_size is too small for all files; --pin keeps them beyond it"
                self._fail(wanted, Refused(f"{filename} was fetched and removed again, to make room: {hint}"))

    def _begin(self, wanted: Wanted, extras: Iterable[str], group: asyncio.TaskGroup) -> None:
        """Start the work for one project, once. `extras`: those of the package that requires it."""
        if not any(target.wants(wanted, extras) for target in self._targets):
            return
        # Two files may want one version: with other hashes, or with its dependencies and without.
        key = replace(wanted, marker=None, choices=frozenset(), where="")
        if key not in self._begun:
            self._begun.add(key)
            group.create_task(self._project(wanted, group))

    async def _project(self, wanted: Wanted, group: asyncio.TaskGroup) -> None:
        async with self._turns:
            try:
                files = await self._choose(wanted)
            except PkgIndexError as error:
                self._fail(wanted, error)
                return
            found = await asyncio.gather(*(self._once(wanted, file) for file in files), return_exceptions=True)
        built = self._everything and any(file.filename.endswith(".whl") for file in files)
        for file, metadata in zip(files, found, strict=True):
            if isinstance(metadata, PkgIndexError):
                self._fail(wanted, metadata)
                continue
            if isinstance(metadata, BaseException):
                raise metadata
            self._projects.add(wanted.project)
            if not built and not file.filename.endswith(".whl"):
                what = "its dependencies and what builds it are" if wanted.follow else "what builds it is"
                self._done.remarks.append(f"{file.filename} is a source distribution: {what} not fetched")
            if wanted.follow and self._dependencies:
                self._require(wanted, metadata, group)

    def _fail(self, wanted: Wanted, error: PkgIndexError) -> None:
        self._done.failures.append(f"{wanted.shown} ({wanted.where}): {error.message}")

    def _require(self, wanted: Wanted, metadata: bytes, group: asyncio.TaskGroup) -> None:
        """Start the work for the dependencies in the metadata of a wheel."""
        for requirement in _requirements(metadata):
            project = normalized_or_none(requirement.name)
            if project is not None and not requirement.url:
                required = wanted_by(requirement, project, where=f"required by {wanted.project}")
                self._begin(required, wanted.extras, group)

    async def _choose(self, wanted: Wanted) -> list[ChoosableFile]:
        request = PageRequest(
            view=View(start=self._index, root=_ROOT),
            project=wanted.project,
            principal=Principal(),
            media_type=_JSON,
        )
        answer = await self._engine.pages.project(request)
        assert answer.body is not None
        for index, reason in answer.unknown:  # it may have a version that an installer will choose later
            self._fail(wanted, Unavailable(f"its page has no files of {index}: {reason}"))
        chosen = choose(
            _decode(answer.body).files,
            wanted,
            self._targets,
            everything=self._everything,
            constraints=self._constraints,
        )
        if not chosen:
            raise Refused(f"{self._index} has no file of it that fits")
        return chosen

    async def _once(self, wanted: Wanted, file: ChoosableFile) -> bytes:
        """Fetch a file and its metadata, once for all requirements that want it. Returns the metadata, empty if there is none."""
        task = self._fetching.get(file.filename)
        if task is None:
            task = self._fetching[file.filename] = asyncio.create_task(self._fetch(wanted, file))
        sha256, metadata = await task
        if wanted.sha256s and sha256 not in wanted.sha256s:
            raise Refused(f"{file.filename} has another sha256 than {wanted.where} names")
        return metadata

    async def _fetch(self, wanted: Wanted, file: ChoosableFile) -> tuple[Sha256, bytes]:
        index, pinned, filename = _place(file.url)
        await self._pin_now(file.hashes.get("sha256"))
        opened = await self._engine.files.open(index, pinned, filename, sidecar=False, principal=Principal())
        if isinstance(opened, ElsewhereFile):
            raise Refused(f"{filename} is served from another place: unset mirror_use_external_urls of {index}")
        if isinstance(opened, ArrivingContent):
            self._progress(filename, self._finished, len(self._fetching))
            blob = await opened.arriving.finished()
            self._done.fetched += 1
        else:
            blob = opened.blob
        self._done.bytes += blob.size
        self._finished += 1
        self._progress(filename, self._finished, len(self._fetching))
        await self._pin_now(blob.sha256)
        self._kept[blob.sha256] = (wanted, filename)
        metadata = await self._metadata(index, pinned, filename) if filename.lower().endswith(".whl") else b""
        return blob.sha256, metadata

    async def _metadata(self, index: IndexName, pinned: str, filename: str) -> bytes:
        opened = await self._engine.files.open(index, pinned, filename, sidecar=True, principal=Principal())
        assert isinstance(opened, StoredContent)
        return b"".join([data async for data in self._engine.files.read(opened.blob.sha256)])


def _place(url: str) -> tuple[IndexName, str, str]:
    """Index, directory and filename of a link of a page."""
    user, index, *directory, filename = unquote(urlsplit(urljoin(_HERE, url)).path).strip("/").split("/")
    return parse_index_name(f"{user}/{index}"), "/".join(directory), filename


def _requirements(metadata: bytes) -> list[Requirement]:
    """The dependencies of core metadata, without those that cannot be read."""
    found = []
    raw, _ = parse_email(metadata)
    for text in raw.get("requires_dist", []):
        try:
            found.append(Requirement(text))
        except InvalidRequirement:
            continue
    return found
