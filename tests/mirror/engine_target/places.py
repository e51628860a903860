"""The two targets of a sync beside each other, and what a client finds in each."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.services.reading.opened_files import ArrivingContent, StoredContent
from pkgindex_core.services.reading.pages import PageRequest, View
from pkgindex_mirror.engine_target.index_target import IndexTarget
from pkgindex_mirror.engine_target.opening import index_target
from pkgindex_mirror.file_policies import FilePolicies
from pkgindex_mirror.syncing.targets import SyncTarget
from pkgindex_mirror.trees.opening import opened_tree
from pkgindex_mirror.trees.options import TreeOptions

INDEX = IndexName("root/mirrored")
JSON = "application/vnd.pypi.simple.v1+json"
Shown = Mapping[str, Mapping[str, str]]
"""By project: the sha256 of each listed file by its name."""


class TreePlace:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock: Clock = SystemClock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SyncTarget]:
        with ThreadPoolExecutor(2) as workers:
            options = TreeOptions()
            async with opened_tree(str(self.directory), options, workers=workers, clock=self.clock) as tree:
                yield tree

    async def shown(self) -> Shown:
        """What a client finds."""
        found = {}
        listed = json.loads((self.directory / "web/simple/index.v1_json").read_bytes())["projects"]
        for name in sorted(each["name"] for each in listed):
            page = self.directory / f"web/simple/{name}/index.v1_json"
            files = {}
            for file in json.loads(page.read_bytes())["files"]:
                place = Path(unquote(urlsplit(urljoin(f"file://{page}", file["url"])).path))
                assert sha256_of(place.read_bytes()) == file["hashes"]["sha256"]
                files[file["filename"]] = file["hashes"]["sha256"]
            found[name] = files
        return found


class IndexPlace:
    def __init__(self, directory: Path, upstream: str, policies: FilePolicies | None = None, **mirror: object) -> None:
        """`mirror`: settings of the plugin of mirrors."""
        self.directory = directory
        self.clock: Clock = SystemClock()
        self.upstream = upstream
        self.mirror = mirror
        self.policies = policies or FilePolicies()

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[Engine]:
        """An engine over the stores, as in another process."""
        async with Engine.open(
            Settings(data=self.directory, plugins={"mirror": self.mirror}), clock=self.clock
        ) as engine:
            await engine.prepare(log_in=False)
            yield engine

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[IndexTarget]:
        async with self.engine() as engine:
            yield index_target(engine, INDEX, upstream=self.upstream, policies=self.policies)

    async def shown(self) -> Shown:
        async with self.engine() as engine:
            return await shown_by(engine)


async def shown_by(engine: Engine) -> Shown:
    """What a server over this engine shows."""
    found = {}
    names = await engine.sources.by_type["mirror"].names((await engine.store.tree()).indexes[INDEX])
    async for batch in names.read(""):
        for row in batch:
            found[row.name] = {
                name: await downloaded(engine, url) for name, url in (await page_of(engine, row.name)).items()
            }
    return found


async def page_of(engine: Engine, project: str, *, index: IndexName = INDEX) -> Mapping[str, str]:
    """The URLs of the files of a page, by name. Raises `Missing`."""
    request = PageRequest(
        view=View(start=index, root="../../"), project=ProjectName(project), principal=Principal(), media_type=JSON
    )
    answer = await engine.pages.project(request)
    assert answer.body is not None
    return {file["filename"]: file["url"] for file in json.loads(answer.body)["files"]}


async def downloaded(engine: Engine, url: str) -> str:
    """Download a file as a client does; return its sha256."""
    user, index, *directory, filename = (
        unquote(urlsplit(urljoin("http://index/simple/project/", url)).path).strip("/").split("/")
    )
    opened = await engine.files.open(
        IndexName(f"{user}/{index}"), "/".join(directory), filename, sidecar=False, principal=Principal()
    )
    if isinstance(opened, ArrivingContent):
        return sha256_of(b"".join([piece async for piece in opened.arriving.read()]))
    assert isinstance(opened, StoredContent)
    return sha256_of(b"".join([piece async for piece in engine.files.read(opened.blob.sha256)]))
