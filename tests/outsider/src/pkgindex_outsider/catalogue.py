"""Indexes of type `catalogue`: a JSON file lists projects, and where their files lie beside it.

    {"demo": [{"path": "wheels/demo-1.0-py3-none-any.whl", "version": "1.0", "sha256": "…", "size": 1234}]}

The setting `[plugins.catalogue] directory` says where such files are, for instance on a share; the option `catalogue_file` of an index names
one of them. Pages are copies of what the file says; bytes are copied into the blob store when somebody wants them.
"""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from pkgindex_core.changes import Change, Commit, DropMirrorPage, MirrorPage, Requirement
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.errors import BadUpstream, Missing, PkgIndexError, ReadOnly, Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig, PageHead, ProjectRow, Serial, Standing, decode_file
from pkgindex_core.names import IndexName, ProjectName, parse_project_name
from pkgindex_core.protocols import Blob, Freshness, Names, OnDisk, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED

T = TypeVar("T")
_EXPIRY = 60.0
"""Seconds for which a project is not looked up again."""


def catalogue_file(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]*\.json", value):
        raise Refused("catalogue_file is the name of a file such as tools.json")
    return value


def make_source(context: Context) -> Catalogue:
    directory = context.settings.get("directory")
    if set(context.settings) - {"directory"} or not isinstance(directory, str | None):
        raise Refused("catalogue: only the text `directory` can be set", hint='directory = "/srv/catalogues"')
    return Catalogue(context, Path(directory or context.data / "catalogues"))


class Catalogue:
    """A `Source` of mirrored pages."""

    def __init__(self, context: Context, directory: Path) -> None:
        assert context.index_store is not None
        assert context.blob_store is not None
        self._store = context.index_store
        self._blobs = context.blob_store
        self._clock = context.clock
        self._workers = context.workers
        self._directory = directory
        self._looked: dict[IndexName, float] = {}
        self._taken: dict[tuple[IndexName, ProjectName], float] = {}
        self._names: dict[IndexName, Sequence[ProjectName]] = {}
        self._one_at_a_time = asyncio.Lock()

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        now = self._clock.monotonic()
        if standing.holds:
            return now < self._taken.get((index.name, project), 0.0) + _EXPIRY
        return now < self._looked.get(index.name, 0.0) + _EXPIRY and project not in self._names[index.name]

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        async with self._one_at_a_time:
            if again or not self.is_current(index, project, standing):
                self._taken.pop((index.name, project), None)
                try:
                    listed = await self._read(index)
                except Unavailable as error:
                    if standing.holds:
                        return Freshness(state="stale", reason=error.message)
                    raise
                await self._take(index, project, listed)
        is_listed = project in self._names[index.name]
        return Freshness(state="fresh" if is_listed else "absent", checked=self._clock.now())

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        freshness = Freshness(state="fresh")
        if ask:
            try:
                await self._read(index)
            except Unavailable as error:
                if index.name not in self._names:
                    raise
                freshness = Freshness(state="stale", reason=error.message)
        known = self._names.get(index.name, ())

        async def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            yield [ProjectRow(name=name, display_name="", stamp=Serial(0)) for name in known if name > after]

        return Names(read=read, freshness=freshness, is_whole=index.name in self._names)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> OnDisk:
        async with self._one_at_a_time:
            blob = await self._blobs.stat(file.sha256) if file.sha256 else None
            if blob is None or blob.size != file.size:
                blob = await self._blobs.put(await self._bytes(file))
            return OnDisk(blob)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        here = await self.open(index, project, file)
        wheel = b"".join([chunk async for chunk in self._blobs.read(here.blob.sha256)])
        found = await self._in_worker(lambda: _metadata_in(wheel))
        if found is None:
            raise Missing("metadata file", f"{file.filename}.metadata")
        return await self._blobs.put(found)

    async def put(
        self,
        index: IndexConfig,
        changes: Sequence[Change],
        *,
        who: str,
        require: Iterable[Requirement] = (),
        spooled: Mapping[Sha256, Path] = NOTHING_SPOOLED,
    ) -> Commit | None:
        raise ReadOnly(index.name, index.type)

    async def close(self) -> None:
        """Nothing is held open."""

    async def _read(self, index: IndexConfig) -> Mapping[ProjectName, Mapping[str, File]]:
        """What the file lists, by project and filename."""
        path = self._directory / index.options["catalogue_file"]
        self._looked.pop(index.name, None)
        try:
            listed = await self._in_worker(lambda: self._parsed(path.read_bytes()))
        except OSError as error:
            raise Unavailable(f"the catalogue {path.name} cannot be read: {error.strerror}") from error
        except (ValueError, LookupError, TypeError, AttributeError, PkgIndexError) as error:
            raise BadUpstream(f"the catalogue {path.name} is not understood: {error}") from error
        self._names[index.name] = sorted(listed)
        self._looked[index.name] = self._clock.monotonic()
        return listed

    def _parsed(self, data: bytes) -> Mapping[ProjectName, Mapping[str, File]]:
        return {
            parse_project_name(project): {file.filename: file for file in map(self._file, entries)}
            for project, entries in json.loads(data).items()
        }

    def _file(self, entry: Mapping[str, Any]) -> File:
        path = (self._directory / entry["path"]).resolve()
        if not path.is_relative_to(self._directory.resolve()):
            raise ValueError(f"{entry['path']} leads out of the directory")
        return File(
            filename=path.name,
            version=entry["version"],
            digests={"sha256": entry["sha256"]},
            size=int(entry["size"]),
            metadata_offered=path.suffix == ".whl",
            url=path.as_uri(),
        )

    async def _take(
        self, index: IndexConfig, project: ProjectName, listed: Mapping[ProjectName, Mapping[str, File]]
    ) -> None:
        """Store how the page differs from what is listed now."""
        page = await self._store.page(index.name, project)
        if project not in listed:
            if page is not None:
                await self._store.apply([DropMirrorPage(index.name, project)], who="[catalogue]")
            return
        wanted = listed[project]
        stored = {row.filename: decode_file(row.body) for row in page.rows} if page else {}
        put = tuple(file for name, file in wanted.items() if stored.get(name) != file)
        drop = tuple(stored.keys() - wanted.keys())
        if page is None or put or drop:
            change = MirrorPage(index.name, project, PageHead(), put, drop)
            await self._store.apply([change], who="[catalogue]")
        self._taken[index.name, project] = self._clock.monotonic()

    async def _bytes(self, file: File) -> bytes:
        path = Path(unquote(urlsplit(file.url).path))
        try:
            data = await self._in_worker(path.read_bytes)
        except FileNotFoundError as error:
            if not self._directory.is_dir():
                raise Unavailable(f"the directory of {file.filename} is not there") from error
            raise Missing("file", file.filename) from error
        except OSError as error:
            raise Unavailable(f"{file.filename} cannot be read: {error.strerror}") from error
        if sha256_of(data) != file.sha256:
            raise BadUpstream(f"{file.filename} does not have the digest of its catalogue")
        return data

    async def _in_worker(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, function)


def _metadata_in(wheel: bytes) -> bytes | None:
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", name):
                return archive.read(name)
    return None


if TYPE_CHECKING:
    _source: type[Source] = Catalogue
