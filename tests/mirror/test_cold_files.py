"""Files that are not stored yet: one fetch, everybody served, nothing wrong ever complete."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import pytest

from pkgindex_core import failpoints
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import BadUpstream, Missing, Unavailable
from pkgindex_core.protocols import Span
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_mirror.readthrough.files.cold_files import WINDOW
from pkgindex_mirror.testing import Behaviour, ScriptedUpstream, behaviours

from .conftest import DEMO, MakeMirror, Mirror

SIZES = (0, 1, 65_535, 65_536, 65_537, 5_000_000)
BIG = 3_000_000
NAME = "demo-1.0.tar.gz"


def blob_of(size: int, filename: str = NAME) -> BuiltFile:
    data = hashlib.shake_128(b"cold").digest(size)
    return BuiltFile(filename=filename, data=data, metadata=b"", sha256=sha256_of(data))


async def mirror_of(upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int, **settings: Any) -> Mirror:
    upstream.add("demo", blob_of(size))
    mirror = await make_mirror(upstream.url, **settings)
    await mirror.refresh()
    return mirror


async def read_all(arriving, span: Span | None = None) -> bytes:
    return b"".join([data async for data in arriving.read(span)])


@pytest.mark.parametrize("size", SIZES)
async def test_fifty_clients_cause_one_request(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int, tally
) -> None:
    mirror = await mirror_of(upstream, make_mirror, size)
    bodies = await asyncio.gather(*(mirror.download(NAME) for _ in range(50)))
    assert set(bodies) == {blob_of(size).data}
    assert upstream.count("file") == 1
    assert list(mirror.blobs.blobs) == [blob_of(size).sha256]
    # The next one does not ask the upstream either, although it began with the record from before.
    assert await mirror.download(NAME) == blob_of(size).data
    assert upstream.count("file") == 1
    tally("clients of one cold file", 50)


async def test_the_size_is_known_when_the_headers_are(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000)
    arriving = await mirror.fetch(NAME)
    assert arriving.size == 1000
    blob = await arriving.finished()
    assert (blob.sha256, blob.size) == (blob_of(1000).sha256, 1000)


async def test_first_bytes_come_before_the_last_are_there(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 600_000)
    # Half comes at once, then there is silence: a reader has the first part although the file is not complete.
    upstream.script("file", behaviours.silent_after(0.5), times=1)
    arriving = await mirror.fetch(NAME)
    reader = arriving.read()
    first = await anext(reader)
    assert blob_of(600_000).data.startswith(first)
    assert not mirror.blobs.blobs
    rest = [data async for data in reader]
    assert first + b"".join(rest) == blob_of(600_000).data


async def test_a_client_that_hangs_up_does_not_stop_the_fetch(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.dripping_body(0.002, size=100_000))

    async def client() -> None:
        arriving = await mirror.fetch(NAME)
        async for _ in arriving.read():
            return

    await client()
    impatient = asyncio.ensure_future(mirror.download(NAME))
    await asyncio.sleep(0.005)
    impatient.cancel()
    await mirror.readthrough._tasks.close(grace=5)
    assert list(mirror.blobs.blobs) == [blob_of(BIG).sha256]
    assert upstream.count("file") == 1


async def test_slow_and_late_readers_get_the_same_bytes(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 4 * WINDOW)
    upstream.script("file", behaviours.dripping_body(0.001, size=200_000))
    arriving = await mirror.fetch(NAME)
    slow = arriving.read()
    collected = [await anext(slow)]
    await asyncio.sleep(0.03)  # the front runs away beyond the window
    middle = asyncio.ensure_future(read_all(arriving))
    await arriving.finished()
    collected += [data async for data in slow]
    late = await read_all(arriving)
    assert b"".join(collected) == await middle == late == blob_of(4 * WINDOW).data


async def test_spans_of_an_arriving_file(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.dripping_body(0.001, size=100_000))
    data = blob_of(BIG).data
    arriving = await mirror.fetch(NAME)
    spans = [Span(0, 1), Span(5, 2_000_000), Span(BIG - 10, BIG), Span(0, BIG), Span(1_500_000, 1_500_001)]
    parts = await asyncio.gather(*(read_all(arriving, span) for span in spans))
    assert list(parts) == [data[span.start : span.stop] for span in spans]


@pytest.mark.parametrize("size", [1, 2, 1000, BIG])
@pytest.mark.parametrize("known", ["sha256", "md5"])
async def test_nobody_receives_complete_wrong_bytes(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, size: int, known: str, caplog: pytest.LogCaptureFixture, tally
) -> None:
    upstream.algorithms = (known,)
    mirror = await mirror_of(upstream, make_mirror, size)
    upstream.script("file", behaviours.with_body(lambda body: body[:-1] + bytes([body[-1] ^ 1])))
    received = [bytearray() for _ in range(5)]

    async def client(into: bytearray, span: Span | None) -> None:
        arriving = await mirror.fetch(NAME)
        async for data in arriving.read(span):
            into += data

    spans = [None, None, None, Span(0, size), Span(size - 1, size)]
    outcomes = await asyncio.gather(
        *(client(into, span) for into, span in zip(received, spans, strict=True)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [BadUpstream] * 5
    assert all(len(into) < size for into in received[:4])
    assert not received[4]
    assert not mirror.blobs.blobs
    assert "the file is not kept" in caplog.text
    # Whoever was cut off and asks again is told why, without another transfer.
    asked = upstream.count("file")
    with pytest.raises(BadUpstream, match=f"do not match the {known}"):
        await mirror.fetch(NAME)
    assert upstream.count("file") == asked
    # Once the upstream is right again, so are we.
    upstream.behave()
    mirror.clock.advance(11)
    assert await mirror.download(NAME) == blob_of(size).data
    tally("readers of wrong bytes", 5)


async def test_a_sha256_that_nobody_knew_is_recorded(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.algorithms = ("md5",)
    mirror = await mirror_of(upstream, make_mirror, 1000)
    before = await mirror.file(NAME)
    assert before.sha256 is None
    await mirror.download(NAME)
    after = await mirror.file(NAME)
    assert after.digests == {"sha256": blob_of(1000).sha256, **before.digests}
    # It survives the next comparison with an upstream that still does not know it,
    mirror.clock.advance(10_000)
    upstream.page_says["demo"] = {"versions": ["0.1"]}
    await mirror.refresh()
    assert await mirror.file(NAME) == after
    # and a client that still has the old record is served from what is stored.
    arriving = await mirror.readthrough._files.fetch(mirror.index, DEMO, before)
    assert await read_all(arriving) == blob_of(1000).data
    assert upstream.count("file") == 1


async def test_without_any_digest_the_first_bytes_are_believed(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.algorithms = ()
    upstream.gives_validators = False
    mirror = await mirror_of(upstream, make_mirror, 1000)
    assert await mirror.download(NAME) == blob_of(1000).data
    assert (await mirror.file(NAME)).sha256 == blob_of(1000).sha256


async def test_a_broken_transfer_is_taken_up_where_it_broke(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.truncated(0.5), times=1)
    assert await mirror.download(NAME) == blob_of(BIG).data
    _, second = (asked for asked in upstream.asked if asked.place == "file")
    assert second.headers["Range"] == f"bytes={BIG // 2}-"
    assert second.headers["If-Range"].startswith('"')


class FakeSleep:
    """Lets the test's clock pass in the place of time."""

    def __init__(self, mirror: Mirror) -> None:
        self._clock = mirror.clock
        self.pauses: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._clock.advance(seconds)


@pytest.mark.parametrize("at", [0.5, 0.0], ids=["in the middle", "before the first byte"])
async def test_a_failure_while_it_is_taken_up_again_is_one_more_break(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, at: float
) -> None:
    """Nor does a host that is left alone meanwhile end it: the next probe is waited for."""
    mirror = await mirror_of(upstream, make_mirror, BIG, breaker_failures=1, first_pause=0.001)
    mirror.readthrough._client.hosts._sleep = sleep = FakeSleep(mirror)
    answers = [behaviours.truncated(at), *[behaviours.status(503)] * 3]
    upstream.script("file", lambda asked, answer: answers.pop(0)(asked, answer) if answers else answer)
    assert await mirror.download(NAME) == blob_of(BIG).data
    assert upstream.count("file") == 5
    assert sleep.pauses[-1] == 1  # until the first probe


async def test_a_host_that_stays_down_ends_a_transfer(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG, breaker_failures=1, first_pause=0.001)
    mirror.readthrough._client.hosts._sleep = sleep = FakeSleep(mirror)
    answers = [behaviours.truncated(0.5)]
    unwell = behaviours.status(503)
    upstream.script("file", lambda asked, answer: (answers.pop(0) if answers else unwell)(asked, answer))
    with pytest.raises(Unavailable, match="it answered 503"):
        await mirror.download(NAME)
    assert [pause for pause in sleep.pauses if pause >= 1] == [1]


async def test_an_upstream_without_ranges_is_read_past_what_is_there(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.takes_ranges = False
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.reset(0.5), times=1)
    assert await mirror.download(NAME) == blob_of(BIG).data
    assert upstream.count("file") == 2


async def test_without_digest_and_validator_a_broken_transfer_is_not_continued(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.algorithms = ()
    upstream.gives_validators = False
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.truncated(0.5), times=1)
    with pytest.raises(Unavailable, match="cut off"):
        await mirror.download(NAME)
    assert not mirror.blobs.blobs


async def test_a_file_that_changed_while_it_was_fetched_is_not_glued_together(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.algorithms = ()
    mirror = await mirror_of(upstream, make_mirror, BIG)
    upstream.script("file", behaviours.truncated(0.5), times=1)
    arriving = await mirror.fetch(NAME)
    other = bytes(BIG)
    upstream.projects["demo"][0].built = BuiltFile(filename=NAME, data=other, metadata=b"", sha256=sha256_of(other))
    with pytest.raises(Unavailable, match="changed while"):
        await read_all(arriving)
    assert not mirror.blobs.blobs


async def test_a_gzip_label_on_a_gzip_file_is_read_over(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000)
    upstream.script("file", behaviours.with_headers(Content_Encoding="gzip"))
    assert await mirror.download(NAME) == blob_of(1000).data


async def test_a_transfer_that_is_too_slow_is_given_up(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000, file_allowance=0.1, slowest_file=1_000_000)
    upstream.script("file", behaviours.dripping_body(0.02))
    with pytest.raises(Unavailable, match="slower than"):
        await mirror.download(NAME)
    assert not mirror.blobs.blobs


async def test_a_file_beyond_the_limit_is_not_fetched(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000, file_limit=999)
    with pytest.raises(Unavailable, match="larger than"):
        await mirror.download(NAME)


async def test_a_file_that_is_gone_upstream_is_missing(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000)
    upstream.script("file", behaviours.status(404))
    with pytest.raises(Missing, match=re.escape(f"error 404 getting {upstream.file_url(NAME)}")):
        await mirror.fetch(NAME)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (behaviours.status(403), "it answered 403"),
        (behaviours.says("text/html", b"<title>log in</title>"), "HTML page"),
    ],
    ids=["403", "HTML"],
)
async def test_a_refusal_is_over_with_the_next_request(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour, reason: str
) -> None:
    """Only bytes that were wrong are not fetched again for some seconds: none came here."""
    mirror = await mirror_of(upstream, make_mirror, 1000)
    upstream.script("file", behaviour, times=1)
    with pytest.raises(BadUpstream, match=reason):
        await mirror.fetch(NAME)
    while mirror.readthrough._files._arriving:
        await asyncio.sleep(0)
    assert await mirror.download(NAME) == blob_of(1000).data


async def test_a_client_does_not_wait_for_ever_for_headers(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await mirror_of(upstream, make_mirror, 1000, file_wait=0.02, read_timeout=5.0, page_deadline=5.0)
    upstream.script("file", behaviours.silent())
    with pytest.raises(Unavailable, match="has not answered"):
        await mirror.fetch(NAME)


async def test_time_in_our_own_queue_is_not_waited_in_vain(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", blob_of(1000), blob_of(1000, "demo-2.0.tar.gz"))
    mirror = await make_mirror(upstream.url, concurrent_files=1, file_wait=0.2, read_timeout=20.0)
    await mirror.refresh()
    client = mirror.readthrough._client
    upstream.script("file", behaviours.silent_after(0.5))
    await mirror.fetch(NAME)
    with pytest.raises(Unavailable, match="has not answered"):
        await mirror.fetch("demo-2.0.tar.gz")
    assert upstream.count("file") == 1
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 10


async def test_only_so_many_files_are_fetched_at_once(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    names = [f"demo-{number}.tar.gz" for number in range(6)]
    upstream.add("demo", *(blob_of(2000 + number, name) for number, name in enumerate(names)))
    upstream.script("file", behaviours.dripping_body(0.002, size=500))
    mirror = await make_mirror(upstream.url, concurrent_files=2)
    await mirror.refresh()
    spool = mirror.blobs.spool
    open_now = most = 0

    class Counted:
        def __init__(self, inner) -> None:
            self.inner = inner

        async def __aenter__(self):
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            return await self.inner.__aenter__()

        async def __aexit__(self, *error):
            nonlocal open_now
            open_now -= 1
            return await self.inner.__aexit__(*error)

    mirror.blobs.spool = lambda *algorithms: Counted(spool(*algorithms))
    await asyncio.gather(*(mirror.download(name) for name in names))
    assert most == 2


STEPS = (
    "fetch.requested",
    "fetch.headers",
    "fetch.first_bytes",
    "fetch.body_complete",
    "fetch.digest_checked",
    "fetch.kept",
    "fetch.committed",
)


@pytest.mark.parametrize("point", STEPS)
async def test_a_fetch_that_fails_at_any_step_leaves_nothing_half(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, point: str, tally
) -> None:
    upstream.algorithms = ("md5",)
    mirror = await mirror_of(upstream, make_mirror, 2_000_000)
    failpoints.arm(f"{point}=raise:EIO")
    try:
        with pytest.raises(Unavailable):
            await (await mirror.fetch(NAME)).finished()
        assert failpoints.hits[point] == 1
    finally:
        failpoints.disarm()
    assert all(sha256_of(data) == sha256 for sha256, (data, _) in mirror.blobs.blobs.items())
    recorded = (await mirror.file(NAME)).sha256
    assert recorded is None or recorded in mirror.blobs.blobs
    assert await mirror.download(NAME) == blob_of(2_000_000).data
    assert (await mirror.file(NAME)).sha256 == blob_of(2_000_000).sha256
    tally("failed steps of a fetch", 1)


async def test_closing_breaks_the_readers_and_keeps_nothing(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await mirror_of(upstream, make_mirror, BIG, read_timeout=30.0)
    upstream.script("file", behaviours.silent_after(0.5))
    arriving = await mirror.fetch(NAME)
    reader = asyncio.ensure_future(read_all(arriving))
    await asyncio.sleep(0.01)
    await mirror.readthrough._tasks.close(grace=0.0)
    with pytest.raises(Unavailable, match="stopping"):
        await reader
    assert not mirror.blobs.blobs
