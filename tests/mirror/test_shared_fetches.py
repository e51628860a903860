"""Processes that share a data directory fetch a file once, and all of them read it while it arrives."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkgindex_core.errors import Unavailable
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import DEMO, MakeMirror, Mirror
from .test_cold_files import BIG, NAME, blob_of, mirror_of, read_all

Two = tuple[Mirror, Mirror]


@pytest.fixture
async def two(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> Two:
    """Two servers over one store and one data directory, which know the page of a file of 3 MB."""
    first = await mirror_of(upstream, make_mirror, BIG)
    return first, await make_mirror(upstream.url, of=first)


def fetches(directory: Path) -> list[Path]:
    return list((directory / "data" / "fetching").glob("*.fetch"))


@pytest.mark.parametrize("hashed", [True, False])
async def test_two_servers_cause_one_request(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, tmp_path: Path, *, hashed: bool
) -> None:
    if not hashed:
        upstream.algorithms = ()
    first = await mirror_of(upstream, make_mirror, BIG)
    second = await make_mirror(upstream.url, of=first)
    upstream.script("file", behaviours.dripping_body(0.005, size=100_000))
    bodies = await asyncio.gather(*(mirror.download(NAME) for mirror in (first, second) for _ in range(5)))
    assert set(bodies) == {blob_of(BIG).data}
    assert upstream.count("file") == 1
    assert (await second.file(NAME)).sha256 == blob_of(BIG).sha256
    assert fetches(tmp_path) == []


async def test_the_second_server_has_first_bytes_before_the_last_are_there(
    two: Two, upstream: ScriptedUpstream
) -> None:
    first, second = two
    upstream.script("file", behaviours.silent_after(0.5), times=1)
    begun = await first.fetch(NAME)
    arriving = await second.fetch(NAME)
    assert arriving.size == BIG
    reader = arriving.read()
    data = await anext(reader)
    assert blob_of(BIG).data.startswith(data)
    assert not first.blobs.blobs
    assert data + b"".join([more async for more in reader]) == blob_of(BIG).data
    assert await read_all(begun) == blob_of(BIG).data
    assert upstream.count("file") == 2  # the first one broke off, and was resumed


async def test_no_server_completes_wrong_bytes(two: Two, upstream: ScriptedUpstream) -> None:
    first, second = two
    upstream.script("file", behaviours.with_body(lambda body: body[:-1] + b"?"))

    async def got(mirror: Mirror) -> bytes:
        collected = b""
        with contextlib.suppress(Unavailable):
            async for data in (await mirror.fetch(NAME)).read():
                collected += data
        return collected

    for data in await asyncio.gather(got(first), got(second)):
        assert len(data) < BIG
        assert blob_of(BIG).data.startswith(data)
    assert not first.blobs.blobs


async def test_a_server_that_stops_in_the_middle_cuts_the_others_readers_off(
    two: Two, upstream: ScriptedUpstream
) -> None:
    """They may have bytes that another transfer does not repeat. The next request fetches the file."""
    first, second = two
    upstream.script("file", behaviours.silent_after(0.5), times=1)
    await first.fetch(NAME)
    arriving = await second.fetch(NAME)
    await anext(arriving.read())
    await first.readthrough._tasks.close(grace=0.0)
    with pytest.raises(Unavailable, match="has failed or ended"):
        await arriving.finished()
    assert await second.download(NAME) == blob_of(BIG).data


async def test_a_server_that_stops_before_the_first_bytes_is_followed_by_the_next(
    two: Two, upstream: ScriptedUpstream
) -> None:
    first, second = two
    upstream.script("file", behaviours.silent(), times=1)
    first.readthrough._files.start(first.index, DEMO, await first.file(NAME))
    while not upstream.count("file"):
        await asyncio.sleep(0.01)
    waiting = asyncio.ensure_future(second.download(NAME))
    await asyncio.sleep(0.05)
    await first.readthrough._tasks.close(grace=0.0)
    assert await waiting == blob_of(BIG).data
    assert upstream.count("file") == 2


async def test_a_file_of_a_fetch_that_a_killed_process_left_is_used_again(
    two: Two, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    first, _ = two
    upstream.script("file", behaviours.silent_after(0.5), times=1)
    await first.fetch(NAME)
    (place,) = fetches(tmp_path)
    left = place.read_bytes()
    await first.readthrough._tasks.close(grace=0.0)
    place.write_bytes(left)
    second = two[1]
    assert await second.download(NAME) == blob_of(BIG).data
    assert fetches(tmp_path) == []


async def test_without_a_directory_for_locks_every_server_fetches(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    first = await mirror_of(upstream, make_mirror, BIG)
    (tmp_path / "data").write_bytes(b"no directory")
    assert await first.download(NAME) == blob_of(BIG).data


@contextlib.contextmanager
def held(place: Path) -> Iterator[None]:
    """Lock the file of a fetch, as a process does that fetches."""
    with place.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def test_what_killed_processes_left_is_removed_at_the_first_fetch(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, tmp_path: Path
) -> None:
    directory = tmp_path / "data" / "fetching"
    directory.mkdir(parents=True)
    for number in range(3):
        (directory / f"{number}.fetch").write_text('["/nowhere",1000,null]')
    with held(directory / "1.fetch"):
        mirror = await mirror_of(upstream, make_mirror, 1000)
        assert await mirror.download(NAME) == blob_of(1000).data
        assert [path.name for path in fetches(tmp_path)] == ["1.fetch"]


@pytest.mark.parametrize("sized", [True, False])
async def test_bytes_of_two_fetches_are_not_mixed(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, tmp_path: Path, *, sized: bool
) -> None:
    """A server follows the spool of a killed one, which the next fetch replaces: its readers are cut off."""
    upstream.algorithms = ()
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.silent_after(0.5))
    begun = await mirror.fetch(NAME)
    (place,) = fetches(tmp_path)
    left = json.loads(place.read_text())
    await mirror.readthrough._tasks.close(grace=0.0)
    with pytest.raises(Unavailable):
        await begun.finished()
    dead = tmp_path / "dead"
    dead.write_bytes(b"dead" * 400_000)
    kept = await mirror.blobs.put(blob_of(BIG).data)
    place.write_text(json.dumps([str(dead), BIG if sized else None, None]))
    second = await make_mirror(upstream.url, of=mirror)
    second.readthrough._files._shared._is_swept = True
    with held(place):
        arriving = await second.fetch(NAME)
        assert (await anext(arriving.read())).startswith(b"dead")
        place.write_text(json.dumps([left[0], BIG, kept.sha256]))
        place.unlink()
    with pytest.raises(Unavailable, match="has failed or ended"):
        await arriving.finished()


@pytest.mark.parametrize("size", [0, 1, 70_000])
async def test_files_that_are_too_short_to_be_followed(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, tmp_path: Path, size: int
) -> None:
    upstream.algorithms = ()
    first = await mirror_of(upstream, make_mirror, size)
    upstream.projects["demo"][0].says["size"] = None
    second = await make_mirror(upstream.url, of=first)
    upstream.script("file", behaviours.late(0.1))
    bodies = await asyncio.gather(*(mirror.download(NAME) for mirror in (first, second, first)))
    assert set(bodies) == {blob_of(size).data}
    assert upstream.count("file") == 1
    assert fetches(tmp_path) == []
