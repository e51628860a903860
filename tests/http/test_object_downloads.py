"""Files of an object store: a row is the promise, so a download is one request to the store, and what a row tells is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from fsspec.registry import register_implementation

from pkgindex_core.engines.fsspec.reading import WINDOW
from pkgindex_core.models import decode_file
from pkgindex_core.testing.wheels import build_wheel
from tests.contracts.test_blob_stores import ObjectFiles
from tests.http.conftest import Serve, basic
from tests.http.test_pushing import DEV, HELLO, holdings, push, release, team


class CountedFiles(ObjectFiles):
    """An object store that notes what it is asked."""

    protocol = "counted"
    buckets: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[str]] = []

    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        self.asked.append("info")
        return await super()._info(path, **options)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.asked.append(f"read {start}-{end}")
        return await super()._cat_file(path, start, end, **options)


@pytest.fixture(autouse=True)
def _store() -> Iterator[None]:
    register_implementation("counted", CountedFiles, clobber=True)
    yield
    CountedFiles.buckets.clear()


async def test_a_download_is_one_request_and_what_the_row_tells_is_none(serve: Serve) -> None:
    async with serve(blobs="counted://bucket/here") as served:
        built = build_wheel("demo", "1.0", files={"data": bytes(1000)}, stored=True)
        file = await served.put(built)
        size = len(built.data)
        sha256 = file.digests["sha256"]
        path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
        for method, headers, status, asked in (
            ("GET", {}, 200, [f"read 0-{size}"]),
            ("HEAD", {}, 200, []),
            ("GET", {"Range": "bytes=5-9"}, 206, ["read 5-10"]),
            ("GET", {"Range": f"bytes={size}-"}, 416, []),
            ("GET", {"If-None-Match": f'"{sha256}"'}, 304, []),
            ("GET", {"If-Range": '"other"', "Range": "bytes=5-9"}, 200, [f"read 0-{size}"]),
        ):
            CountedFiles.asked.clear()
            async with served.request(method, path, headers=headers) as answer:
                body = await answer.read()
                assert answer.status == status
                assert "Last-Modified" in answer.headers or status == 416
                if method == "GET" and status == 200:
                    assert body == built.data
            assert CountedFiles.asked == asked
        for known in (False, True):
            CountedFiles.asked.clear()
            async with served.get(f"{path}.metadata") as answer:
                assert await answer.read() == built.metadata
            assert ("info" in CountedFiles.asked) is not known, "the size of a sidecar is asked for once"


async def test_windows_of_a_large_file_are_its_only_requests(serve: Serve) -> None:
    async with serve(blobs="counted://bucket/here") as served:
        built = build_wheel("large", "1.0", files={"data": bytes(2 * WINDOW)}, stored=True)
        file = await served.put(built)
        sha256, size = file.digests["sha256"], len(built.data)
        CountedFiles.asked.clear()
        async with served.get(f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}") as answer:
            assert await answer.read() == built.data
        assert CountedFiles.asked == [f"read {start}-{min(start + WINDOW, size)}" for start in range(0, size, WINDOW)]


async def test_a_promise_that_was_broken_is_said_with_what_to_do(serve: Serve) -> None:
    async with serve(blobs="counted://bucket/here") as served:
        built = build_wheel("demo", "1.0")
        file = await served.put(built)
        sha256 = file.digests["sha256"]
        path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
        name = next(name for name in CountedFiles.buckets if name.endswith(sha256))
        kept = CountedFiles.buckets.pop(name)
        for method in ("GET", "HEAD", "GET"):
            async with served.request(method, path) as answer:
                assert answer.status == 500
                if method == "GET":
                    assert "restore the blob from a backup" in await answer.text()
        CountedFiles.buckets[name] = kept
        async with served.get(path) as answer:
            assert (answer.status, await answer.read()) == (200, built.data)


async def test_a_file_that_cannot_be_sent_is_logged_once_and_has_a_reference(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(blobs="counted://bucket/here") as served:
        file = await served.put(build_wheel("demo", "1.0"))
        sha256 = file.digests["sha256"]
        del CountedFiles.buckets[next(name for name in CountedFiles.buckets if name.endswith(sha256))]
        for _ in range(2):
            path = f"/root/dev/+f/{sha256[:3]}/{sha256[3:16]}/{file.filename}"
            async with served.get(path, headers={"User-Agent": "pip/25.0"}) as answer:
                assert (answer.status, len(answer.headers["X-Request-ID"])) == (500, 8)
        told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert told == [f"{file.filename} is listed in root/dev, but its bytes are not in the blob store, or damaged"]


async def test_a_replica_is_told_which_file_is_lost(serve: Serve) -> None:
    async with serve(blobs="counted://bucket/here") as served:
        file = await served.put(build_wheel("demo", "1.0"))
        sha256 = file.digests["sha256"]
        del CountedFiles.buckets[next(name for name in CountedFiles.buckets if name.endswith(sha256))]
        path = f"/+changes/root/dev/demo/{sha256}/{file.filename}"
        async with served.get(path, headers=basic("root")) as answer:
            assert (answer.status, file.filename in await answer.text()) == (500, True)


@pytest.mark.parametrize("lost", ["wheel", "sidecar"])
async def test_a_row_is_no_promise_for_another_row(serve: Serve, lost: str) -> None:
    """A push writes rows that name the same bytes, so it looks for them."""
    async with serve(blobs="counted://bucket/here") as served:
        alice = await team(served)
        await release(served)
        page = await served.engine.store.page(DEV, HELLO)
        assert page is not None
        (file,) = [file for row in page.rows if (file := decode_file(row.body)).filename.endswith(".whl")]
        key = file.sha256 if lost == "wheel" else file.metadata_sha256
        assert key is not None
        async with served.get(
            f"/{DEV}/+f/{str(file.sha256)[:3]}/{str(file.sha256)[3:16]}/{file.filename}.metadata", headers=alice
        ) as answer:
            assert answer.status == 200, "its size is known from now on"
        del CountedFiles.buckets[next(name for name in CountedFiles.buckets if name.endswith(key))]
        status, answered = await push(served, alice)
        assert status == 500, answered
        assert await holdings(served) == ([], [], [])
