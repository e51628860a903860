"""A bucket of wheels in a real object store is an index: what lies there is served, and uploads and deletions go there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Principal
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_http import plugin as native
from tests.http.conftest import Serve
from tests.http.test_directories import PASSWORD, Directory
from tests.object_stores import ObjectStore, seaweedfs


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    store = seaweedfs(tmp_path / "s3")
    if store is None:
        pytest.skip("SeaweedFS is not installed")
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    try:
        yield store
    finally:
        store.kill()


@pytest.mark.timeout(180)
async def test_a_bucket_of_wheels_is_an_index(bucket: ObjectStore, serve: Serve, tmp_path: Path) -> None:
    url = f"{bucket.url}/wheels"
    medium, base = await asyncio.to_thread(fsspec.core.url_to_fs, url)

    async def lying() -> list[str]:
        medium.invalidate_cache()
        found = await asyncio.to_thread(medium.find, base)
        return sorted(path.rpartition("/")[2] for path in found)

    first, second, third = (build_wheel("demo", version) for version in ("1.0", "2.0", "3.0"))
    await asyncio.to_thread(medium.pipe_file, f"{base}/deep/{first.filename}", first.data)
    plugins = load_plugins(program=native, settings={"directory": {"list_seconds": 0.0}})
    told: dict[str, str] = {"upstream": "http://127.0.0.1:1/simple/", "root_password": PASSWORD}
    async with serve(plugins=plugins, mirrors=True, **told) as served:
        options = {"type": "directory", "roots": url}
        await served.engine.indexes.create("root/wheels", options, principal=Principal(name="root"))
        there = Directory(served, tmp_path)
        page = await there.page()
        assert {name: file["hashes"]["sha256"] for name, file in page.items()} == {first.filename: first.sha256}
        assert await there.fetch(page[first.filename]) == (200, first.data)
        await asyncio.to_thread(medium.pipe_file, f"{base}/{second.filename}", second.data)
        assert set(await there.page()) == {first.filename, second.filename}
        assert (await there.upload(third))[0] == 200
        assert await lying() == sorted([first.filename, second.filename, third.filename])
        page = await there.page()
        assert await there.fetch(page[third.filename]) == (200, third.data)
        path = page[second.filename]["url"].removeprefix("../../../../")
        assert await there.delete(f"/{path}") in {200, 201}
        assert await lying() == sorted([first.filename, third.filename])
        await asyncio.to_thread(medium.rm_file, f"{base}/deep/{first.filename}")
        assert set(await there.page()) == {third.filename}
        bucket.kill()
        assert set(await there.page()) == {third.filename}
