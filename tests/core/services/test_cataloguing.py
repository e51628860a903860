"""The catalogue follows the store: whatever happens, and wherever it is interrupted, it has what a new one would have."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import zipfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropMirrorPage,
    DropProject,
    MirrorNames,
    MirrorPage,
    PutFile,
    PutIndex,
    PutRelease,
    PutUser,
)
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.catalogue import MemoryCatalogue
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.sqlite.catalogue import FILE, SqliteCatalogue
from pkgindex_core.errors import PkgIndexError
from pkgindex_core.models import File, IndexConfig, PageHead, Release, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.catalogue import SearchCatalogue, SearchEntry, SearchQuery
from pkgindex_core.rules.searching.queries import read_query
from pkgindex_core.services.administering import cataloguing
from pkgindex_core.services.administering.catalogue_entries import members_of
from pkgindex_core.services.administering.catalogue_following import CatalogueFollower
from pkgindex_core.services.administering.cataloguing import Cataloguing
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.wheels import build_wheel

DEV, MIRROR = IndexName("ann/dev"), IndexName("root/pypi")
NAMES = [ProjectName(f"{word}-{number}") for word in ("alpha", "beta") for number in range(4)]


class World:
    """A store, and what is needed to catalogue it."""

    def __init__(self, directory: Path, workers: ThreadPoolExecutor) -> None:
        clock = SystemClock()
        self.store = MemoryIndex(clock)
        self.blobs = MemoryBlobs(clock=clock, spools=directory / "staging")
        self.workers = workers

    def cataloguing(self, catalogue: SearchCatalogue) -> Cataloguing:
        return Cataloguing(store=self.store, blobs=self.blobs, catalogue=catalogue, workers=self.workers)

    async def apply(self, *changes: Change) -> None:
        """Commit changes, if they fit."""
        with suppress(PkgIndexError):
            await self.store.apply(changes, who="[test]")

    async def begin(self) -> None:
        await self.apply(PutUser(User(name="ann")), PutUser(User(name="root")))
        await self.apply(
            PutIndex(IndexConfig(name=DEV)), PutIndex(mirror_config(MIRROR, "https://upstream.example/simple/"))
        )

    async def happen(self, chance: random.Random) -> None:
        """Commit something."""
        name = chance.choice(NAMES)
        version = f"{chance.randint(1, 3)}.0"
        file = File(
            filename=f"{name.replace('-', '_')}-{version}.zip", version=version, digests={"sha256": "0" * 64}, size=1
        )
        summary = chance.choice(("one", "two")).encode()
        events: list[Callable[[], list[Change]]] = [
            lambda: [
                PutFile(DEV, name, file),
                PutRelease(DEV, name, Release(version=version, metadata=b'{"summary": "%s"}' % summary)),
            ],
            lambda: [DropProject(DEV, name)],
            lambda: [MirrorNames(MIRROR, put=tuple((each, each.title()) for each in chance.sample(NAMES, 3)))],
            lambda: [MirrorNames(MIRROR, drop=(name,))],
            lambda: [MirrorPage(MIRROR, name, PageHead(display_name=name), put=(file,))],
            lambda: [DropMirrorPage(MIRROR, name)],
            lambda: [DropIndex(MIRROR)],
            lambda: [DropIndex(DEV), PutIndex(IndexConfig(name=DEV)), PutFile(DEV, name, file)],
            lambda: [PutIndex(mirror_config(MIRROR, "https://upstream.example/simple/"))],
        ]
        (event,) = chance.choices(events, weights=(8, 2, 3, 2, 4, 2, 1, 1, 1))
        await self.apply(*event())


async def content(catalogue: SearchCatalogue) -> dict[tuple[str, str], SearchEntry]:
    """All entries; each once."""
    found = await catalogue.find(SearchQuery(), {DEV, MIRROR}, limit=10_000)
    entries = {(each.entry.index, each.entry.project): each.entry for each in found}
    assert len(entries) == len(found)
    return entries


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with ThreadPoolExecutor(2) as workers:
        made = World(tmp_path, workers)
        await made.begin()
        yield made
        await made.store.close()
        await made.blobs.close()


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PROJECTS", "_NAMES", "_COMMITS", "_TOUCHED"):
        monkeypatch.setattr(cataloguing, name, 2)


@pytest.mark.parametrize("seed", range(12))
async def test_it_has_what_a_new_one_would_have(world: World, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    catalogue: SearchCatalogue = SqliteCatalogue(tmp_path / FILE)
    followed = world.cataloguing(catalogue)
    for _ in range(60):
        await world.happen(chance)
        if chance.random() < 0.5:
            await followed.step()
        if chance.random() < 0.1:  # a restart
            await catalogue.close()
            catalogue = SqliteCatalogue(tmp_path / FILE)
            followed = world.cataloguing(catalogue)
    await followed.caught_up()
    anew = MemoryCatalogue()
    await world.cataloguing(anew).caught_up()
    assert await content(catalogue) == await content(anew)
    progress = await catalogue.progress()
    assert (progress.serial, progress.walking) == (await world.store.head(), None)
    await catalogue.close()


async def test_two_at_once_do_nothing_twice(world: World, tmp_path: Path) -> None:
    chance = random.Random(1)
    first, second = SqliteCatalogue(tmp_path / FILE), SqliteCatalogue(tmp_path / FILE)
    several = [world.cataloguing(first), world.cataloguing(second)]
    for _ in range(40):
        await world.happen(chance)
        await asyncio.gather(*(each.step() for each in several))
    while any([await each.step() for each in several]):
        pass
    anew = MemoryCatalogue()
    await world.cataloguing(anew).caught_up()
    assert await content(first) == await content(second) == await content(anew)
    await first.close()
    await second.close()


async def test_one_process_leads_and_another_takes_over(tmp_path: Path) -> None:
    first, second = SqliteCatalogue(tmp_path / FILE), SqliteCatalogue(tmp_path / FILE)
    assert await first.lead()
    assert not await second.lead()
    await first.close()
    assert await second.lead()
    await second.close()


async def test_another_store_is_begun_anew(world: World, tmp_path: Path) -> None:
    catalogue = MemoryCatalogue()
    await world.apply(
        PutFile(DEV, NAMES[0], File(filename="alpha_0-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1))
    )
    await world.cataloguing(catalogue).caught_up()
    other = World(tmp_path, world.workers)
    await other.apply(PutUser(User(name="ann", password_hash="x")), PutIndex(IndexConfig(name=DEV)))
    await other.cataloguing(catalogue).caught_up()
    assert await content(catalogue) == {}


async def test_a_wheel_tells_what_it_gives_to_import(world: World) -> None:
    wheel = build_wheel("demo_pack", "1.0")
    blob = await world.blobs.put(wheel.data)
    file = File(filename=wheel.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size)
    await world.apply(
        PutFile(DEV, ProjectName("demo-pack"), file), PutRelease(DEV, ProjectName("demo-pack"), Release(version="1.0"))
    )
    catalogue = MemoryCatalogue()
    await world.cataloguing(catalogue).caught_up()
    (found,) = await catalogue.find(read_query("import:demo_pack"), {DEV})
    assert found.entry.imports == ("demo_pack",)


async def test_metadata_of_mirrors_is_known_when_its_sidecar_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cataloguing, "_LATER_SECONDS", (0.0, 0.0))
    wheel = build_wheel("demo", "1.0")
    sidecar = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nSummary: Late words\nRequires-Dist: numpy\n"
    key = (await world.blobs.put(sidecar)).sha256
    await world.blobs.drop(key)
    file = File(filename=wheel.filename, version="1.0", url="https://x.example/demo.whl", metadata_sha256=key)
    await world.apply(MirrorPage(MIRROR, ProjectName("demo"), PageHead(display_name="Demo"), put=(file,)))
    catalogue = MemoryCatalogue()
    followed = world.cataloguing(catalogue)
    for _ in range(8):
        await followed.step()
    assert await catalogue.find(read_query("depends:numpy"), {MIRROR}) == []
    assert [each.entry.version for each in await catalogue.find(read_query("demo"), {MIRROR})] == ["1.0"]
    await world.blobs.put(sidecar)
    await world.apply(MirrorNames(MIRROR, put=((ProjectName("other"), "other"),)))
    await followed.caught_up()
    followed._later[MIRROR, ProjectName("demo")] = (0.0, 0)
    await followed.step()
    (found,) = await catalogue.find(read_query("depends:numpy"), {MIRROR})
    assert found.entry.summary == "Late words"


async def test_the_follower_notices_commits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from pkgindex_core.services.administering import catalogue_following

    for name in ("_FIRST_SECONDS", "_COLLECT_SECONDS"):
        monkeypatch.setattr(catalogue_following, name, 0.0)
    catalogue = MemoryCatalogue()
    follower = CatalogueFollower(lambda: world.cataloguing(catalogue), world.store)
    task = asyncio.create_task(follower.follow())
    await world.apply(
        PutFile(DEV, NAMES[0], File(filename="alpha_0-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1))
    )
    async with asyncio.timeout(20):
        while not await catalogue.find(read_query("alpha"), {DEV}):
            await asyncio.sleep(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await follower.close()


async def test_the_follower_rests_in_proportion_to_its_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An update reads all files of a touched project, so uploads into a large one must not each cause an update."""
    from pkgindex_core.services.administering import catalogue_following

    wake, rests, reads = asyncio.sleep, list[float](), itertools.count()
    catalogue = MemoryCatalogue()
    followed = world.cataloguing(catalogue)
    await followed.caught_up()
    file = File(filename="alpha_0-1.0.zip", version="1.0", digests={"sha256": "0" * 64}, size=1)
    await world.apply(PutFile(DEV, NAMES[0], file))

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        await wake(0)

    monkeypatch.setattr(catalogue_following, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(catalogue_following, "time", SimpleNamespace(monotonic=lambda: float(next(reads))))
    monkeypatch.setattr(catalogue_following.asyncio, "sleep", rest)
    task = asyncio.create_task(CatalogueFollower(lambda: followed, world.store).follow())
    async with asyncio.timeout(20):
        while catalogue_following._REST not in rests:
            await wake(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("damage", [(b"\xc3\xa9", b"\xff\xff"), (b"PK\x05\x06", b"PK\x00\x00")], ids=["name", "end"])
def test_a_wheel_that_cannot_be_read_has_no_names(damage: tuple[bytes, bytes]) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("\xe9.py", "")
    assert members_of(made) == ["\xe9.py"]
    assert members_of(io.BytesIO(made.getvalue().replace(*damage))) == ()
