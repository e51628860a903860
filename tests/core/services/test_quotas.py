"""Uploads and pushes to an index with quotas: what is refused leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import QuotaExceeded, TooLarge
from pkgindex_core.models import User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.configs import index_config
from pkgindex_core.testing.wheels import build_wheel
from tests.core.services.conftest import DEV
from tests.core.services.test_retaining import published

PROD = IndexName("root/prod")
DEMO = ProjectName("demo")
ROOT = Principal(name="root")
WHEEL = build_wheel("demo", "1.0")


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with Engine.open(Settings(data=tmp_path), mirrors=False) as opened:
        indexes = [PutIndex(index_config(name)) for name in (DEV, PROD)]
        await opened.store.apply([PutUser(User(name="root")), *indexes], who="[test]")
        yield opened


async def bound(engine: Engine, index: IndexName = DEV, **options: Any) -> None:
    await engine.indexes.modify(index, options, principal=ROOT)


async def blobs(engine: Engine) -> int:
    return len([blob async for blob in engine.blobs.walk()])


@pytest.mark.parametrize(
    ("option", "error"),
    [("max_file_bytes", TooLarge), ("max_project_bytes", QuotaExceeded), ("max_index_bytes", QuotaExceeded)],
)
async def test_a_refused_upload_stores_nothing(engine: Engine, option: str, error: type[Exception]) -> None:
    await bound(engine, **{option: WHEEL.size - 1})
    head = await engine.store.head()
    with pytest.raises(error):
        await published(engine, WHEEL)
    assert (await engine.store.head(), await blobs(engine)) == (head, 0)
    await bound(engine, **{option: WHEEL.size})
    await published(engine, WHEEL)
    assert await engine.store.stored_bytes(DEV) == WHEEL.size


async def test_a_large_file_is_refused_while_it_comes(engine: Engine) -> None:
    await bound(engine, max_file_bytes=10)
    async with engine.uploads.receive(DEV, ROOT) as upload:
        await upload.begin_content(WHEEL.filename)
        await upload.write(b"0123456789")
        with pytest.raises(TooLarge):
            await upload.write(b"x")


async def test_the_same_file_again_and_one_in_its_place_fit_into_a_full_index(engine: Engine) -> None:
    await published(engine, WHEEL)
    await bound(engine, max_project_bytes=WHEEL.size, max_index_bytes=WHEEL.size)
    await published(engine, WHEEL)
    other = build_wheel("demo", "1.0", files={"demo/__init__.py": b"#"})
    room = max(WHEEL.size, other.size)
    await bound(engine, max_project_bytes=room, max_index_bytes=room)
    await published(engine, other)
    assert await engine.store.stored_bytes(DEV) == other.size


@pytest.mark.parametrize("option", ["max_file_bytes", "max_project_bytes", "max_index_bytes"])
async def test_a_push_that_does_not_fit_changes_nothing(engine: Engine, option: str) -> None:
    await published(engine, WHEEL)
    await bound(engine, PROD, **{option: WHEEL.size - 1})
    head = await engine.store.head()
    with pytest.raises((QuotaExceeded, TooLarge)):
        await engine.pushing.push(DEV, PROD, DEMO, "1.0", principal=ROOT)
    assert await engine.store.head() == head
    await bound(engine, PROD, **{option: WHEEL.size})
    await engine.pushing.push(DEV, PROD, DEMO, "1.0", principal=ROOT)
    assert await engine.store.stored_bytes(PROD) == WHEEL.size


async def test_an_index_above_its_quota_may_shrink(engine: Engine) -> None:
    await published(engine, WHEEL)
    await published(engine, build_wheel("demo", "2.0"))
    await bound(engine, max_index_bytes=1)
    await engine.releases.delete_release(DEV, DEMO, "1.0", principal=ROOT)
    assert await engine.store.stored_bytes(DEV) == build_wheel("demo", "2.0").size
