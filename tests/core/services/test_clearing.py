"""Unused blobs are removed after a grace, and none that a row names or is about to name, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import Change, DropFile, MirrorPage, PutAttachment, PutFile, PutIndex, PutUser
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Refused, Unavailable
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import Attachment, File, PageHead, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.administering.clearing import LEASE_SECONDS, Clearing
from pkgindex_core.services.administering.clearing_run import Cleared, ClearingRun
from pkgindex_core.testing.configs import index_config, mirror_config
from pkgindex_core.tools import clearing, leases
from tests.core.services.conftest import DEV, PYPI, MovedClock
from tests.steps import steps

DEMO = ProjectName("demo")
OTHER = IndexName("root/other")
DAY = 86_400.0
NAME = "demo-1.0-py3-none-any.whl"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


Opened = Callable[[], Any]


@pytest.fixture
def opened(tmp_path: Path, clock: MovedClock) -> Opened:
    """Opens the same store, as another process does."""
    return lambda: Engine.open(Settings(data=tmp_path), mirrors=False, clock=clock)


@pytest.fixture
async def server(opened: Opened) -> AsyncIterator[Engine]:
    async with opened() as engine:
        indexes = [PutIndex(index_config(name)) for name in (DEV, OTHER)]
        await engine.store.apply([PutUser(User(name="root")), *indexes, PutIndex(mirror_config(PYPI))], who="[test]")
    async with opened() as engine:  # and now its blobs are marked
        yield engine


@pytest.fixture
async def other(server: Engine, opened: Opened) -> AsyncIterator[Engine]:
    async with opened() as engine:
        yield engine


async def clear(engine: Engine, *, grace: float = DAY, dry_run: bool = False) -> Cleared:
    return await engine.clearing.clear(grace=grace, dry_run=dry_run, progress=lambda *_: None)


def row(data: bytes, *, filename: str = NAME, metadata: bytes | None = None) -> File:
    sidecar = sha256_of(metadata) if metadata is not None else None
    return File(filename=filename, digests={"sha256": sha256_of(data)}, size=len(data), metadata_sha256=sidecar)


async def commit(engine: Engine, *changes: Change) -> None:
    await engine.store.apply(changes, who="[test]")


async def upload(engine: Engine, data: bytes, index: IndexName = DEV) -> None:
    await engine.blobs.put(data)
    await commit(engine, PutFile(index, DEMO, row(data), "demo"))


async def is_stored(engine: Engine, data: bytes) -> bool:
    return await engine.blobs.own().stat(sha256_of(data)) is not None


def before_drop(engine: Engine, do: Callable[[Sha256], Awaitable[None]]) -> None:
    """Do something just before the first blob is removed: the rows were read, and the removal is announced."""
    own: Any = engine.blobs.own()
    drop = own.drop

    async def later(key: Sha256, *, modified: float | None = None) -> bool:
        own.drop = drop
        await do(key)
        return bool(await drop(key, modified=modified))

    own.drop = later


def before_reading_commits(engine: Engine, do: Callable[[], Awaitable[None]]) -> None:
    """Do something after a removal was announced, and before the commits since the rows were read are read."""
    store: Any = engine.store
    commits = store.commits

    async def later(after: int, *, limit: int = 1000) -> Any:
        if after:  # the first commit is read for the identity of the store
            del store.commits
            await do()
        return await commits(after, limit=limit)

    store.commits = later


async def test_what_a_row_names_stays_and_the_rest_goes_after_the_grace(
    server: Engine, other: Engine, clock: MovedClock
) -> None:
    kept = [b"file", b"sidecar", b"attachment", b"mirrored sidecar", b"mirrored sidecar of a page in one piece"]
    for data in (*kept, b"refused", b"deleted", b"replaced"):
        await server.blobs.put(data)
    docs = Attachment(
        kind="doczip",
        filename="demo-1.doc.zip",
        version="1",
        sha256=sha256_of(b"attachment"),
        size=10,
        added=clock.now(),
    )
    await commit(
        server,
        PutFile(DEV, DEMO, row(b"replaced"), "demo"),
        PutFile(DEV, DEMO, row(b"file", metadata=b"sidecar"), "demo"),
        PutFile(DEV, DEMO, row(b"deleted", filename="demo-2.zip"), "demo"),
        PutAttachment(DEV, DEMO, docs),
        MirrorPage(PYPI, DEMO, PageHead(), put=(row(b"far", metadata=b"mirrored sidecar"),)),
        MirrorPage(
            PYPI, ProjectName("one"), PageHead(), kept=keep(ProjectName("one"), [row(b"far", metadata=kept[-1])]).kept
        ),
        DropFile(DEV, DEMO, "demo-2.zip"),
    )
    told = await clear(other, dry_run=True)
    assert (told.blobs, told.unused, told.condemned, told.waiting, told.removed) == (8, 3, 3, 0, 0)
    assert await clear(other) == told, "the dry run changed nothing"
    clock.move(DAY - 1)
    told = await clear(other)
    assert (told.condemned, told.waiting, told.removed) == (0, 3, 0)
    clock.move(1)
    told = await clear(other, dry_run=True)
    assert (told.removed, told.removed_bytes) == (3, len(b"refused" + b"deleted" + b"replaced"))
    assert await clear(other) == told
    assert [await is_stored(server, data) for data in kept] == [True] * 5
    assert [await is_stored(server, data) for data in (b"refused", b"deleted", b"replaced")] == [False] * 3
    assert await clear(other, grace=0) == Cleared(blobs=5, bytes=told.bytes - told.removed_bytes)


async def test_the_grace_is_by_the_clock_of_the_store(server: Engine, other: Engine, clock: MovedClock) -> None:
    wrong = MovedClock()
    wrong.move(2 * DAY)
    ahead = Clearing(store=other.store, blobs=other.blobs, clock=wrong)
    await server.blobs.put(b"unused")
    for run in (server.clearing, ahead, server.clearing):
        told = await run.clear(grace=DAY, dry_run=False, progress=lambda *_: None)
        assert (told.condemned + told.waiting, told.removed) == (1, 0)
    clock.move(DAY)
    assert (await clear(server)).removed == 1


async def test_an_upload_of_the_same_bytes_revives_them(server: Engine, other: Engine, clock: MovedClock) -> None:
    await server.blobs.put(b"again")
    await clear(other)
    clock.move(DAY)
    await upload(server, b"again")
    assert (await clear(other)).revived == 1
    await commit(server, DropFile(DEV, DEMO, NAME))
    assert (await clear(other)).condemned == 1, "the grace begins anew"
    clock.move(DAY - 1)
    await server.blobs.put(b"again")
    clock.move(1)
    told = await clear(other)
    assert (told.condemned, told.revived, told.removed) == (1, 1, 0), "it was stored again, and may get a row yet"
    clock.move(DAY)
    assert (await clear(other)).removed == 1


async def test_without_a_clearing_each_upload_is_one_commit(server: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    store: Any = server.store
    apply = store.inner.apply

    async def counted(changes: Sequence[Change], **options: Any) -> Any:
        asked.append(changes)
        return await apply(changes, **options)

    monkeypatch.setattr(store.inner, "apply", counted)
    for data in (b"one", b"two", b"three"):
        await upload(server, data)
    assert len(asked) == 3


async def test_a_row_that_is_committed_in_time_keeps_its_blob(server: Engine, other: Engine) -> None:
    """The commit is before the announcement, or between it and the reading of the commits."""
    await server.blobs.put(b"slow")

    async def push() -> None:
        """As another server may do whose file has been there all the time."""
        store: Any = server.store
        await store.inner.apply([PutFile(OTHER, DEMO, row(b"slow"), "demo")], who="[test]")

    before_reading_commits(other, push)
    told = await clear(other, grace=0)
    assert (told.removed, told.revived) == (0, 1)
    assert await is_stored(server, b"slow")


async def test_an_upload_whose_bytes_are_gone_fails_before_anything_is_changed(server: Engine, other: Engine) -> None:
    """It kept its blob before the clearing found it unused, and stood still for the whole grace."""
    await server.blobs.put(b"slow")
    assert (await clear(other, grace=0)).removed == 1
    with pytest.raises(Unavailable, match="removed as unused") as refused:
        await commit(server, PutFile(DEV, DEMO, row(b"slow"), "demo"))
    assert refused.value.hint == "send them again"
    assert await server.store.file(DEV, DEMO, NAME) is None
    await upload(server, b"slow")
    assert await is_stored(server, b"slow")


async def test_a_commit_waits_for_the_removal_of_its_blob(server: Engine, other: Engine) -> None:
    await server.blobs.put(b"slow")
    committing: list[asyncio.Task[None]] = []

    async def begin(_: Sha256) -> None:
        committing.append(asyncio.create_task(commit(server, PutFile(DEV, DEMO, row(b"slow"), "demo"))))
        await upload(server, b"other", OTHER)
        assert not committing[0].done()

    before_drop(other, begin)
    assert (await clear(other, grace=0)).removed == 1
    with pytest.raises(Unavailable, match="removed as unused"):
        await committing[0]
    assert await server.store.file(DEV, DEMO, NAME) is None


async def test_bytes_that_are_sent_again_during_their_removal_stay(
    server: Engine, other: Engine, clock: MovedClock
) -> None:
    """The medium can tell that the blob was stored again."""
    await server.blobs.put(b"again")

    async def send(_: Sha256) -> None:
        clock.move(1)
        await server.blobs.put(b"again")

    before_drop(other, send)
    told = await clear(other, grace=0)
    assert (told.removed, told.revived) == (0, 1)
    await commit(server, PutFile(DEV, DEMO, row(b"again"), "demo"))
    assert (await clear(other, grace=0)).unused == 0


async def test_other_uploads_go_on_during_a_removal(server: Engine, other: Engine) -> None:
    await server.blobs.put(b"unused")

    async def send(_: Sha256) -> None:
        await upload(server, b"other")
        await upload(server, b"once more", OTHER)

    before_drop(other, send)
    assert (await clear(other, grace=0)).removed == 1
    assert await is_stored(server, b"other")
    await upload(server, b"later")


async def test_one_clearing_runs_at_a_time(server: Engine, other: Engine) -> None:
    await server.blobs.put(b"unused")
    refused: list[str] = []

    async def begin(_: Sha256) -> None:
        with pytest.raises(Conflict) as caught:
            await clear(server, grace=0)
        refused.append(caught.value.message)

    before_drop(other, begin)
    assert (await clear(other, grace=0)).removed == 1
    assert refused == ["another gc of this store is running"]


async def test_one_that_lost_its_lease_announces_nothing_more(server: Engine, other: Engine) -> None:
    before = await clearing.announced(server.store)
    await clearing.announce(other.store, before, "other", [])
    with pytest.raises(Conflict, match="another gc"):
        await clearing.announce(server.store, before, "mine", [])


async def test_the_announcement_of_a_killed_one_ends_with_its_lease(
    server: Engine, other: Engine, clock: MovedClock
) -> None:
    assert await leases.acquire(other.store, clearing.LEASE, "killed", seconds=LEASE_SECONDS) is not None
    before = await clearing.announced(other.store)
    await server.blobs.put(b"again")
    await clearing.announce(other.store, before, "killed", [sha256_of(b"again")])
    with pytest.raises(Conflict, match="another gc"):
        await clear(server, grace=0)
    clock.move(LEASE_SECONDS)
    await commit(server, PutFile(DEV, DEMO, row(b"again"), "demo"))
    assert (await clear(server, grace=0)).unused == 0
    assert (await clearing.announced(server.store)).keys == frozenset()


async def test_blobs_that_another_index_took_over_are_left_alone(server: Engine, other: Engine) -> None:
    await server.blobs.put(b"whose")
    await server.blobs.claim("0" * 32, instead=True)
    for dry_run in (True, False):
        with pytest.raises(Refused, match="belong to another index too"):
            await clear(other, grace=0, dry_run=dry_run)
    assert await is_stored(server, b"whose")


async def test_copies_of_mirrors_are_left_alone(server: Engine, other: Engine) -> None:
    copies = await server.blobs.copies()
    assert copies is not None
    blob = await copies.put(b"a copy")
    assert (await clear(other, grace=0)).blobs == 0
    assert await copies.stat(blob.sha256) is not None


async def test_servers_clear_so_long_after_the_last_clearing_of_any_of_them(
    server: Engine, other: Engine, clock: MovedClock
) -> None:
    def background(engine: Engine) -> Any:
        return steps(lambda pause: engine.clearing.keep_on(every=DAY, grace=DAY, pause=pause))

    await server.blobs.put(b"unused")
    async with background(server) as look, background(other) as other_look:
        await look()
        assert await clearing.last_end(other.store) == clock.now()
        clock.move(DAY - 1)
        await other_look()
        assert await is_stored(server, b"unused")
        clock.move(1)
        lease = await leases.acquire(server.store, clearing.LEASE, "a third one", seconds=LEASE_SECONDS)
        assert lease is not None
        await other_look()
        assert await is_stored(server, b"unused")
        assert await leases.release(server.store, lease)
        await other_look()
        assert not await is_stored(server, b"unused")
        clock.move(DAY - 1)
        await server.blobs.put(b"unused again")
        await look()
        assert (await clear(server, dry_run=True)).waiting == 0


async def test_a_clearing_that_is_refused_again_and_again_is_told_once(
    server: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await clearing.share(server.store)
    async with steps(lambda pause: server.clearing.keep_on(every=DAY, grace=DAY, pause=pause)) as look:
        for _ in range(3):
            await look()
    assert caplog.text.count("the removal of unused files is interrupted: the files are shared") == 1


async def test_one_whose_lease_has_ended_removes_nothing_more(server: Engine, other: Engine, clock: MovedClock) -> None:
    """It was stopped between its announcement and the removal; the bytes were uploaded again meanwhile."""
    await server.blobs.put(b"unused")
    lease = await leases.acquire(server.store, clearing.LEASE, "stopped", seconds=LEASE_SECONDS)
    assert lease is not None
    held = leases.HeldLease(server.store, lease, seconds=0, asked=asyncio.get_running_loop().time())
    run = ClearingRun(server.store, server.blobs, clock, 0, lambda *_: None)

    async def owned() -> None: ...

    with pytest.raises(Unavailable, match="the lease of clearing has ended"):
        await run.done(owned, held)
    assert await is_stored(server, b"unused")
