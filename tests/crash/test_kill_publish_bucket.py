"""kill -9 while a static tree is written into a bucket: nothing half visible, every link leads somewhere, and the next run tidies up."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import s3fs

from pkgindex_core.changes import DropFile
from pkgindex_core.digests import sha256_of
from pkgindex_core.names import ProjectName
from pkgindex_core.tools import leases
from pkgindex_mirror.static.publishing import Order
from tests.crash.processes import PATIENCE_SECONDS, clean_environment
from tests.mirror.trees import DEV, apply, contents, opened, publish, put, wheel
from tests.object_stores import ObjectStore, seaweedfs

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def bucket(place: Path) -> AsyncIterator[ObjectStore]:
    store = await asyncio.to_thread(seaweedfs, place)
    if store is None:
        pytest.skip("the server is not installed")
    try:
        yield store
    finally:
        store.kill()


async def run(data: Path, tree: str, environment: dict[str, str], failpoints: str = "") -> int:
    armed = {"PKGINDEX_FAILPOINTS": failpoints} if failpoints else {}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pkgindex_mirror.cli", "publish", DEV, "--data", data, "--to", tree,
        env=clean_environment() | environment | armed | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await process.wait()


def objects(files: Any, tree: str) -> dict[str, bytes]:
    root = tree.partition("://")[2]
    found: dict[str, bytes] = {path.removeprefix(f"{root}/"): files.cat_file(path) for path in files.find(root)}
    return found


def examine(found: dict[str, bytes]) -> None:
    """Every link of every page leads to the bytes that the page announces."""
    for path, page in found.items():
        if path.startswith("simple/") and path.count("/") == 2 and path.endswith(".json"):
            for file in json.loads(page)["files"]:
                place = file["url"].removeprefix("../../")
                assert sha256_of(found[place]) == file["hashes"]["sha256"]
                assert sha256_of(found[f"{place}.metadata"]) == file["core-metadata"]["sha256"]


async def test_a_killed_run_leaves_a_tree_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket(tmp_path / "store") as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        for number, point in enumerate(("publish.put@1", "publish.put@4", "publish.shared_written", "publish.removed")):
            data, tree = tmp_path / f"data{number}", f"{store.url}/tree{number}"
            point, _, turn = point.partition("@")
            async with opened(data) as engine:
                await put(engine, wheel("demo", "1.0"), "demo", "1.0")
                await put(engine, wheel("gone", "1.0"), "gone", "1.0")
                await publish(engine, tree)
                await put(engine, wheel("demo", "1.1"), "demo", "1.1")
                await apply(engine, DropFile(DEV, ProjectName("gone"), "gone-1.0-py3-none-any.whl"))
            assert await run(data, tree, store.environment, f"{point}=kill@{turn or 1}") == -9
            examine(await asyncio.to_thread(objects, files, tree))
            async with opened(data) as engine:  # which the killed run has taken for thirty seconds
                assert await engine.store.drop_note(leases.KIND, Order(index=DEV, target=tree).lease)
                await publish(engine, tmp_path / f"fresh{number}")
            assert await run(data, tree, store.environment) == 0
            found = await asyncio.to_thread(objects, files, tree)
            examine(found)
            assert found == contents(tmp_path / f"fresh{number}"), point


async def test_what_a_killed_run_has_sent_in_parts_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bucket(tmp_path / "store") as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        name = store.url.partition("://")[2]

        def begin() -> None:
            for key in ("tree/files/demo/0123456789abcdef/demo.whl", "blobs/sha256/ab"):
                files.call_s3("create_multipart_upload", Bucket=name, Key=key)

        def begun() -> list[str]:
            listed = files.call_s3("list_multipart_uploads", Bucket=name)
            return [upload["Key"] for upload in listed.get("Uploads", [])]

        async with opened(tmp_path / "data") as engine:
            await put(engine, wheel("demo", "1.0"), "demo", "1.0")
            await publish(engine, f"{store.url}/tree")
            await asyncio.to_thread(begin)
            assert len(await asyncio.to_thread(begun)) == 2
            await publish(engine, f"{store.url}/tree")
        assert await asyncio.to_thread(begun) == ["blobs/sha256/ab"], "what is not below the tree is not its own"
