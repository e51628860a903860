"""What is noted of answers that brought nothing new: restarts and other servers know it, and no client waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from pkgindex_core.changes import MirrorPage
from pkgindex_core.errors import StorageFull
from pkgindex_core.models import PageHead
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_mirror.readthrough import noted_checks
from pkgindex_mirror.readthrough.noted_checks import KIND, Noted, NotedChecks
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import DEMO, INDEX, MakeMirror, Mirror

WHEEL = build_wheel("demo", "1.0")
EXPIRY = {"mirror_cache_expiry": 100}


@pytest.fixture
async def first(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> Mirror:
    """A mirror that has a page, and has asked for it again when that had expired."""
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config=EXPIRY)
    await mirror.refresh()
    mirror.clock.advance(101)
    await mirror.refresh()
    assert upstream.count("page") == 2
    return mirror


async def noted(mirror: Mirror) -> list[str]:
    """The keys of the notes that are in the store."""
    await mirror.readthrough._noted.settle()
    return [note.key async for batch in mirror.store.notes(KIND) for note in batch]


async def other(mirror: Mirror, make_mirror: MakeMirror, upstream: ScriptedUpstream, **config: Any) -> Mirror:
    """Another server over the same store, or the same one after a restart."""
    return await make_mirror(upstream.url, of=mirror, config={**EXPIRY, **config})


async def test_after_a_restart_nothing_is_asked_while_the_answer_counts(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """Although the page itself was fetched longer ago."""
    checked = first.clock.now()
    await first.readthrough.close()
    second = await other(first, make_mirror, upstream)
    second.clock.advance(90)
    freshness = await second.refresh()
    assert (freshness.state, freshness.checked) == ("fresh", checked)
    assert upstream.count("page") == 2
    second.clock.advance(11)
    assert not await second.is_fresh()
    await second.refresh()
    assert upstream.count("page") == 3


async def test_of_two_servers_one_asks(first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    second = await other(first, make_mirror, upstream)
    assert await noted(first) == [f"{INDEX}/demo"]
    assert (await second.refresh()).state == "fresh"
    assert upstream.count("page") == 2
    for _ in range(3):
        first.clock.advance(101)
        await first.refresh()
        await noted(first)
        # This one's own answer has expired as well.
        assert not await second.is_fresh()
        assert (await second.refresh()).state == "fresh"
        assert await second.is_fresh()
    assert upstream.count("page") == 2 + 3


async def test_a_server_that_is_told_to_ask_asks(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    await noted(first)
    second = await other(first, make_mirror, upstream)
    await second.readthrough.refresh(second.index, DEMO, await second.standing(), again=True)
    assert upstream.count("page") == 3
    assert "If-None-Match" in upstream.asked[-1].headers


async def test_a_note_says_nothing_against_what_was_answered_since(first: Mirror, upstream: ScriptedUpstream) -> None:
    """A page that is gone upstream stays stale, although a note of before would still count."""
    await noted(first)
    first.clock.advance(10)
    upstream.script("page", behaviours.status(404))
    told = await first.readthrough.refresh(first.index, DEMO, await first.standing(), again=True)
    assert (told.state, told.reason) == ("stale", "gone upstream")
    first.clock.advance(61)
    told = await first.refresh()
    assert (told.state, told.reason) == ("stale", "gone upstream")
    assert upstream.count("page") == 4


async def test_validators_that_changed_alone_outlive_a_restart(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    upstream.page_says["demo"] = {"_private": 1}  # other bytes, same page
    first.clock.advance(101)
    await first.refresh()
    assert "If-None-Match" in upstream.asked[-1].headers
    await first.readthrough.close()
    second = await other(first, make_mirror, upstream)
    second.clock.advance(101)
    await second.refresh()
    tags = [asked.headers.get("If-None-Match") for asked in upstream.asked]
    assert (len(tags), len({*tags})) == (4, 3)
    assert tags[1] == tags[2] != tags[3]


async def test_a_note_about_another_page_counts_for_nothing(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    """A page that was shown, and confirmed, and lost before it was stored: its validators would be answered with "unchanged"."""
    await noted(first)
    lost = Noted(first.clock.now(), "9999:", {"etag": '"of-the-lost-page"', "url": f"{upstream.url}demo/"})
    first.readthrough._noted.write(INDEX, DEMO, lost)
    await first.readthrough.close()
    second = await other(first, make_mirror, upstream)
    await second.refresh()
    assert upstream.count("page") == 3
    assert "of-the-lost-page" not in upstream.asked[-1].headers["If-None-Match"]


async def test_validators_in_memory_are_not_sent_for_a_page_that_somebody_else_stored(
    first: Mirror, upstream: ScriptedUpstream
) -> None:
    """The upstream would confirm what was there before."""
    head = PageHead(display_name="other", validators={"etag": '"other"', "url": f"{upstream.url}demo/"})
    await first.store.apply([MirrorPage(INDEX, DEMO, head)], who="another server")
    first.clock.advance(101)
    await first.refresh()
    assert upstream.asked[-1].headers["If-None-Match"] == '"other"'
    page = await first.store.page(INDEX, DEMO)
    assert page is not None
    assert page.head.display_name == "demo"


async def test_a_note_of_an_index_that_was_pointed_elsewhere_counts_for_nothing(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    await noted(first)
    async with ScriptedUpstream() as elsewhere:
        elsewhere.add("demo", WHEEL)
        second = await make_mirror(elsewhere.url, of=first, config=EXPIRY)
        await second.refresh()
        assert elsewhere.count("page") == 1


async def test_a_note_that_cannot_be_read_counts_for_nothing(
    first: Mirror, upstream: ScriptedUpstream, make_mirror: MakeMirror
) -> None:
    await noted(first)
    await first.store.put_note(KIND, f"{INDEX}/demo", b"\xc1")
    second = await other(first, make_mirror, upstream)
    assert (await second.refresh()).state == "fresh"
    assert upstream.count("page") == 3


async def test_a_first_page_costs_neither_a_note_nor_a_look_for_one(
    upstream: ScriptedUpstream, make_mirror: MakeMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store keeps the time and the validators with the page; of what is absent nothing is kept."""
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url)

    def no_note(*_: object, **__: object) -> None:
        raise AssertionError("a note was touched")

    for name in ("note", "put_note", "put_notes"):
        monkeypatch.setattr(mirror.store, name, no_note)
    assert (await mirror.refresh()).state == "fresh"
    assert await mirror.is_fresh()
    await mirror.readthrough._noted.settle()


async def test_project_lists_are_noted_too(upstream: ScriptedUpstream, make_mirror: MakeMirror) -> None:
    upstream.add("demo", WHEEL)
    mirror = await make_mirror(upstream.url, config=EXPIRY)
    await mirror.readthrough.names(mirror.index)
    mirror.clock.advance(101)
    await mirror.readthrough.names(mirror.index)
    asked = upstream.count("names")
    assert await noted(mirror) == [f"{INDEX}/"]
    second = await other(mirror, make_mirror, upstream)
    mirror.clock.advance(90)
    assert (await second.readthrough.names(second.index)).freshness.state == "fresh"
    assert upstream.count("names") == asked
    mirror.clock.advance(11)
    assert (await second.readthrough.names(second.index)).freshness.state == "fresh"
    assert upstream.count("names") == asked + 1


class Writes:
    """A store that counts batches of notes, and fails when it is told to."""

    def __init__(self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches: list[int] = []
        self.full = False
        original = mirror.store.put_notes

        async def put_notes(kind: str, values: Any, **rest: Any) -> None:
            if self.full:
                raise StorageFull("no room")
            self.batches.append(len(values))
            await original(kind, values, **rest)

        monkeypatch.setattr(mirror.store, "put_notes", put_notes)


async def test_answers_are_noted_together_and_not_without_bound(first: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = Writes(first, monkeypatch)
    monkeypatch.setattr(noted_checks, "MOST", 50)
    checks = NotedChecks(first.store)
    for number in range(200):
        for moment in (1, 2):
            checks.write(INDEX, f"p{number}", Noted(moment, f"{number}:", {}))  # type: ignore[arg-type]  # any time
    assert writes.batches == []
    newest = await checks.read(INDEX, "p0", about="0:")
    assert newest is not None
    assert newest.checked == 2
    await checks.close()
    assert writes.batches == [50]
    assert await checks.read(INDEX, "p49", about="49:") is not None
    assert await checks.read(INDEX, "p50", about="50:") is None


async def test_a_full_disk_keeps_nobody_from_an_answer(
    first: Mirror, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writes = Writes(first, monkeypatch)
    writes.full = True
    first.clock.advance(101)
    assert (await first.refresh()).state == "fresh"
    assert await first.is_fresh()
    with pytest.raises(StorageFull):
        await first.readthrough._noted.settle()
    await first.readthrough.close()
    assert "are forgotten: no room" in caplog.text
    assert upstream.count("page") == 3
