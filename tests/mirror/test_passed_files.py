"""Files whose policy is `streamed`: clients get them as they get others, and nothing of them stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core.errors import BadUpstream, Refused, Unavailable
from pkgindex_core.protocols import Arriving, OnDisk, Span
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.file_policies import OPTION, FilePolicies, PolicyRule, read_option, read_rules
from pkgindex_mirror.readthrough.files.cold_files import WINDOW
from pkgindex_mirror.readthrough.files.passed_files import PassedReading
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import DEMO, MakeMirror, Mirror
from .test_cold_files import BIG, NAME, blob_of, read_all

STREAMED = {OPTION: ["* streamed"]}


async def mirror_of(upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int, **settings: Any) -> Mirror:
    upstream.add("demo", blob_of(size))
    mirror = await make_mirror(upstream.url, config=STREAMED, **settings)
    await mirror.refresh()
    return mirror


async def opened(mirror: Mirror) -> PassedReading:
    found = await mirror.readthrough.open(mirror.index, DEMO, await mirror.file(NAME))
    assert isinstance(found, Arriving)
    assert isinstance(found.file, PassedReading)
    return found.file


async def ended(mirror: Mirror) -> None:
    while mirror.readthrough._files._arriving:
        await asyncio.sleep(0.001)


def left(staging: Path) -> list[Path]:
    return [path for path in staging.rglob("*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, 65_536, BIG])
async def test_clients_at_once_share_a_request_and_nothing_is_kept(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int, tmp_path: Path, tally
) -> None:
    mirror = await mirror_of(upstream, make_mirror, size)
    for round_number in (1, 2):
        readings = await asyncio.gather(*(opened(mirror) for _ in range(20)))
        bodies = await asyncio.gather(*(read_all(reading) for reading in readings))
        assert set(bodies) == {blob_of(size).data}
        await ended(mirror)
        assert upstream.count("file") == round_number
    assert not mirror.blobs.blobs
    assert left(tmp_path / "staging") == []
    assert mirror.readthrough._counts[mirror.index.name].fetched["streamed"] == 2
    tally("clients of one streamed file", 20)


async def test_spans_and_clients_that_are_slow_or_late(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 4 * WINDOW)
    data = blob_of(4 * WINDOW).data
    slow, late, part = [await opened(mirror) for _ in range(3)]
    body = slow.read()
    first = await anext(body)
    assert await read_all(part, Span(5, 2_000_000)) == data[5:2_000_000]
    assert await part.verified() == len(data)
    await ended(mirror)
    assert first + b"".join([piece async for piece in body]) == data
    assert await read_all(late) == data
    assert await read_all(late, Span(len(data) - 1, len(data))) == data[-1:]


@pytest.mark.parametrize("size", [1, 1000, BIG])
async def test_nobody_receives_complete_wrong_bytes(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int
) -> None:
    mirror = await mirror_of(upstream, make_mirror, size)
    upstream.script("file", behaviours.with_body(lambda body: body[:-1] + bytes([body[-1] ^ 1])))
    received = bytearray()

    async def client() -> None:
        async for piece in (await opened(mirror)).read():
            received.extend(piece)

    with pytest.raises(BadUpstream):
        await client()
    assert len(received) < size
    asked = upstream.count("file")
    with pytest.raises(BadUpstream, match="do not match the sha256"):
        await opened(mirror)
    assert upstream.count("file") == asked


async def test_a_transfer_that_no_client_waits_for_ends(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 4 * WINDOW)
    upstream.script("file", behaviours.dripping_body(0.001, size=100_000))
    reading = await opened(mirror)
    assert reading.size == 4 * WINDOW  # as for a HEAD request, which reads nothing
    del reading
    await ended(mirror)
    assert mirror.readthrough._counts[mirror.index.name].fetched["failed"] == 1
    assert await read_all(await opened(mirror)) == blob_of(4 * WINDOW).data


async def test_a_broken_transfer_is_continued(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.truncated(0.5), times=1)
    assert await read_all(await opened(mirror)) == blob_of(BIG).data
    assert upstream.count("file") == 2


async def test_a_sha256_that_nobody_knew_is_recorded(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.algorithms = ("md5",)
    mirror = await mirror_of(upstream, make_mirror, 1000)
    await read_all(await opened(mirror))
    await ended(mirror)
    assert (await mirror.file(NAME)).sha256 == blob_of(1000).sha256


async def test_what_the_server_needs_itself_is_kept(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000)
    with pytest.raises(Unavailable, match="not kept"):
        await (await opened(mirror)).finished()
    await ended(mirror)
    found = await mirror.readthrough.open(mirror.index, DEMO, await mirror.file(NAME), elsewhere=False)
    assert isinstance(found, Arriving)
    assert (await found.file.finished()).sha256 == blob_of(1000).sha256
    await ended(mirror)
    assert isinstance(await mirror.readthrough.open(mirror.index, DEMO, await mirror.file(NAME)), OnDisk)


async def test_metadata_comes_from_a_wheel_that_is_not_kept(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    wheel = build_wheel("demo", "1.0")
    upstream.add("demo", wheel)
    upstream.announces_sidecars = False
    upstream.has_sidecars = False
    upstream.takes_ranges = False
    mirror = await make_mirror(upstream.url, config=STREAMED)
    await mirror.refresh()
    assert await mirror.sidecar(wheel.filename) == wheel.metadata
    assert wheel.sha256 not in mirror.blobs.blobs


async def test_projects_with_other_policies_are_kept(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", blob_of(1000))
    mirror = await make_mirror(upstream.url, config={OPTION: ["dem* on-demand", "* streamed"]})
    await mirror.refresh()
    found = await mirror.readthrough.open(mirror.index, DEMO, await mirror.file(NAME))
    assert isinstance(found, Arriving)
    await found.file.finished()
    assert list(mirror.blobs.blobs) == [blob_of(1000).sha256]


def test_the_option_is_read_from_text_and_from_lists() -> None:
    rules = ("nvidia-* streamed", "torch on-demand")
    assert read_option("Nvidia_* streamed, torch   on-demand") == rules
    assert read_option(list(rules)) == read_option(rules) == rules
    assert read_option("") == ()
    for wrong in ("torch", "torch later", 7):
        with pytest.raises(Refused, match=OPTION):
            read_option(wrong)


def test_policies_are_written_as_they_are_read() -> None:
    policies = FilePolicies((PolicyRule("torch", "streamed"),), otherwise="on-demand")
    assert policies.written == ("torch streamed", "* on-demand")
    assert FilePolicies(read_rules(policies.written)).of(DEMO) == policies.of(DEMO) == "on-demand"
    assert FilePolicies().written == ()
