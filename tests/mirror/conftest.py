"""A mirror index over memory stores, in front of a scripted upstream."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.models import File, IndexConfig, Standing, User, decode_file
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import Arriving, ColdFile, Freshness
from pkgindex_core.testing.configs import changed_config, mirror_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_mirror.readthrough.files import (
    mirrored_files,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
    mirrored_metadata,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
    shared_fetches,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
)
from pkgindex_mirror.readthrough.pages import (
    base_urls,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
    refreshing,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
    refreshing_names,  # noqa: F401  # loaded here, since the deadlines of a test's first question are short
)
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream
from pkgindex_mirror.upstreams.upstream import UpstreamClient

INDEX = IndexName("root/mirror")
DEMO = ProjectName("demo")
LONG = 60.0
"""Seconds for which nothing that was learned is stored by itself: a test says when."""
# Fast enough for a test, slow enough for a machine that is busy with others.
SIZES = {"mirror_sizes": 20}
"""The option of an index that asks for sizes, as by default."""
QUICK: dict[str, Any] = {
    "wait": 5.0,
    "file_wait": 5.0,
    "connect_timeout": 2.0,
    "read_timeout": 0.4,
    "page_deadline": 2.5,
    "first_pause": 0.001,
}


class Mirror:
    """What a server would do with a refresher, in the words of a test."""

    def __init__(
        self,
        index: IndexConfig,
        store: IndexBehind,
        blobs: BlobsBehind,
        readthrough: ReadThrough,
        clock: ManualClock,
    ) -> None:
        self.index = index
        self.store = store
        self.behind = blobs
        self.readthrough = readthrough
        self.clock = clock

    @property
    def blobs(self) -> Any:
        """The blob store itself, which has what is stored."""
        return self.behind.inner

    async def settle(self) -> None:
        """Wait until everything that was learned is stored."""
        await self.store.settle()
        await self.behind.settle()

    async def sized(self) -> None:
        """Wait until the files without a size were asked about."""
        await asyncio.gather(*self.readthrough._sizes._tasks._running)
        await self.settle()

    async def standing(self, project: ProjectName = DEMO) -> Standing:
        (standing,) = await self.store.standings(project, [self.index.name])
        return standing

    async def refresh(self, project: ProjectName = DEMO) -> Freshness:
        try:
            return await self.readthrough.refresh(self.index, project, await self.standing(project))
        finally:
            await self.settle()

    async def is_fresh(self, project: ProjectName = DEMO) -> bool:
        return self.readthrough.is_current(self.index, project, await self.standing(project))

    async def files(self, project: ProjectName = DEMO) -> dict[str, File]:
        page = await self.store.page(self.index.name, project)
        return {row.filename: decode_file(row.body) for row in page.rows} if page else {}

    async def file(self, filename: str, project: ProjectName = DEMO) -> File:
        return (await self.files(project))[filename]

    async def fetch(self, filename: str, project: ProjectName = DEMO) -> ColdFile:
        return await self.readthrough._files.fetch(self.index, project, await self.file(filename, project))

    async def download(self, filename: str, project: ProjectName = DEMO) -> bytes:
        arriving = await self.fetch(filename, project)
        return b"".join([data async for data in arriving.read()])

    async def arrive(self, filename: str, project: ProjectName = DEMO) -> bytes:
        """Download a file as a client, and wait until everything that its arrival causes is done."""
        opened = await self.readthrough.open(self.index, project, await self.file(filename, project))
        assert isinstance(opened, Arriving)
        data = b"".join([data async for data in opened.file.read()])
        while running := self.readthrough._tasks._running:
            await asyncio.wait(set(running))
        await self.settle()
        return data

    async def sidecar(self, filename: str, project: ProjectName = DEMO) -> bytes:
        blob = await self.readthrough.metadata(self.index, project, await self.file(filename, project))
        await self.settle()
        return self.blobs.blobs[blob.sha256][0]

    async def changed(self, **changes: Any) -> Mirror:
        """The same mirror after its index was given another configuration."""
        config = changed_config(self.index, **changes)
        await self.store.apply([PutIndex(config)], who="test")
        return Mirror(config, self.store, self.behind, self.readthrough, self.clock)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


MakeMirror = Callable[..., Awaitable[Mirror]]


@pytest.fixture
async def make_mirror(clock: ManualClock, workers: ThreadPoolExecutor, tmp_path: Path) -> AsyncIterator[MakeMirror]:
    """`await make_mirror(url, **settings)`; `config=` changes the index, `of=` shares another mirror's stores."""
    made: list[Mirror] = []

    async def make(
        url: str,
        *,
        config: dict[str, Any] | None = None,
        of: Mirror | None = None,
        resolver: Any = None,
        **settings: Any,
    ) -> Mirror:
        store = of.store if of else IndexBehind(MemoryIndex(clock), linger=LONG)
        blobs = (
            of.behind
            if of
            else BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path / "staging"), clock=clock, linger=LONG)
        )
        # Questions in the background would make the order of requests and commits depend on chance.
        index = mirror_config(**{"name": INDEX, "url": url, "mirror_sizes": 0, **(config or {})})
        await store.apply([PutUser(User(name=owner(index.name))), PutIndex(index)], who="test")
        decoded = MirrorSettings(**{**QUICK, **settings})
        readthrough = ReadThrough(
            store=store,
            blob_store=blobs,
            clock=clock,
            workers=workers,
            data=tmp_path / "data",
            settings=decoded,
            client=UpstreamClient(decoded, clock, resolver=resolver) if resolver else None,
        )
        made.append(Mirror(index, store, blobs, readthrough, clock))
        return made[-1]

    yield make
    for mirror in made:
        await mirror.readthrough._tasks.close(grace=0.0)  # what a test left behind is not waited for
        await mirror.readthrough.close()
        await mirror.store.close()
        await mirror.behind.close()


class Certificates:
    """A certificate authority of our own, and server certificates that are right or wrong."""

    def __init__(self, directory: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = str(directory / "authority.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)

    def server(self, name: str) -> ssl.SSLContext:
        return self._context(self._authority.issue_cert(name))

    def expired(self, name: str) -> ssl.SSLContext:
        return self._context(self._authority.issue_cert(name, not_after=datetime(2020, 1, 1, tzinfo=UTC)))

    def _context(self, certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(context)
        return context


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))
