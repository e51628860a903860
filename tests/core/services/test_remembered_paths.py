"""A blob that is not there any more is never answered from a path that was remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutFile, PutIndex
from pkgindex_core.errors import Corrupt
from pkgindex_core.formats.fragments import directory
from pkgindex_core.models import Tree
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Principal
from pkgindex_core.services.reading.opened_files import StoredContent
from tests.core.services.conftest import DEV, Open, hosted_file

DEMO = ProjectName("demo")
NAME = "demo-1.0-py3-none-any.whl"


async def test_a_dropped_blob_is_not_answered_and_one_that_came_back_is(open_world: Open, tmp_path: Path) -> None:
    async with open_world(blobs=f"file://{tmp_path}/blobs") as world:
        engine = world.engine
        blob = await engine.blobs.put(b"the bytes")
        file = replace(hosted_file(NAME), digests={"sha256": blob.sha256}, size=blob.size)
        await engine.store.apply([PutFile(DEV, DEMO, file)], who="[test]")

        async def opened() -> object:
            return await engine.files.open(DEV, directory(file), NAME, sidecar=False, principal=Principal())

        first = await opened()
        assert isinstance(first, StoredContent)
        assert isinstance(first.place, Path)
        assert await opened() is first  # it was remembered
        await engine.blobs.drop(blob.sha256)
        with pytest.raises(Corrupt, match="not in the blob store"):
            await opened()
        await engine.blobs.put(b"the bytes")
        again = await opened()
        assert isinstance(again, StoredContent)
        assert isinstance(again.place, Path)
        assert again.place.read_bytes() == b"the bytes"


async def test_readers_that_were_narrowed_meanwhile_do_not_leave_a_file_public(
    open_world: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether shared caches may keep a file is not remembered from a request that had read the tree before."""
    async with open_world(blobs=f"file://{tmp_path}/blobs") as world:
        engine = world.engine
        blob = await engine.blobs.put(b"the bytes")
        file = replace(hosted_file(NAME), digests={"sha256": blob.sha256}, size=blob.size)
        await engine.store.apply([PutFile(DEV, DEMO, file)], who="[test]")
        config = (await engine.store.tree()).indexes[DEV]
        tree = engine.store.tree

        async def narrowed_after_it_was_read() -> Tree:
            before: Tree = await tree()
            monkeypatch.undo()
            await engine.store.apply([PutIndex(replace(config, acl_read=("root",)))], who="[test]")
            return before

        async def opened() -> object:
            return await engine.files.open(DEV, directory(file), NAME, sidecar=False, principal=Principal(name="root"))

        monkeypatch.setattr(engine.store, "tree", narrowed_after_it_was_read)
        await opened()
        later = await opened()
        assert isinstance(later, StoredContent)
        assert not later.public
