"""An index whose files lie in a directory becomes a tree like any other: what changes in the directory changes in the tree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutIndex
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.names import IndexName
from pkgindex_core.testing.configs import index_config
from pkgindex_mirror.static.publishing import Order, follow_index, publish_from
from pkgindex_mirror.static.reports import PublishReport
from tests.mirror.trees import DEV, apply, contents, opened, publish, put, wheel

WHEELS = IndexName("root/wheels")


@asynccontextmanager
async def over_directory(place: Path) -> AsyncIterator[Engine]:
    """An engine with its sources, and an index of the wheels in a directory below one that takes uploads."""
    (place / "wheels").mkdir(exist_ok=True)
    async with Engine.open(Settings(data=place / "data")) as engine:
        if not await engine.store.head():
            await engine.prepare()
            config = (await engine.store.tree()).indexes[DEV]
            options = {"roots": [str(place / "wheels")]}
            await apply(
                engine,
                PutIndex(index_config(WHEELS, type="directory", files_elsewhere=True, options=options)),
                PutIndex(replace(config, bases=(WHEELS,))),
            )
        yield engine


def drop(place: Path, version: str, project: str = "demo") -> bytes:
    built = wheel(project, version)
    (place / "wheels").mkdir(exist_ok=True)
    (place / "wheels/.new").write_bytes(built.data)
    (place / "wheels/.new").rename(place / "wheels" / built.filename)
    return built.data


def files(tree: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tree.glob("files/*/*/*.whl")}


async def test_files_of_a_directory_are_published_bit_by_bit(tmp_path: Path) -> None:
    first = drop(tmp_path, "1.0")
    async with over_directory(tmp_path) as engine:
        await put(engine, wheel("own", "1.0"), "own", "1.0")
        done = await publish(engine, tmp_path / "tree")
        assert (done.projects, done.whole) == (2, True)
        found = files(tmp_path / "tree")
        assert found["demo-1.0-py3-none-any.whl"] == first
        (placed,) = (tmp_path / "tree").glob("files/demo/*/*.whl")
        # A copy: a file that somebody writes to in place must not change under its digest.
        assert placed.stat().st_nlink == 1
        assert placed.with_name(f"{placed.name}.metadata").is_file()
        second = drop(tmp_path, "1.1")
        (tmp_path / "wheels/demo-1.0-py3-none-any.whl").unlink()
        done = await publish(engine, tmp_path / "tree")
        assert (done.looked_at, done.whole) == (1, False)
        await publish(engine, tmp_path / "fresh")
    assert files(tmp_path / "tree")["demo-1.1-py3-none-any.whl"] == second
    assert "demo-1.0-py3-none-any.whl" not in files(tmp_path / "tree")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")


async def test_a_bucket_gets_copies_too(tmp_path: Path) -> None:
    import fsspec

    first = drop(tmp_path, "1.0")
    async with over_directory(tmp_path) as engine:
        await publish(engine, "memory://directory")
    (path,) = (path for path in fsspec.filesystem("memory").find("/directory/files") if path.endswith(".whl"))
    assert fsspec.filesystem("memory").cat_file(path) == first


async def test_a_directory_that_cannot_be_read_leaves_the_tree_as_it_is(tmp_path: Path) -> None:
    drop(tmp_path, "1.0")
    async with over_directory(tmp_path) as engine:
        await publish(engine, tmp_path / "tree")
        before = contents(tmp_path / "tree")
        (tmp_path / "wheels").rename(tmp_path / "away")
        with pytest.raises(Unavailable, match="root/wheels"):
            await publish(engine, tmp_path / "tree")
        assert contents(tmp_path / "tree") == before


async def test_an_index_is_followed(tmp_path: Path) -> None:
    """The command opens the sources by itself, and each change is published when it is made."""
    drop(tmp_path, "1.0")
    outcomes: asyncio.Queue[PublishReport | PkgIndexError] = asyncio.Queue()
    async with over_directory(tmp_path):
        pass
    order = Order(index=DEV, target=str(tmp_path / "tree"))
    following = asyncio.create_task(follow_index(order, Settings(data=tmp_path / "data"), told=outcomes.put_nowait))
    try:
        async with asyncio.timeout(60):
            assert isinstance(first := await outcomes.get(), PublishReport)
            assert first.whole
            async with opened(tmp_path / "data") as engine:
                await put(engine, wheel("own", "1.0"), "own", "1.0")
            while not (tmp_path / "tree/simple/own/index.json").exists():
                await outcomes.get()
            drop(tmp_path, "1.1")
            while len(json.loads((tmp_path / "tree/simple/demo/index.json").read_bytes())["files"]) < 2:
                await outcomes.get()
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
    async with over_directory(tmp_path) as engine:
        await publish_from(engine, Order(index=DEV, target=str(tmp_path / "tree")))
        await publish(engine, tmp_path / "fresh")
    assert contents(tmp_path / "tree") == contents(tmp_path / "fresh")
