"""Ranges and heads of files that are not stored, as clients see them: pip's reader of remote wheels too."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import pytest

from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.testing import behaviours
from tests.clients.running import clean_environment, executable
from tests.http.conftest import Mirrored
from tests.http.conftest import MirroredStart as Start

LARGE = build_wheel("demo", "3.0", files={"demo.bin": random.Random(1).randbytes(4_000_000)}, stored=True)
TAG = f'"{LARGE.sha256}"'


@asynccontextmanager
async def with_large(mirrored: Start) -> AsyncIterator[tuple[Mirrored, str]]:
    async with mirrored() as world:
        world.upstream.add("demo", LARGE)
        listed = json.loads((await world.get("/root/pypi/+simple/demo/"))[1])["files"]
        url = next(each["url"] for each in listed if each["filename"] == LARGE.filename)
        yield world, urljoin("/root/pypi/+simple/demo/", url.partition("#")[0])


def ranges(world: Mirrored) -> list[str]:
    return [asked.headers.get("Range", "whole") for asked in world.upstream.asked if asked.place == "file"]


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=-300000", -300_000, None),
        ("bytes=2000000-2000009", 2_000_000, 2_000_010),
        ("bytes=3900000-", 3_900_000, None),
    ],
)
async def test_a_short_range_far_ahead(mirrored: Start, wanted: str, start: int, stop: int | None) -> None:
    async with with_large(mirrored) as (world, path):
        answer, body = await world.get(path, Range=wanted)
        assert (answer.status, body) == (206, LARGE.data[start:stop])
        shown = range(LARGE.size)[start:stop]
        assert answer.headers["Content-Range"] == f"bytes {shown[0]}-{shown[-1]}/{LARGE.size}"
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["ETag"] == TAG
        # Nothing has verified these bytes: a cache must not join them with others, or keep them for ever.
        assert answer.headers["Cache-Control"] == "no-store"
        assert ranges(world) == [f"bytes={shown[0]}-{shown[-1]}"]
        assert not await world.served.engine.blobs.stat(LARGE.sha256)


@pytest.mark.parametrize(
    ("tag", "status"), [(TAG, 206), ('"other"', 200), (f"W/{TAG}", 200), ("Sat, 01 Jan 2022 00:00:00 GMT", 200)]
)
async def test_a_client_that_has_another_file_gets_the_whole_one(mirrored: Start, tag: str, status: int) -> None:
    async with with_large(mirrored) as (world, path):
        answer, body = await world.get(path, Range="bytes=-1000", **{"If-Range": tag})
        assert (answer.status, body) == (status, LARGE.data[-1000:] if status == 206 else LARGE.data)
        assert ranges(world) == [f"bytes={LARGE.size - 1000}-{LARGE.size - 1}" if status == 206 else "whole"]


async def test_an_upstream_that_dies_in_the_middle_of_a_range(mirrored: Start) -> None:
    async with with_large(mirrored) as (world, path):
        world.upstream.script("file", behaviours.reset(0.5), times=1)
        answer, body = await world.get(path, Range="bytes=-300000")
        assert (answer.status, body) == (206, LARGE.data[-300_000:])
        assert answer.headers["Content-Range"] == f"bytes {LARGE.size - 300_000}-{LARGE.size - 1}/{LARGE.size}"
        assert len(ranges(world)) == 2
        assert "immutable" in answer.headers["Cache-Control"]


async def test_an_upstream_that_is_gone(mirrored: Start) -> None:
    async with with_large(mirrored) as (world, path):
        world.upstream.script("file", behaviours.status(404))
        world.upstream.script("head", behaviours.status(404))
        assert (await world.get(path, Range="bytes=-300000"))[0].status == 404
        async with world.served.request("HEAD", path) as answer:
            assert answer.status == 404


async def test_the_head_of_a_file_that_is_not_stored(mirrored: Start) -> None:
    async with with_large(mirrored) as (world, path):
        async with world.served.request("HEAD", path) as answer:
            assert answer.status == 200
            assert await answer.read() == b""
        assert (answer.headers["Content-Length"], answer.headers["Accept-Ranges"]) == (str(LARGE.size), "bytes")
        assert answer.headers["ETag"] == TAG
        assert (ranges(world), world.upstream.count("head")) == ([], 1)
        async with world.served.get(path) as answer:
            assert await answer.read() == LARGE.data
        assert ranges(world) == ["whole"]
        async with world.served.request("HEAD", path) as again:
            assert (again.headers["ETag"], again.headers["Content-Length"]) == (TAG, str(LARGE.size))
        assert world.upstream.count("head") == 1


async def test_a_range_that_cannot_be_satisfied(mirrored: Start) -> None:
    async with with_large(mirrored) as (world, path):
        answer, _ = await world.get(path, Range=f"bytes={LARGE.size}-")
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{LARGE.size}")


async def test_uv_reads_the_metadata_of_a_wheel_at_a_url_by_ranges(mirrored: Start, tmp_path: Path) -> None:
    """uv asks no index about a wheel that is given by its URL, so it knows of no sidecar."""
    async with with_large(mirrored) as (world, path):
        wanted = tmp_path / "requirements.in"
        wanted.write_text(f"demo @ {world.served.url.rstrip('/')}{path}\n")
        command = [executable("uv"), "pip", "compile", "-q", "--no-cache", "--no-header", "--no-index", wanted]
        compiling = await asyncio.create_subprocess_exec(
            *command, env=clean_environment(), stdout=asyncio.subprocess.PIPE
        )
        assert b"demo @ http" in (await compiling.communicate())[0]
        assert ranges(world)
        assert "whole" not in ranges(world)
        assert not await world.served.engine.blobs.stat(LARGE.sha256)


_READER = """
import sys
from pip._internal.network.lazy_wheel import dist_from_wheel_url
from pip._internal.network.session import PipSession

found = dist_from_wheel_url("demo", sys.argv[1], PipSession())
print(found.canonical_name, found.version)
"""


async def test_pip_reads_the_metadata_of_a_wheel_by_ranges(mirrored: Start) -> None:
    """`--use-feature=fast-deps`, for a wheel without a sidecar: pip's own reader of remote wheels."""
    async with with_large(mirrored) as (world, path):
        url = f"{world.served.url.rstrip('/')}{path}"
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _READER, url, env=clean_environment(), stdout=asyncio.subprocess.PIPE
        )
        assert (await reader.communicate())[0] == b"demo 3.0\n"
        assert ranges(world)
        assert "whole" not in ranges(world)
        assert not await world.served.engine.blobs.stat(LARGE.sha256)
