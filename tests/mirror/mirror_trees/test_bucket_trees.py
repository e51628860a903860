"""A tree in a bucket of a real object store, whose runs are killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import s3fs

from pkgindex_core.errors import Conflict
from pkgindex_mirror.trees.layout import file_path
from tests.crash.processes import PATIENCE_SECONDS, clean_environment
from tests.mirror.mirror_trees.killed_run import OPTIONS, after, before
from tests.mirror.mirror_trees.mirrors import contents, opened, sync
from tests.object_stores import ObjectStore, seaweedfs

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = seaweedfs(tmp_path_factory.mktemp("s3") / "store")
    if store is None:
        pytest.skip("the server is not installed")
    yield store
    store.kill()


@pytest.fixture
def files(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    return s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)


def objects(files: Any, url: str) -> dict[str, bytes]:
    root = url.partition("://")[2]
    found: dict[str, bytes] = {
        path.removeprefix(f"{root}/"): files.cat_file(path)
        for path in files.find(root)
        if not path.startswith(f"{root}/.pkgindex")
    }
    return found


def examine(found: dict[str, bytes]) -> int:
    count = 0
    for path, page in found.items():
        if path.startswith("web/simple/") and path.count("/") == 3 and path.endswith("json"):
            for file in json.loads(page)["files"]:
                data = found[f"web/{file['url'].removeprefix('../../')}"]
                assert hashlib.sha256(data).hexdigest() == file["hashes"]["sha256"]
                count += 1
    return count


async def test_a_bucket_has_the_objects_of_a_directory(tmp_path: Path, store: ObjectStore, files: Any) -> None:
    url = f"{store.url}/plain"
    await sync(tmp_path, before(), OPTIONS)
    assert len(await sync(url, before(), OPTIONS)) == 9
    assert objects(files, url) == contents(tmp_path)
    assert await sync(url, before(), OPTIONS) == []
    file = before()[0].project.files[0]
    place = f"{url.partition('://')[2]}/{file_path(file)}"
    said = files.metadata(place)
    assert said["sha256"] == file.sha256
    assert float(said["uploaded-at"]) == (file.upload_time or 0) / 1e6
    files.rm_file(f"{url.partition('://')[2]}/.pkgindex/mirror.db")
    assert await sync(url, before(), OPTIONS) == []
    async with opened(url) as one, opened(url) as other, one.turn():
        with pytest.raises(Conflict):
            async with other.turn():
                pass


@pytest.mark.parametrize(
    "point", ["tree.file_placed", "tree.pages_written", "tree.rows_written", "tree.removed", "tree.rows_saved"]
)
async def test_a_killed_run_is_ended_by_the_next(tmp_path: Path, store: ObjectStore, files: Any, point: str) -> None:
    url = f"{store.url}/{point}"
    await sync(url, before(), OPTIONS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.mirror.mirror_trees.killed_run", url, msgspec.json.encode(OPTIONS).decode(),
        env=clean_environment()
        | store.environment
        | {"PKGINDEX_FAILPOINTS": f"{point}=kill", "PYTHONPATH": ":".join(filter(None, sys.path))},
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.wait() == -9
    assert examine(objects(files, url)) > 0
    (lease,) = files.ls(f"{url.partition('://')[2]}/.pkgindex/lease", detail=False)
    with pytest.raises(Conflict):
        await sync(url, after(), OPTIONS, gone=["gone"])
    files.rm_file(lease)  # as its time does
    await sync(url, after(), OPTIONS, gone=["gone"])
    await sync(tmp_path, after(), OPTIONS)
    assert examine(objects(files, url)) == 6
    assert objects(files, url) == contents(tmp_path)
