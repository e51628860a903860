"""A store is copied into other stores while it is written to, goes on after a stop, and is whole at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import DropFile
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Refused
from pkgindex_core.models import Serial
from pkgindex_core.services.moving.migrating import Migrated
from tests.core.services.test_backups import DEMO, DEV, PLUGINS, fill, put, silent
from tests.object_stores import seaweedfs

Opened = Callable[..., AbstractAsyncContextManager[Engine]]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """`opened("a", blobs="b")`: the index store `a` with the blobs `b`, which may be a URL."""

    @asynccontextmanager
    async def open_engine(
        store: str, *, blobs: str = "", restoring: str = "", create: bool = True
    ) -> AsyncIterator[Engine]:
        place = blobs if "://" in blobs else f"file://{tmp_path}/{blobs or store}"
        settings = Settings(data=tmp_path / "data", store=f"sqlite://{tmp_path}/{store}.sqlite", blobs=place)
        async with Engine.open(settings, plugins=PLUGINS, mirrors=False, create=create, restoring=restoring) as engine:
            yield engine

    return open_engine


async def migrate(source: Engine, opened: Opened, store: str, *, blobs: str = "", cached: bool = True) -> Migrated:
    identity = await source.uuid()
    async with opened(store, blobs=blobs, restoring=identity) as target:
        return await source.migrating.migrate(
            target.store, target.blobs, identity=identity, cached=cached, progress=silent
        )


async def state(engine: Engine) -> tuple[Any, ...]:
    """Commits, and what is served."""
    commits = await engine.store.commits(Serial(0), limit=1000)
    return await engine.uuid(), commits, await engine.store.page(DEV, DEMO)


async def own(engine: Engine) -> set[str]:
    return {blob.sha256 async for blob in engine.blobs.own().walk()}


async def test_both_halves_are_copied_and_what_is_new_is_added(opened: Opened) -> None:
    async with opened("a") as source:
        await fill(source)
        await source.blobs.put(b"unused")
        copies = await source.blobs.copies()
        assert copies is not None
        await copies.put(b"fetched")
        done = await migrate(source, opened, "b")
        assert (done.head, done.commits, done.blobs, done.lost) == (9, 9, 13, [])
        await put(source, 6)
        await source.store.apply([DropFile(DEV, DEMO, "demo-1-py3-none-any.whl")], who="anna")
        done = await migrate(source, opened, "b")
        assert (done.head, done.commits, done.blobs) == (11, 2, 2)
        assert await migrate(source, opened, "b") == Migrated(head=Serial(11))
        async with opened("b") as target:
            assert await state(target) == await state(source)
            assert await own(target) == await own(source) - {sha256_of(b"unused")}
            assert await target.blobs.stat(sha256_of(b"fetched")) is not None


async def test_no_server_opens_a_store_before_its_first_copy_is_whole(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would ask upstreams for the private names that it does not know yet."""
    monkeypatch.setattr("pkgindex_core.services.moving.migrating._BATCH", 2)
    async with opened("a") as source:
        await fill(source)
        for _ in range(2):
            failpoints.arm("migrate.replayed=raise:ENOSPC")
            with pytest.raises(OSError, match="space"):
                await migrate(source, opened, "b")
            failpoints.disarm()
            with pytest.raises(Refused, match="migration into this store has not ended"):
                async with opened("b"):
                    pass
        await migrate(source, opened, "b")
        async with opened("b") as target:
            assert await state(target) == await state(source)
        for number in range(6, 10):
            await put(source, number)
        failpoints.arm("migrate.replayed=raise:ENOSPC")
        with pytest.raises(OSError, match="space"):
            await migrate(source, opened, "b")
        failpoints.disarm()
        async with opened(
            "b"
        ) as target:  # a later copy may be begun on at once: it is a whole index of an earlier time
            assert await target.store.head() == 11
        assert (await migrate(source, opened, "b")).commits == 2


async def test_a_store_without_its_first_commit_is_no_missing_store(opened: Opened) -> None:
    """A hint to make a store there would be a wrong one."""
    async with opened("a") as source:
        await fill(source)
        failpoints.arm("migrate.blobs_kept=raise:ENOSPC")
        with pytest.raises(OSError, match="space"):
            await migrate(source, opened, "b")
        failpoints.disarm()
        with pytest.raises(Refused, match="migration into this store has not ended"):
            async with opened("b", create=False):
                pass


@pytest.mark.parametrize("cached", [True, False])
async def test_one_half_may_be_shared(opened: Opened, cached: bool) -> None:
    async with opened("a") as source:
        await fill(source)
        assert (await migrate(source, opened, "a", blobs="b", cached=cached)).commits == 0
        assert (await migrate(source, opened, "c", blobs="a", cached=cached)).blobs == 0
        for store, blobs in (("a", "b"), ("c", "a"), ("c", "b")):
            async with opened(store, blobs=blobs) as target:
                assert await state(target) == await state(source)
                assert await own(target) == await own(source)


async def test_a_bucket_and_back(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await asyncio.to_thread(seaweedfs, tmp_path / "s3")
    if server is None:
        pytest.skip("the server is not installed")
    try:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        async with opened("a") as source:
            await fill(source)
            assert (await migrate(source, opened, "a", blobs=f"{server.url}/there")).blobs == 12
        async with opened("a", blobs=f"{server.url}/there") as there:
            assert (await migrate(there, opened, "back")).blobs == 12
        async with opened("a") as source, opened("back") as back:
            assert await state(back) == await state(source)
            assert await own(back) == await own(source)
    finally:
        server.kill()


async def test_missing_and_damaged_bytes_are_told(opened: Opened, tmp_path: Path) -> None:
    async with opened("a") as source:
        await fill(source)
        await source.blobs.own().drop(sha256_of(b"file 1"))
        damaged = sha256_of(b"file 2")
        (tmp_path / "a" / "sha256" / damaged[:2] / damaged).write_bytes(b"file 3")
        done = await migrate(source, opened, "b")
        assert [told.partition(" in ")[0] for told in done.lost] == [
            "demo-1-py3-none-any.whl",
            "demo-2-py3-none-any.whl",
        ]
        await source.blobs.put(b"file 1")
        await source.blobs.put(b"file 2")
        done = await migrate(source, opened, "b")
        assert (done.blobs, done.lost) == (2, [])


async def test_stores_that_have_parted_are_not_mixed(opened: Opened) -> None:
    async with opened("a") as source:
        await fill(source)
        await migrate(source, opened, "b")
        async with opened("b") as target:
            await put(target, 7)
        with pytest.raises(Conflict, match="commits of its own"):
            await migrate(source, opened, "b")
        await put(source, 8)
        with pytest.raises(Conflict, match="commits of its own"):
            await migrate(source, opened, "b")


async def test_another_index_is_not_overwritten(opened: Opened) -> None:
    async with opened("a") as source, opened("b") as other:
        await fill(source)
        await fill(other)
    async with opened("a") as source:
        for store, blobs in (("b", "b"), ("new", "b"), ("b", "new")):
            with pytest.raises((Conflict, Refused)):
                await migrate(source, opened, store, blobs=blobs)


async def test_shared_files_are_not_cleared_by_either_index(opened: Opened) -> None:
    """Each of them would miss the rows of the other."""
    async with opened("a") as source:
        await fill(source)
        await migrate(source, opened, "b", blobs="a/")
        async with opened("b", blobs="a") as target:
            await put(target, 9)
            for engine in (source, target):
                for dry_run in (True, False):
                    with pytest.raises(Refused, match="shared with a copy of this index"):
                        await engine.clearing.clear(grace=0, dry_run=dry_run, progress=silent)
            told = await target.clearing.clear(grace=0, dry_run=False, progress=silent, is_only_index=True)
            assert told.unused == 0
            assert (await target.clearing.clear(grace=0, dry_run=False, progress=silent)).unused == 0
        with pytest.raises(Refused, match="shared"):
            await source.clearing.clear(grace=0, dry_run=False, progress=silent)


async def test_files_of_their_own_are_cleared(opened: Opened) -> None:
    async with opened("a") as source:
        await fill(source)
    async with opened("a") as source:  # its blobs are marked now
        await migrate(source, opened, "a", blobs="b")
        assert (await source.clearing.clear(grace=0, dry_run=False, progress=silent)).unused == 0
