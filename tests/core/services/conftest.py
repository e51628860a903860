"""Services over the memory stores, a clock that only tests move, and a fake mirror that answers what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import Change, Commit, MirrorNames, MirrorPage, PutFile, PutIndex, PutUser, Requirement
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Missing, ReadOnly, Unavailable
from pkgindex_core.hookspecs import Context, Provider, hookimpl
from pkgindex_core.models import File, IndexConfig, PageHead, ProjectRow, Standing, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Blob, Freshness, Names, Opened, Redirect, Source
from pkgindex_core.protocols.sources import NOTHING_SPOOLED
from pkgindex_core.rules.kept_options import mirror_options
from pkgindex_core.testing.configs import index_config

PYPI = IndexName("root/pypi")
DEV = IndexName("root/dev")
PASSWORD = "correct horse"


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now(self) -> Timestamp:
        return Timestamp(int(self.seconds * 1_000_000))

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.seconds += seconds


class FakeSource:
    """A mirror's upstream, scripted: `pages` are what it has, `down` makes it unreachable, `gate` makes it slow."""

    def __init__(self, context: Context) -> None:
        assert context.index_store is not None
        self._store = context.index_store
        self.pages: dict[str, list[File]] = {}
        self.down = False
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None
        self.fresh: set[str] = set()

    def is_current(self, index: IndexConfig, project: ProjectName, standing: Standing) -> bool:
        return project in self.fresh

    async def refresh(
        self, index: IndexConfig, project: ProjectName, standing: Standing, *, again: bool = False
    ) -> Freshness:
        if project in self.fresh and not again:
            return Freshness(state="fresh" if standing.holds else "absent")
        self.asked.append(project)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            if standing.holds:
                return Freshness(state="stale", reason="the fake is down")
            raise Unavailable(f"{project} cannot be asked for")
        files = self.pages.get(project)
        if files is None:
            return Freshness(state="absent")
        if not standing.holds:
            await self._store.apply(
                [MirrorPage(index.name, project, PageHead(display_name=project), tuple(files))], who="[mirror]"
            )
        return Freshness(state="fresh")

    async def names(self, index: IndexConfig, *, ask: bool = True) -> Names:
        if mirror_options(index).no_project_list:

            async def asked_for(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
                yield [row for row in await self._store.projects(index.name) if row.name > after]

            return Names(read=asked_for, is_partial=True)
        if self.down and ask:
            raise Unavailable("the list cannot be asked for")
        known = {row.name async for batch in self._store.listed_names(index.name) for row in batch}
        new = tuple((ProjectName(name), name.title()) for name in self.pages if name not in known)
        if new and ask:
            await self._store.apply([MirrorNames(index.name, put=new)], who="[mirror]")
        listing = await self._store.listing(index.name)

        def read(after: str) -> AsyncIterator[Sequence[ProjectRow]]:
            return self._store.listed_names(index.name, after=after)

        return Names(read=read, stamp=listing.stamp, is_whole=listing.is_whole)

    async def open(self, index: IndexConfig, project: ProjectName, file: File, *, elsewhere: bool = True) -> Opened:
        if elsewhere and mirror_options(index).use_external_urls and file.url:
            return Redirect(file.url)
        raise Missing("file", file.filename)

    async def metadata(self, index: IndexConfig, project: ProjectName, file: File) -> Blob:
        raise Missing("metadata file", file.filename)

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
        self.asked.clear()


class FakeMirror:
    """The plugin that offers the fake."""

    def __init__(self) -> None:
        self.source: FakeSource | None = None

    @hookimpl
    def pkgindex_sources(self) -> list[Provider[Source]]:
        async def make(context: Context) -> FakeSource:
            self.source = FakeSource(context)
            return self.source

        return [Provider(name="mirror", summary="a fake", make=make)]


class World:
    """An engine with its clock and fake mirror."""

    def __init__(self, engine: Engine, clock: MovedClock, mirror: FakeSource) -> None:
        self.engine = engine
        self.clock = clock
        self.mirror = mirror

    async def index(self, name: str, **options: Any) -> IndexName:
        config = index_config(name, **options)
        await self.engine.store.apply([PutIndex(config)], who="[test]")
        return config.name

    async def user(self, name: str, password: str = PASSWORD) -> None:
        hashed = await self.engine.passwords.hash(password)
        await self.engine.store.apply([PutUser(User(name=name, password_hash=hashed))], who="[test]")

    async def put(self, index: str, project: str, filename: str, **fields: Any) -> File:
        file = replace(hosted_file(filename), **fields)
        await self.engine.store.apply([PutFile(IndexName(index), ProjectName(project), file)], who="[test]")
        return file


def hosted_file(filename: str, digit: str = "a") -> File:
    return File(
        filename=filename,
        version=filename.split("-")[1].removesuffix(".tar.gz"),
        digests={"sha256": digit * 64},
        size=1,
    )


Open = Callable[..., Any]


@pytest.fixture
def open_world(tmp_path: Path) -> Open:
    """`async with open_world() as world`: root/dev over root/pypi, and the fake behind it."""

    @asynccontextmanager
    async def start(*, plugins: Sequence[object] = (), **options: Any) -> AsyncIterator[World]:
        clock = MovedClock()
        fake = FakeMirror()
        given: dict[str, Any] = {"data": tmp_path, "store": "memory://", "blobs": "memory://", **options}
        loaded = load_plugins(extra=[fake, *plugins], disabled=["pkgindex"])
        async with Engine.open(Settings(**given), plugins=loaded, clock=clock) as engine:
            await engine.prepare()
            assert fake.source is not None
            yield World(engine, clock, fake.source)

    return start


@pytest.fixture
def workers() -> Any:
    with ThreadPoolExecutor(2) as executor:
        yield executor
