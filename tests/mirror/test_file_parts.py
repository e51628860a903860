"""Parts of files that are not stored: the upstream is asked for exactly these, or they come from the fetch. Never other bytes, and never kept."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.protocols import Arriving, OnDisk, Redirect, Span
from pkgindex_core.protocols.sources import FilePart
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_mirror.readthrough.files import file_parts
from pkgindex_mirror.readthrough.files.file_parts import AHEAD, LONGEST
from pkgindex_mirror.testing import Answer, Behaviour, Raw, ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Asked

from .conftest import DEMO, MakeMirror, Mirror

NAME = "demo-1.0-py3-none-any.whl"
SIZE = 5_000_000
DATA = hashlib.shake_128(b"parts").digest(SIZE)
BUILT = BuiltFile(filename=NAME, data=DATA, metadata=b"", sha256=sha256_of(DATA))
FAR = Span(4_000_000, 4_010_000)


async def mirror_of(upstream: ScriptedUpstream, make_mirror: MakeMirror, **given: Any) -> Mirror:
    upstream.announces_sidecars = False
    upstream.add("demo", BUILT, **given.pop("says", {}))
    mirror = await make_mirror(upstream.url, **given)
    await mirror.refresh()
    return mirror


async def part_of(mirror: Mirror, span: Span) -> FilePart | OnDisk | Redirect | Arriving:
    return await mirror.readthrough.open_part(mirror.index, DEMO, await mirror.file(NAME), lambda _size: span)


async def read(mirror: Mirror, span: Span) -> bytes:
    """The bytes that a client gets for a range."""
    opened = await part_of(mirror, span)
    if isinstance(opened, FilePart):
        assert (opened.size, opened.span) == (SIZE, span)
        return opened.data
    assert isinstance(opened, Arriving)
    return b"".join([data async for data in opened.file.read(span)])


async def ended(mirror: Mirror) -> None:
    """Wait until nothing is under way."""
    while running := mirror.readthrough._tasks._running:
        await asyncio.wait(set(running))


def ranges(upstream: ScriptedUpstream) -> list[str]:
    """The ranges of the requests for the file, `whole` for the whole file."""
    return [asked.headers.get("Range", "whole") for asked in upstream.asked if asked.place == "file"]


@pytest.mark.parametrize(
    "span",
    [FAR, Span(SIZE - 10, SIZE), Span(AHEAD + 1, AHEAD + 2), Span(AHEAD + 1, AHEAD + 1 + LONGEST)],
    ids=["inside", "end", "near", "long"],
)
async def test_a_range_far_ahead_is_asked_for_exactly_and_not_kept(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, span: Span
) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    assert await read(mirror, span) == DATA[span.start : span.stop]
    assert ranges(upstream) == [f"bytes={span.start}-{span.stop - 1}"]
    assert not mirror.blobs.blobs
    assert not mirror.readthrough._tasks._running


@pytest.mark.parametrize(
    "span",
    [Span(0, 10), Span(AHEAD, AHEAD + 10), Span(AHEAD + 1, AHEAD + 2 + LONGEST), Span(0, SIZE)],
    ids=["begin", "near", "long", "whole"],
)
async def test_any_other_range_comes_from_the_fetch(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, span: Span
) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    assert await read(mirror, span) == DATA[span.start : span.stop]
    assert ranges(upstream) == ["whole"]


async def test_the_size_alone_begins_no_fetch(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    opened = await part_of(mirror, Span(0, 0))
    assert opened == FilePart(size=SIZE, span=Span(0, 0), data=b"")
    assert (upstream.count("head"), ranges(upstream)) == (1, [])


async def test_a_size_that_the_page_does_not_tell_is_asked_for(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror, says={"size": None})
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert (upstream.count("head"), len(ranges(upstream))) == (1, 1)


@pytest.mark.parametrize(
    "behaviour",
    [
        behaviours.status(405),
        behaviours.status(404),
        behaviours.status(503),
        behaviours.with_headers(Content_Length="7"),
    ],
    ids=["not allowed", "absent", "failing", "another size"],
)
async def test_an_upstream_that_fails_at_head_is_asked_for_the_file(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour
) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    upstream.script("head", behaviour)
    opened = await part_of(mirror, Span(0, 0))
    assert isinstance(opened, Arriving)
    assert opened.file.size == SIZE
    assert ranges(upstream) == ["whole"]


async def test_a_fetch_that_is_under_way_goes_on(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    upstream.script("file", behaviours.silent_after(0.1), times=1)
    whole = asyncio.ensure_future(mirror.download(NAME))
    while not (under_way := [*mirror.readthrough._files._arriving.values()]) or under_way[0].come < SIZE // 10:
        await asyncio.sleep(0.001)
    (etag,) = {under_way[0].validator}
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert ranges(upstream) == ["whole", f"bytes={FAR.start}-{FAR.stop - 1}"]
    # The part is of the file that is being fetched.
    assert upstream.asked[-1].headers["If-Range"] == etag != ""
    near = Span(under_way[0].come + 10, under_way[0].come + 20)
    assert await read(mirror, near) == DATA[near.start : near.stop]
    assert await whole == DATA
    assert [*mirror.blobs.blobs] == [BUILT.sha256]
    assert ranges(upstream)[2:] == [f"bytes={SIZE // 10}-"]  # resumed after the silence; the near range waited


async def test_many_clients_of_one_part_cause_one_request(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    upstream.script("file", behaviours.late(0.05))
    assert {*await asyncio.gather(*(read(mirror, FAR) for _ in range(20)))} == {DATA[FAR.start : FAR.stop]}
    assert len(ranges(upstream)) == 1


def with_range(range_: str, change: Callable[[bytes], bytes] = lambda body: body) -> Behaviour:
    """Answer with another `Content-Range`, and with a changed body."""

    def behave(_asked: Asked, answer: Answer) -> Answer:
        headers = {**answer.headers, "Content-Range": range_}
        return Answer(status=206, headers=headers, body=change(answer.body))

    return behave


REFUSED = {
    "ignores ranges": lambda _asked, answer: Answer(headers={"Content-Type": "application/octet-stream"}, body=DATA),
    "other begin": with_range(f"bytes {FAR.start + 1}-{FAR.stop}/{SIZE}"),
    "other size": with_range(f"bytes {FAR.start}-{FAR.stop - 1}/{SIZE + 1}"),
    "unknown size": with_range(f"bytes {FAR.start}-{FAR.stop - 1}/*"),
    "no Content-Range": with_range("nonsense"),
    "short": with_range(f"bytes {FAR.start}-{FAR.stop - 2}/{SIZE}", lambda body: body[:-1]),
    "long": with_range(f"bytes {FAR.start}-{FAR.stop}/{SIZE}", lambda body: body + b"x"),
    "several parts": lambda _asked, answer: Answer(
        status=206, headers={"Content-Type": "multipart/byteranges; boundary=b"}, body=answer.body
    ),
    "dies in the middle": behaviours.reset(0.5),
    "cut off": behaviours.truncated(0.5),
    "cut off without a length": behaviours.truncated(0.5, length=False),
    "cut off in a chunk": behaviours.cut_chunked(0.5),
    "silent in the middle": behaviours.silent_after(0.5),
    "compressed": behaviours.gzipped(),
    "page": behaviours.says("text/html", b"<html>sign in</html>"),
    "absent": behaviours.status(404),
    "refused": behaviours.status(403),
    "unsatisfiable": behaviours.status(416),
    "no HTTP": behaviours.garbage(),
}


@pytest.mark.parametrize("behaviour", REFUSED.values(), ids=REFUSED)
async def test_an_answer_that_is_not_the_part_is_replaced_by_the_fetch(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour
) -> None:
    mirror = await mirror_of(upstream, make_mirror, attempts=1)
    upstream.script("file", behaviour, times=1)
    opened = await part_of(mirror, FAR)
    assert isinstance(opened, Arriving)
    assert b"".join([data async for data in opened.file.read(FAR)]) == DATA[FAR.start : FAR.stop]
    assert ranges(upstream) == [f"bytes={FAR.start}-{FAR.stop - 1}", "whole"]
    assert (await opened.file.finished()).sha256 == BUILT.sha256


async def test_a_part_that_fails_while_the_file_is_fetched_is_waited_for(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror, attempts=1)
    upstream.script("file", behaviours.dripping_body(0.005, size=500_000), times=1)
    whole = asyncio.ensure_future(mirror.download(NAME))
    while ranges(upstream) != ["whole"]:
        await asyncio.sleep(0.001)
    await mirror.fetch(NAME)
    upstream.script("file", behaviours.reset(0.5))
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert await whole == DATA
    assert ranges(upstream) == ["whole", f"bytes={FAR.start}-{FAR.stop - 1}"]


async def test_a_silent_upstream_is_waited_for_for_a_while(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_parts, "_WAIT", 0.02)
    mirror = await mirror_of(upstream, make_mirror, read_timeout=20.0)
    upstream.script("file", behaviours.silent(), times=1)
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert ranges(upstream) == [f"bytes={FAR.start}-{FAR.stop - 1}", "whole"]


async def test_an_answer_that_does_not_end_is_not_read_to_its_end(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """It would fill the memory."""
    mirror = await mirror_of(upstream, make_mirror, read_timeout=20.0)
    head = f"HTTP/1.1 206 OK\r\nContent-Range: bytes {FAR.start}-{FAR.stop - 1}/{SIZE}\r\n\r\n".encode()
    upstream.script("file", lambda _asked, _answer: Raw(pieces=[head, DATA[:20_000], math.inf]), times=1)
    async with asyncio.timeout(file_parts._WAIT / 2):
        assert isinstance(await part_of(mirror, FAR), Arriving)


async def test_a_host_that_ignores_ranges_is_not_asked_for_each(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.takes_ranges = False
    mirror = await mirror_of(upstream, make_mirror)
    part = f"bytes={FAR.start}-{FAR.stop - 1}"
    for pause, expected in ((0, [part, "whole"]), (0, ["whole"]), (3601, [part, "whole"])):
        mirror.clock.advance(pause)
        before = len(ranges(upstream))
        opened = await part_of(mirror, FAR)
        assert isinstance(opened, Arriving)
        await ended(mirror)
        assert ranges(upstream)[before:] == expected
        mirror.blobs.blobs.clear()


@pytest.mark.parametrize("knows", [True, False], ids=["If-Range", "no If-Range"])
async def test_parts_of_two_files_are_not_mixed(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, knows: bool
) -> None:
    """The upstream has replaced the file after the first part. The second is not of the same file, and that of the page does not come any more."""
    mirror = await mirror_of(upstream, make_mirror)
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    other = bytes(SIZE)
    upstream.projects["demo"].clear()
    upstream.add("demo", replace(BUILT, data=other, sha256=sha256_of(other)))
    if not knows:
        said = {"Content-Range": f"bytes 3000000-3000009/{SIZE}", "ETag": '"other"'}
        upstream.script("file", lambda _asked, _answer: Answer(status=206, headers=said, body=other[:10]), times=1)
    with pytest.raises((BadUpstream, Unavailable)):
        await read(mirror, Span(3_000_000, 3_000_010))
    first, second, *rest = [asked for asked in upstream.asked if asked.place == "file"]
    assert "If-Range" not in first.headers
    assert second.headers["If-Range"] == f'"{hashlib.md5(DATA, usedforsecurity=False).hexdigest()}"'
    assert [asked.headers.get("Range") for asked in rest] == [None]


async def test_a_new_validator_of_the_same_file_costs_one_part(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    assert isinstance(await part_of(mirror, FAR), FilePart)
    upstream.script("file", behaviours.with_headers(ETag='"new"'))
    assert isinstance(await part_of(mirror, FAR), Arriving)
    await ended(mirror)
    mirror.blobs.blobs.clear()
    assert isinstance(await part_of(mirror, FAR), FilePart)


async def test_a_file_whose_bytes_were_wrong_has_no_parts_for_a_while(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    upstream.script("file", behaviours.with_body(lambda body: body[:-1] + b"?"), times=1)
    with pytest.raises(BadUpstream):
        await mirror.download(NAME)
    await ended(mirror)
    with pytest.raises(BadUpstream, match="do not match the sha256"):
        await read(mirror, FAR)
    assert ranges(upstream) == ["whole"]
    mirror.clock.advance(11)
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]


async def test_a_file_of_unknown_digest_has_no_parts(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    """Its clients could not verify them."""
    upstream.algorithms = ()
    mirror = await mirror_of(upstream, make_mirror)
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert ranges(upstream) == ["whole"]


async def test_a_stored_file_is_opened(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror)
    await mirror.download(NAME)
    await mirror.settle()
    assert isinstance(await part_of(mirror, FAR), OnDisk)
    assert isinstance(await part_of(mirror, Span(0, 0)), OnDisk)
    assert (ranges(upstream), upstream.count("head")) == (["whole"], 0)


async def test_clients_that_are_sent_elsewhere_get_no_parts(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    networks = ("127.0.0.0/8",)
    mirror = await mirror_of(upstream, make_mirror, config={"mirror_use_external_urls": True}, allow_networks=networks)
    assert isinstance(await part_of(mirror, FAR), Redirect)


async def test_a_file_that_is_passed_on_has_parts_too(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, config={"mirror_file_policies": ["* streamed"]})
    assert await read(mirror, FAR) == DATA[FAR.start : FAR.stop]
    assert ranges(upstream) == [f"bytes={FAR.start}-{FAR.stop - 1}"]


async def test_an_offline_mirror_asks_for_no_part(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    online = await mirror_of(upstream, make_mirror)
    mirror = await make_mirror(upstream.url, of=online, offline=True)
    for span in (FAR, Span(0, 0)):
        with pytest.raises((BadUpstream, Unavailable)):
            await part_of(mirror, span)
    assert (ranges(upstream), upstream.count("head")) == ([], 0)
