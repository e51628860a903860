"""Pages and project lists: fresh, stale, absent or unknown, and never the wrong one of these."""

from __future__ import annotations

import asyncio

import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import DropMirrorPage, MirrorNames, MirrorPage
from pkgindex_core.errors import BadUpstream, Unavailable
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_sdist, build_wheel
from pkgindex_mirror.readthrough.pages import refreshing_names
from pkgindex_mirror.testing import Behaviour, ScriptedUpstream, behaviours

from .conftest import DEMO, INDEX, MakeMirror

WHEEL = build_wheel("demo", "1.0")
SDIST = build_sdist("demo", "1.0")
CLOSED = "http://127.0.0.1:9/simple/"


async def test_everything_a_page_says_passes_through(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL, yanked="broken", provenance="https://example.org/p", gpg_sig=False)
    upstream.add("demo", SDIST)
    upstream.page_says["demo"] = {
        "versions": ["1.0", "1.0.0", "0.9"],
        "project-status": {"status": "archived", "reason": "moved"},
    }
    mirror = await make_mirror(upstream.url)
    freshness = await mirror.refresh()
    assert freshness.state == "fresh"
    assert freshness.checked == mirror.clock.now()
    files = await mirror.files()
    wheel, sdist = files[WHEEL.filename], files[SDIST.filename]
    assert wheel.digests == {"sha256": WHEEL.sha256}
    assert (wheel.size, wheel.version, wheel.requires_python) == (WHEEL.size, "1.0", ">=3.8")
    assert wheel.upload_time == 1_767_323_045_678_900
    assert (wheel.yanked, wheel.provenance, wheel.gpg_sig) == ("broken", "https://example.org/p", False)
    assert wheel.metadata_sha256 is not None
    assert wheel.url == f"{upstream.root}files/{WHEEL.filename}"
    assert (sdist.yanked, sdist.metadata_offered, sdist.metadata_sha256) == (False, False, None)
    page = await mirror.store.page(INDEX, DEMO)
    assert page is not None
    # 1.0.0 is 1.0, which has files; 0.9 has none.
    assert (page.head.versions, page.head.status, page.head.status_reason) == (("0.9",), "archived", "moved")
    assert page.head.validators["etag"]


async def test_a_wheel_without_announced_sidecar_is_offered_one(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.announces_sidecars = False
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    assert (await mirror.file(WHEEL.filename)).metadata_offered


@pytest.mark.parametrize("speaks", ["json", "html"])
async def test_a_page_is_asked_for_once_within_its_expiry(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, speaks: str
) -> None:
    upstream.speaks = "json" if speaks == "json" else "html"
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 100})
    assert not await mirror.is_fresh()
    await mirror.refresh()
    assert await mirror.is_fresh()
    await mirror.refresh()
    assert upstream.count("page") == 1
    head = await mirror.store.head()
    mirror.clock.advance(101)
    assert not await mirror.is_fresh()
    assert (await mirror.refresh()).state == "fresh"
    assert await mirror.is_fresh()
    assert upstream.count("page") == 2
    assert "If-None-Match" in upstream.asked[-1].headers
    # Unchanged pages are not committed again.
    assert await mirror.store.head() == head


async def test_only_the_difference_is_committed(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL, SDIST)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.refresh()
    newer = build_wheel("demo", "2.0")
    upstream.projects["demo"] = [hosted for hosted in upstream.projects["demo"] if hosted.built is WHEEL]
    upstream.add("demo", newer)
    await mirror.refresh()
    (commit,) = (await mirror.store.commits(await mirror.store.head() - 1))[-1:]
    (change,) = commit.changes
    assert commit.who == "[mirror]"
    assert isinstance(change, MirrorPage)
    assert [file.filename for file in change.put] == [newer.filename]
    assert change.drop == (SDIST.filename,)


async def test_what_is_stored_is_served_while_too_much_is_under_way(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0}, pending=1)
    await mirror.refresh()
    await mirror.readthrough.names(mirror.index)
    upstream.script("/simple/other/", behaviours.late(0.2))
    standing = await mirror.standing(ProjectName("other"))
    busy = asyncio.ensure_future(mirror.readthrough.refresh(mirror.index, ProjectName("other"), standing))
    await asyncio.sleep(0)
    freshness = await mirror.refresh()
    assert (freshness.state, freshness.reason) == ("stale", "1 upstream requests are under way already")
    assert (await mirror.readthrough.names(mirror.index)).freshness == freshness
    with pytest.raises(Unavailable, match="under way already"):
        await mirror.refresh(ProjectName("third"))
    assert (await busy).state == "absent"


async def test_validators_that_changed_alone_are_kept_in_memory(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.refresh()
    head = await mirror.store.head()
    upstream.page_says["demo"] = {"_private": 1}  # other bytes, same page
    await mirror.refresh()
    assert await mirror.store.head() == head
    await mirror.refresh()
    tags = [asked.headers.get("If-None-Match") for asked in upstream.asked]
    assert tags[0] is None
    assert tags[1] is not None
    assert tags[2] not in {None, tags[1]}


async def test_after_a_restart_a_page_is_fresh_until_its_expiry(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    first = await make_mirror(upstream.url, config={"mirror_cache_expiry": 100})
    await first.refresh()
    first.clock.advance(60)
    second = await make_mirror(upstream.url, of=first, config={"mirror_cache_expiry": 100})
    assert (await second.refresh()).state == "fresh"
    assert upstream.count("page") == 1
    second.clock.advance(41)
    assert (await second.refresh()).state == "fresh"
    assert upstream.count("page") == 2


async def test_pointing_the_index_elsewhere_asks_without_the_old_validators(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    async with ScriptedUpstream() as other:
        newer = build_wheel("demo", "3.0")
        other.add("demo", newer)
        moved = await mirror.changed(mirror_url=other.url)
        assert not await moved.is_fresh()
        await moved.refresh()
        assert list(await moved.files()) == [newer.filename]
        assert "If-None-Match" not in other.asked[0].headers


async def test_absent_is_remembered_for_a_minute(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    mirror = await make_mirror(upstream.url)
    assert (await mirror.refresh()).state == "absent"
    assert await mirror.is_fresh()
    assert (await mirror.refresh()).state == "absent"
    assert upstream.count("page") == 1
    mirror.clock.advance(61)
    assert not await mirror.is_fresh()
    upstream.add("demo", WHEEL)
    assert (await mirror.refresh()).state == "fresh"


async def test_what_is_stored_survives_an_upstream_that_dropped_it(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    del upstream.projects["demo"]
    mirror.clock.advance(2000)
    for _ in range(2):
        freshness = await mirror.refresh()
        assert (freshness.state, freshness.reason) == ("stale", "gone upstream")
        assert not await mirror.is_fresh()
    assert upstream.count("page") == 2
    assert "gone upstream" in caplog.text
    assert list(await mirror.files()) == [WHEEL.filename]


@pytest.mark.parametrize(
    ("page", "kept"),
    [
        (b"<title>demo</title><div id=root></div><script src=app.js></script>", True),
        (b"<!DOCTYPE html><title>My packages</title><body></body>", True),
        (b"<title>Log in</title><form><input name=password></form>", True),
        (b"<title>Links for demo</title>", False),
    ],
    ids=["an application", "nothing", "a login", "a listing"],
)
async def test_html_without_files_takes_known_files_away_only_as_a_listing(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, page: bytes, kept: bool
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    mirror.clock.advance(2000)
    upstream.script("page", behaviours.says("text/html", page))
    freshness = await mirror.refresh()
    assert freshness.state == ("stale" if kept else "fresh")
    assert ("is no listing" in freshness.reason) is kept
    assert list(await mirror.files()) == ([WHEEL.filename] if kept else [])


async def test_trouble_is_stale_when_something_is_stored_and_unavailable_otherwise(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.status(500))
    mirror = await make_mirror(upstream.url)
    with pytest.raises(Unavailable, match="answered 500"):
        await mirror.refresh()
    asked = upstream.count("page")
    assert asked == 3  # with its retries
    with pytest.raises(Unavailable):
        await mirror.refresh()
    assert upstream.count("page") == asked  # for a second nobody asks again
    upstream.behave()
    mirror.clock.advance(6)
    assert (await mirror.refresh()).state == "fresh"
    upstream.script("page", behaviours.status(500))
    mirror.clock.advance(2000)
    freshness = await mirror.refresh()
    assert (freshness.state, freshness.reason) == ("stale", "it answered 500")
    assert freshness.checked is not None


@pytest.mark.parametrize(("status", "pause"), [(503, 5), (429, 77)])
async def test_a_long_retry_after_is_not_the_clients(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, status: int, pause: int
) -> None:
    """pip would wait as long as it is told, five times. A 503 may end sooner than it says; a 429 is respected."""
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.status(status, headers={"Retry-After": "77"}))
    mirror = await make_mirror(upstream.url, breaker_failures=1)
    mirror.clock.advance(10)
    for name in ("demo", "other", "third"):
        with pytest.raises(Unavailable, match=f"it answered {status}") as caught:
            await mirror.refresh(ProjectName(name))
        assert caught.value.retry_after == 2
    assert upstream.count("page") == 1
    upstream.behave()
    mirror.clock.advance(pause - 0.1 if status == 429 else 0.9)
    with pytest.raises(Unavailable):
        await mirror.refresh()
    assert upstream.count("page") == 1
    mirror.clock.advance(1.1)
    assert (await mirror.refresh()).state == "fresh"


async def test_one_429_with_retry_after_leaves_the_host_alone(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.script("page", behaviours.status(429, headers={"Retry-After": "77"}), times=1)
    mirror = await make_mirror(upstream.url, breaker_failures=1000)
    for name in ("demo", "other"):
        with pytest.raises(Unavailable, match="it answered 429"):
            await mirror.refresh(ProjectName(name))
    assert upstream.count("page") == 1
    mirror.clock.advance(77)
    assert (await mirror.refresh()).state == "absent"


async def test_a_short_retry_after_is_waited(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.status(503, headers={"Retry-After": "0"}), times=2)
    mirror = await make_mirror(upstream.url)
    assert (await mirror.refresh()).state == "fresh"
    assert upstream.count("page") == 3


async def test_many_callers_share_one_request(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    answers = await asyncio.gather(*(mirror.refresh() for _ in range(50)))
    assert {answer.state for answer in answers} == {"fresh"}
    assert upstream.count("page") == 1


async def test_an_impatient_caller_leaves_and_the_fetch_goes_on(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.dripping_body(0.004, size=8))
    mirror = await make_mirror(upstream.url, wait=0.01)
    with pytest.raises(Unavailable, match="has not answered yet"):
        await mirror.refresh()
    caller = asyncio.ensure_future(mirror.refresh())
    await asyncio.sleep(0)
    caller.cancel()
    await mirror.readthrough._tasks.close(grace=5)
    assert list(await mirror.files()) == [WHEEL.filename]
    assert upstream.count("page") == 1


async def test_the_first_project_list_is_waited_for_longer_than_a_page(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """A person asks for it, and PyPI's takes longer than a page; without it the answer is 503."""
    upstream.add("demo", WHEEL)
    upstream.script("names", behaviours.dripping_body(0.004, size=8))
    impatient = await make_mirror(upstream.url, wait=0.01, list_wait=0.0)
    with pytest.raises(Unavailable, match="has not answered yet"):
        await impatient.readthrough.names(impatient.index)
    patient = await make_mirror(upstream.url, wait=0.01, list_wait=30.0)
    assert (await patient.readthrough.names(patient.index)).freshness.state == "fresh"


async def test_with_a_page_in_store_nobody_waits_twice_for_a_slow_upstream(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, wait=2.0, read_timeout=20.0, page_deadline=20.0)
    await mirror.refresh()
    mirror.clock.advance(2000)
    upstream.script("page", behaviours.silent())
    assert (await mirror.refresh()).state == "stale"
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answers = await asyncio.gather(*(mirror.refresh() for _ in range(20)))
    assert {answer.state for answer in answers} == {"stale"}
    assert loop.time() - begun < 1.8  # each would have waited for two seconds


async def test_the_breaker_answers_at_once_and_one_probe_closes_it(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.status(502))
    mirror = await make_mirror(upstream.url, attempts=1, breaker_failures=3, breaker_interval=30.0)
    for number in range(10):
        with pytest.raises(Unavailable):
            await mirror.refresh(ProjectName(f"demo{number}"))
    assert upstream.count("page") == 3
    upstream.behave()
    mirror.clock.advance(31)
    assert (await mirror.refresh()).state == "fresh"
    assert (await mirror.refresh(ProjectName("other"))).state == "absent"


@pytest.mark.parametrize(
    "there",
    [None, behaviours.status(502), behaviours.status(429, headers={"Retry-After": "60"}), behaviours.truncated(0.5), behaviours.silent()],
    ids=["closed", "502", "429", "cut off", "silent"],
)  # fmt: skip
async def test_where_a_host_redirects_to_does_not_count_against_it(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, there: Behaviour | None
) -> None:
    async with ScriptedUpstream() as other:
        other.add("demo", WHEEL)
        mirror = await make_mirror(upstream.url, attempts=1, breaker_failures=1)
        upstream.script("/simple/demo/", behaviours.redirect(f"{other.url}demo/"))
        if there is None:
            await other.stop()
        else:
            other.script("page", there)
        with pytest.raises(Unavailable):
            await mirror.refresh()
        assert (await mirror.refresh(ProjectName("other"))).state == "absent"


async def test_a_probe_that_is_redirected_closes_the_breaker(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await make_mirror(upstream.url, attempts=1, breaker_failures=1)
    upstream.script("page", behaviours.status(502), times=1)
    with pytest.raises(Unavailable):
        await mirror.refresh()
    mirror.clock.advance(1)
    upstream.script("/simple/demo/", behaviours.redirect(CLOSED))
    with pytest.raises(Unavailable, match="could not be connected to"):
        await mirror.refresh()
    assert (await mirror.refresh(ProjectName("other"))).state == "absent"


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (behaviours.with_body(lambda _: b""), "an empty page"),
        (behaviours.with_body(lambda body: body + b" " * 70_000), "larger than 65536 bytes"),
        (behaviours.with_headers(Content_Encoding="br"), "was not asked for"),
        (lambda asked, answer: until_close(HTML)(asked, answer), "may be cut off"),
        (behaviours.redirect_to_itself(), "in a circle"),
        (behaviours.redirect("file:///etc/passwd"), "redirects to no usable URL"),
        (behaviours.status(304), "unconditional"),
    ],
    ids=["empty", "too large", "encoding", "cut off", "circle", "nowhere", "304"],
)
async def test_a_whole_answer_that_is_of_no_use_closes_the_breaker(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour, reason: str
) -> None:
    mirror = await make_mirror(upstream.url, attempts=1, breaker_failures=1, page_limit=64 * 1024)
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.status(502), times=1)
    with pytest.raises(Unavailable, match="answered 502"):
        await mirror.refresh()
    mirror.clock.advance(1)
    upstream.script("/simple/demo/", behaviour)
    with pytest.raises(Unavailable, match=reason):
        await mirror.refresh()
    assert (await mirror.refresh(ProjectName("other"))).state == "absent"


async def test_html_in_the_place_of_a_file_closes_the_breaker(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    mirror = await make_mirror(upstream.url, attempts=1, breaker_failures=1)
    upstream.add("demo", WHEEL)
    await mirror.refresh()
    upstream.script("page", behaviours.status(502), times=1)
    with pytest.raises(Unavailable, match="answered 502"):
        await mirror.refresh(ProjectName("other"))
    mirror.clock.advance(1.1)
    upstream.script("file", behaviours.says("text/html", HTML))
    with pytest.raises(BadUpstream, match="HTML page instead of the file"):
        await mirror.download(WHEEL.filename)
    assert (await mirror.refresh(ProjectName("third"))).state == "absent"


async def test_a_host_that_cannot_be_reached_is_tried_once_and_not_per_project(
    make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = await make_mirror(CLOSED)
    with pytest.raises(Unavailable, match="it could not be connected to"):
        await mirror.refresh()
    caplog.clear()
    for name in ("other", "third"):
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:9 failed a moment ago: it could not"):
            await mirror.refresh(ProjectName(name))
    with pytest.raises(Unavailable, match="failed a moment ago"):
        await mirror.readthrough.names(mirror.index)
    assert not caplog.messages  # the host's failure was logged, once


async def test_hosts_that_are_left_alone_are_bounded_in_number(make_mirror: MakeMirror) -> None:
    mirror = await make_mirror(CLOSED)
    client = mirror.readthrough._client
    for number in range(1500):
        client.hosts.of(f"http://host{number}.example.org/").breaker.failed(0.0, down=True)
        client.hosts.of(CLOSED).breaker.failed(0.0, down=True)
    assert len(client.hosts._known) == 1000
    # What is asked all the time stays.
    assert client.hosts.of(CLOSED).breaker.is_open
    assert client.hosts.of("http://host1499.example.org/").breaker.is_open
    assert not client.hosts.of("http://host0.example.org/").breaker.is_open


async def test_what_was_waited_in_vain_is_not_waited_again(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    upstream.script("page", behaviours.silent())
    mirror = await make_mirror(upstream.url, wait=0.05)
    client = mirror.readthrough._client
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 10
    with pytest.raises(Unavailable, match="has not answered yet"):
        await mirror.refresh()
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 9.95
    client.hosts.of(upstream.url).waited = 9.5
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 1
    assert client.hosts.patience(upstream.url, 0.5, least=1.0) == 0.5
    upstream.behave()
    assert (await mirror.refresh(ProjectName("other"))).state == "absent"
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 10


async def test_time_in_our_own_queue_is_not_waited_in_vain(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.script("page", behaviours.silent())
    mirror = await make_mirror(upstream.url, wait=0.2)
    client = mirror.readthrough._client
    async with client.hosts.of(upstream.url).pages:
        for _ in range(31):  # of 32 places
            await client.hosts.of(upstream.url).pages.__aenter__()
        with pytest.raises(Unavailable, match="has not answered yet"):
            await mirror.refresh()
        assert client.hosts.patience(upstream.url, 10.0, least=1.0) == 10
        caller = asyncio.ensure_future(mirror.refresh())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        mirror.clock.advance(0.15)
    with pytest.raises(Unavailable, match="has not answered yet"):
        await caller
    assert client.hosts.patience(upstream.url, 10.0, least=1.0) == pytest.approx(9.95)


async def test_time_in_our_own_store_is_not_waited_in_vain(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, wait=0.2)
    original, gate = mirror.store.learn, asyncio.Event()

    async def learn(change, **rest):  # as when too much is waiting to be stored
        await gate.wait()
        return await original(change, **rest)

    mirror.store.learn = learn
    with pytest.raises(Unavailable, match="has not answered yet"):
        await mirror.refresh()
    assert upstream.count("page") == 1
    assert mirror.readthrough._client.hosts.patience(upstream.url, 10.0, least=1.0) == 10
    gate.set()


async def test_what_is_stored_waits_less_than_what_is_not(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, wait=1000.0, stale_wait=0.05, read_timeout=20.0, page_deadline=20.0)
    await mirror.refresh()
    mirror.clock.advance(2000)
    upstream.script("page", behaviours.silent())
    assert (await mirror.refresh()).state == "stale"


async def test_a_serial_that_goes_back_keeps_the_newer_page_for_an_hour(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    upstream.page_headers["X-PyPI-Last-Serial"] = "10"
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.refresh()
    upstream.page_headers["X-PyPI-Last-Serial"] = "9"
    upstream.projects["demo"].clear()
    for _ in range(6):  # as a busy cache asks a stale node of a CDN
        freshness = await mirror.refresh()
        assert freshness.state == "stale"
        assert "serial went back" in freshness.reason
        assert await mirror.files()
        assert upstream.asked[-1].headers["Cache-Control"] == "no-cache"
        mirror.clock.advance(10)
    # An upstream that was rebuilt counts from the beginning: after an hour it is believed.
    mirror.clock.advance(3540)
    assert (await mirror.refresh()).state == "fresh"
    assert not await mirror.files()


async def test_a_changed_digest_is_never_followed(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.refresh()
    upstream.projects["demo"].clear()
    upstream.add("demo", build_wheel("demo", "1.0", description="other bytes"), yanked="stolen")
    await mirror.refresh()
    file = await mirror.file(WHEEL.filename)
    assert file.digests == {"sha256": WHEEL.sha256}
    assert file.yanked == "stolen"
    assert "the first is kept" in caplog.text


async def test_a_page_that_somebody_else_changes_meanwhile_is_asked_for_again(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    store = mirror.store.inner
    original = store.apply
    interfered = False

    async def apply(changes, *, who, require=()):
        nonlocal interfered
        if who == "[mirror]" and not interfered:
            interfered = True
            await original([MirrorPage(INDEX, DEMO, PageHead(display_name="other"))], who="another server")
        return await original(changes, who=who, require=require)

    store.apply = apply
    assert (await mirror.refresh()).state == "fresh"
    assert interfered
    assert list(await mirror.files()) == []
    assert not await mirror.is_fresh()
    assert (await mirror.refresh()).state == "fresh"
    assert list(await mirror.files()) == [WHEEL.filename]
    assert "If-None-Match" not in upstream.asked[-1].headers


async def test_a_page_that_somebody_else_changes_while_it_is_read_is_compared_again(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    original = mirror.store.learn
    interfered = False

    async def learn(change, **rest):
        nonlocal interfered
        if not interfered:
            interfered = True
            other = MirrorPage(INDEX, DEMO, PageHead(display_name="other"))
            await mirror.store.apply([other], who="another server")
        return await original(change, **rest)

    mirror.store.learn = learn
    assert (await mirror.refresh()).state == "fresh"
    assert interfered
    assert list(await mirror.files()) == [WHEEL.filename]


async def test_a_page_is_answered_before_it_is_stored(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    """The disk never answers: neither the page nor what is learned of its files waits for it."""
    upstream.algorithms = ("md5",)
    upstream.announces_sidecars = False
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    store, hanging = mirror.store.inner, asyncio.Event()

    async def apply(*_, **__):
        await hanging.wait()

    store.apply = apply
    mirror.behind.inner.put = apply
    standing = await mirror.standing()
    assert (await mirror.readthrough.refresh(mirror.index, DEMO, standing)).state == "fresh"
    assert await mirror.is_fresh()
    blob = await mirror.readthrough.metadata(mirror.index, DEMO, await mirror.file(WHEEL.filename))
    assert b"".join([data async for data in mirror.behind.read(blob.sha256)]) == WHEEL.metadata
    await (await mirror.fetch(WHEEL.filename)).finished()
    file = await mirror.file(WHEEL.filename)
    assert (file.sha256, file.metadata_sha256) == (WHEEL.sha256, blob.sha256)
    assert await store.page(INDEX, DEMO) is None
    hanging.set()
    del store.apply
    del mirror.behind.inner.put


async def test_many_digests_that_are_learned_are_one_commit(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.algorithms = ("md5",)
    wheels = [build_wheel("demo", f"{number}.0") for number in range(20)]
    upstream.add("demo", *wheels)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    head = await mirror.store.head()
    await asyncio.gather(*(mirror.download(wheel.filename) for wheel in wheels))
    for wheel in wheels:
        await (await mirror.fetch(wheel.filename)).finished()
    await mirror.settle()
    assert await mirror.store.head() == head + 1
    assert [(await mirror.file(wheel.filename)).sha256 for wheel in wheels] == [wheel.sha256 for wheel in wheels]


async def test_a_page_that_vanished_from_the_store_is_asked_for_without_validators(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    await mirror.refresh()
    await mirror.store.apply([DropMirrorPage(INDEX, DEMO)], who="test")
    assert not await mirror.is_fresh()
    assert (await mirror.refresh()).state == "fresh"
    assert list(await mirror.files()) == [WHEEL.filename]


async def test_names_are_kept_as_a_difference(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("Demo.One", WHEEL)
    upstream.add("two", SDIST)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 10})
    assert (await mirror.readthrough.names(mirror.index)).freshness.state == "fresh"
    listed = [row async for batch in mirror.store.listed_names(INDEX) for row in batch]
    assert [(row.name, row.display_name) for row in listed] == [("demo-one", "Demo.One"), ("two", "two")]
    await mirror.readthrough.names(mirror.index)
    assert upstream.count("names") == 1
    mirror.clock.advance(11)
    del upstream.projects["two"]
    upstream.add("three")
    await mirror.readthrough.names(mirror.index)
    listed = [row async for batch in mirror.store.listed_names(INDEX) for row in batch]
    assert [row.name for row in listed] == ["demo-one", "three"]
    mirror.clock.advance(11)
    assert (await mirror.readthrough.names(mirror.index)).freshness.state == "fresh"
    assert upstream.asked[-1].headers["If-None-Match"]


async def test_a_list_that_was_stored_in_part_is_not_the_one_that_was_there_before(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upstream goes back to what it had: "unchanged" would be said of a list that is not stored any more."""
    monkeypatch.setattr(refreshing_names, "PART", 3)
    for number in range(3):
        upstream.add(f"p{number}")
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 10})
    await mirror.readthrough.names(mirror.index)
    for number in range(3, 9):
        upstream.add(f"p{number}")
    mirror.clock.advance(11)
    point = "names.part_committed"
    failpoints.arm(f"{point}=raise:ENOSPC@1")
    try:
        assert (await mirror.readthrough.names(mirror.index)).freshness.state == "stale"
    finally:
        failpoints.disarm()
    for number in range(3, 9):
        del upstream.projects[f"p{number}"]
    mirror.clock.advance(11)
    assert (await mirror.readthrough.names(mirror.index)).freshness.state == "fresh"
    listed = [row.name async for batch in mirror.store.listed_names(INDEX) for row in batch]
    assert listed == ["p0", "p1", "p2"]


async def test_a_long_list_comes_in_parts_and_is_unknown_until_the_last(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing_names, "PART", 3)
    point = "names.part_committed"
    for number in range(10):
        upstream.add(f"p{number}")
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 100})
    failpoints.arm(f"{point}=raise:ENOSPC@2")
    try:
        with pytest.raises(Unavailable, match="could not be stored"):
            await mirror.readthrough.names(mirror.index)
    finally:
        failpoints.disarm()
    assert (await mirror.store.listing(INDEX)).count == 6
    # As after a restart: the upstream is down, and what is there is no list.
    upstream.script("names", behaviours.status(500))
    second = await make_mirror(upstream.url, of=mirror, attempts=1)
    with pytest.raises(Unavailable):
        await second.readthrough.names(second.index)
    upstream.behave()
    second.clock.advance(6)
    assert (await second.readthrough.names(second.index)).freshness.state == "fresh"
    listed = [row.name async for batch in mirror.store.listed_names(INDEX) for row in batch]
    assert listed == [f"p{number}" for number in range(10)]
    commits = await mirror.store.commits(Serial(0))
    assert all(
        len(change.put) <= 3 for commit in commits for change in commit.changes if isinstance(change, MirrorNames)
    )
    # What is whole stays whole while it changes by more than one part.
    upstream.projects.clear()
    for number in range(10, 20):
        upstream.add(f"p{number}")
    second.clock.advance(2000)
    failpoints.arm(f"{point}=raise:ENOSPC@2")
    try:
        assert (await second.readthrough.names(second.index)).freshness.state == "stale"
    finally:
        failpoints.disarm()
    second.clock.advance(6)
    third = await make_mirror(upstream.url, of=mirror)
    assert (await third.readthrough.names(third.index)).freshness.state == "fresh"
    assert [row.name async for batch in mirror.store.listed_names(INDEX) for row in batch] == sorted(upstream.projects)


async def test_a_list_that_is_suddenly_empty_is_trouble(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config={"mirror_cache_expiry": 0})
    await mirror.readthrough.names(mirror.index)
    upstream.projects.clear()
    freshness = (await mirror.readthrough.names(mirror.index)).freshness
    assert freshness.state == "stale"
    assert (await mirror.store.listing(INDEX)).count == 1


async def test_names_of_an_unreachable_upstream_are_unknown(make_mirror: MakeMirror) -> None:
    async with ScriptedUpstream() as upstream:
        url = upstream.url
    mirror = await make_mirror(url)
    with pytest.raises(Unavailable):
        await mirror.readthrough.names(mirror.index)


@pytest.mark.parametrize("point", ["page.fetched", "page.parsed", "page.learned", "behind.learned"])
async def test_a_page_that_fails_at_any_step_is_whole_or_not_there(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, point: str
) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)
    failpoints.arm(f"{point}=raise:ENOSPC")
    try:
        with pytest.raises(Unavailable, match="could not be stored"):
            await mirror.refresh()
        assert failpoints.hits[point] == 1
    finally:
        failpoints.disarm()
    assert list(await mirror.files()) in ([], [WHEEL.filename])
    mirror.clock.advance(6)
    assert (await mirror.refresh()).state == "fresh"
    assert list(await mirror.files()) == [WHEEL.filename]


async def test_an_index_without_usable_url_is_unavailable(make_mirror: MakeMirror) -> None:
    for url in ("", "ftp://example.org/simple/", "file:///etc"):
        mirror = await make_mirror(url)
        with pytest.raises(BadUpstream, match="no usable mirror_url"):
            await mirror.refresh()


async def test_closing_ends_what_is_under_way(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.script("page", behaviours.silent())
    mirror = await make_mirror(upstream.url, read_timeout=30.0, page_deadline=30.0)
    caller = asyncio.ensure_future(mirror.refresh())
    await asyncio.sleep(0)  # the flight has begun
    assert len(mirror.readthrough._tasks) == 1
    await mirror.readthrough._tasks.close(grace=0.0)
    await mirror.readthrough.close()
    assert len(mirror.readthrough._tasks) == 0
    with pytest.raises(Unavailable, match="stopping"):
        await caller
    with pytest.raises(Unavailable, match="stopping"):
        await mirror.refresh()


async def test_a_status_that_the_operator_calls_absent_is_absent(
    upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """Object stores that may not be listed answer 403 for what they do not have."""
    upstream.script("page", behaviours.status(403))
    mirror = await make_mirror(upstream.url)
    with pytest.raises(Unavailable, match="absent_statuses=404,410,403"):
        await mirror.refresh()
    told = await make_mirror(upstream.url, config={"absent_statuses": (404, 410, 403)})
    assert (await told.refresh()).state == "absent"
    upstream.script("page", behaviours.status(404))
    narrow = await make_mirror(upstream.url, config={"absent_statuses": (403,)})
    with pytest.raises(Unavailable, match="answered 404"):
        await narrow.refresh()


HTML = b"<html><title>demo</title><body><a href='../../files/demo-1.0.tar.gz'>demo-1.0.tar.gz</a>"
BARE = HTML.removeprefix(b"<html>")


def until_close(body: bytes, **headers: str) -> Behaviour:
    says = behaviours.says(
        "text/html", body, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    return lambda asked, answer: behaviours.until_close()(asked, says(asked, answer))


@pytest.mark.parametrize(
    ("behaviour", "whole"),
    [
        (behaviours.says("text/html", HTML), True),
        (until_close(HTML), False),
        (until_close(BARE), False),
        (until_close(BARE, Content_Encoding="identity"), False),
        (until_close(HTML + b"</html>"), True),
        (until_close(BARE + b"</BODY>"), True),
        (lambda _, answer: behaviours.gzipped()(_, behaviours.says("text/html", HTML)(_, answer)), True),
        (lambda _, answer: behaviours.cut_chunked(1)(_, behaviours.says("text/html", HTML + b"</html>")(_, answer)), False),
    ],
    ids=[
        "with a length", "ends by closing", "fragment that ends by closing", "called identity", "ends by closing and closed",
        "ends by closing, body closed", "gzip", "chunks without an end",
    ],
)  # fmt: skip
async def test_html_without_an_end_is_whole_when_its_transfer_is(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, behaviour: Behaviour, whole: bool
) -> None:
    """HTML 13.1.2.4: `</html>` may be omitted."""
    upstream.script("page", behaviour)
    mirror = await make_mirror(upstream.url)
    if not whole:
        with pytest.raises(Unavailable, match="cut off"):
            await mirror.refresh()
        return
    assert (await mirror.refresh()).state == "fresh"
    assert list(await mirror.files()) == ["demo-1.0.tar.gz"]
