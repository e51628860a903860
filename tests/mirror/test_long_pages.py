"""Pages that are larger than anybody wants in memory: read in pieces, stored in parts, whole or unknown."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core import failpoints
from pkgindex_core.changes import MirrorPage, PutIndex, PutUser
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import IndexConfig, Page, Serial, User
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import IndexStore
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.testing.wheels import build_sdist
from pkgindex_mirror.documents import plain_pages
from pkgindex_mirror.documents.markup import UnreadablePage
from pkgindex_mirror.documents.pages import PageListing, read_page
from pkgindex_mirror.readthrough.pages import refreshing
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours
from pkgindex_mirror.testing.upstream import Hosted

from .conftest import DEMO, INDEX, QUICK

POINT = "page.part_committed"
NAMES = [f"demo-{number}.tar.gz" for number in range(10)]


class Mirror:
    """A mirror over a store of either kind, and what a test asks of it."""

    def __init__(self, store: IndexStore, readthrough: ReadThrough, index: IndexConfig, clock: ManualClock) -> None:
        self.store = store
        self._readthrough = readthrough
        self._index = index
        self._clock = clock

    async def refresh(self) -> str:
        self._clock.advance(10_000)
        (standing,) = await self.store.standings(DEMO, [INDEX])
        return (await self._readthrough.refresh(self._index, DEMO, standing)).state

    async def page(self) -> Page | None:
        return await self.store.page(INDEX, DEMO)

    async def names(self) -> list[str]:
        page = await self.page()
        return sorted(row.filename for row in page.rows) if page else []


@pytest.fixture(params=["memory", "sqlite"])
async def mirror(
    request: pytest.FixtureRequest,
    upstream: ScriptedUpstream,
    clock: ManualClock,
    workers: ThreadPoolExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Mirror]:
    monkeypatch.setattr(refreshing, "PART", 3)
    monkeypatch.setattr(segments, "LONG", 5)
    monkeypatch.setattr(plain_pages, "KEPT_BYTES", 0)
    store = IndexBehind(
        MemoryIndex(clock) if request.param == "memory" else await SqliteIndex.open(tmp_path / "index", clock)
    )
    index = mirror_config(INDEX, upstream.url)
    await store.apply([PutUser(User(name="root")), PutIndex(index)], who="test")
    readthrough = ReadThrough(
        store=store,
        blob_store=BlobsBehind(MemoryBlobs(clock=clock, spools=tmp_path), clock=clock),
        clock=clock,
        workers=workers,
        data=tmp_path,
        settings=MirrorSettings(**QUICK),
    )
    upstream.add("demo", *(build_sdist("demo", str(number)) for number in range(10)))
    yield Mirror(store, readthrough, index, clock)
    await readthrough.close()
    await store.close()


async def test_a_long_page_comes_in_parts_and_is_unknown_until_the_last(
    upstream: ScriptedUpstream, mirror: Mirror
) -> None:
    before = await mirror.store.head()
    failpoints.arm(f"{POINT}=raise:ENOSPC@2")
    try:
        with pytest.raises(Unavailable, match="could not be stored"):
            await mirror.refresh()
    finally:
        failpoints.disarm()
    assert await mirror.page() is None
    # What the upstream took back meanwhile is not there afterwards either.
    del upstream.projects["demo"][0]
    assert await mirror.refresh() == "fresh"
    assert await mirror.names() == NAMES[1:]
    changes = [change for commit in await mirror.store.commits(before) for change in commit.changes]
    assert [change.part for change in changes if isinstance(change, MirrorPage)] == [
        "first", "middle", "first", "middle", "last",
    ]  # fmt: skip


async def test_a_long_difference_that_fails_leaves_the_page_and_is_made_up_for(
    upstream: ScriptedUpstream, mirror: Mirror
) -> None:
    await mirror.refresh()
    known = await mirror.page()
    assert known is not None
    upstream.projects["demo"] = [
        *upstream.projects["demo"][5:],
        *(Hosted(built=build_sdist("demo", str(number))) for number in range(20, 28)),
    ]
    failpoints.arm(f"{POINT}=raise:ENOSPC@1")
    try:
        assert await mirror.refresh() == "stale"
    finally:
        failpoints.disarm()
    now = await mirror.page()
    assert now is not None
    # The upstream is asked again by what it said of the old page, not answered "unchanged" by what it said of the new one.
    assert now.head == known.head
    assert await mirror.refresh() == "fresh"
    assert await mirror.names() == sorted([*NAMES[5:], *(f"demo-{number}.tar.gz" for number in range(20, 28))])


async def test_a_long_difference_to_a_page_whose_stamp_is_above_all_serials(
    upstream: ScriptedUpstream, mirror: Mirror
) -> None:
    """As pages have it that were learned several times before they were committed."""
    await mirror.refresh()
    known = await mirror.page()
    assert known is not None
    stamp = Serial(await mirror.store.head() + 20)
    head = replace(known.head, display_name="DEMO")
    commit = await mirror.store.apply([MirrorPage(INDEX, DEMO, head, stamp=stamp, content="learned")], who="test")
    assert commit is not None
    upstream.projects["demo"] = upstream.projects["demo"][5:]
    assert await mirror.refresh() == "fresh"
    assert await mirror.names() == NAMES[5:]
    parts = [each.changes[0] for each in await mirror.store.commits(commit.serial)]
    assert [each.part for each in parts if isinstance(each, MirrorPage)] == ["first", "last"]


async def test_a_page_that_grows_too_large_says_which_setting(upstream: ScriptedUpstream, mirror: Mirror) -> None:
    upstream.script("page", behaviours.with_body(lambda body: body + b" " * (65 * 1024 * 1024)))
    with pytest.raises(Unavailable, match=r"larger than 67108864 bytes .*page_limit"):
        await mirror.refresh()


def _json(count: int) -> tuple[bytes, str]:
    files = [
        {
            "filename": f"demo-1.{number}.tar.gz",
            "url": f"/f/demo-1.{number}.tar.gz",
            "hashes": {"sha256": f"{number:064}"},
        }
        for number in range(count)
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files}).encode(), "application/json"


def _html(count: int) -> tuple[bytes, str]:
    links = (
        f'<a href="/f/demo-1.{number}.tar.gz#sha256={number:064}">demo-1.{number}.tar.gz</a><br>\n'
        for number in range(count)
    )
    return b"<!DOCTYPE html><title>Links for demo</title>" + "".join(links).encode(), "text/html"


@pytest.mark.parametrize("make", [_json, _html])
def test_a_long_page_is_read_in_twice_its_size(make: Callable[[int], tuple[bytes, str]]) -> None:
    """As a tuple of files it was ten times."""
    body, content_type = make(25_000)
    read_page(b'{"files": []}', content_type, "http://host/simple/demo/", DEMO)  # what is made once
    tracemalloc.start()
    try:
        listing = read_page(body, content_type, "http://host/simple/demo/", ProjectName("demo"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(listing, PageListing)
    assert len(listing.files) == 25_000
    assert peak < 3 * len(body), f"{peak:,} bytes for {len(body):,}"


TINY = b"[" + b"[]," * 1_700_000 + b"[]]"
"""Five megabytes of JSON that are 140 in memory."""


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (b'{"files": [], "versions": %s}', "'versions' has 5100004 bytes"),
        (b'{"files": [], "name": %s}', "'name' has 5100004 bytes"),
        (b'{"files": [], "meta": {"x": %s}}', "'meta' has 5100011 bytes"),
        (b'{"files": [], "project-status": %s}', "'project-status' has 5100004 bytes"),
        (b'{"files": [{"filename": "demo-1.zip", "hashes": %s}]}', "an item has more than 1048576 bytes"),
        (b'{"files": [{"filename": "demo-1.zip", "x": [{}, {}, %s]}]}', "an item has more than 1048576 bytes"),
        (b'{"files": [], "x": NaN, "y": %s}', "not JSON (RFC 8259)"),
        (b'{"files": [], "x": %s}', ""),
    ],
    ids=["versions", "name", "meta", "status", "entry", "unknown in entry", "lenient", "unknown"],
)
def test_tiny_values_in_any_field_cost_little_memory(page: bytes, reason: str) -> None:
    """A field that is not read may have any size. (24 MiB of versions were 700 MiB.)"""
    body = page % TINY
    read_page(b'{"files": []}', "application/json", "http://host/simple/demo/", DEMO)  # what is made once
    tracemalloc.start()
    try:
        found = read_page(body, "application/json", "http://host/simple/demo/", DEMO)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reason in (found.reason if isinstance(found, UnreadablePage) else "")
    assert isinstance(found, UnreadablePage) is bool(reason)
    assert peak < 32_000_000, f"{peak:,} bytes for {len(body):,}"


def test_as_many_versions_as_an_honest_page_has_are_read() -> None:
    versions = [f"1.{number}" for number in range(300_000)]
    body = json.dumps({"files": [], "versions": [*versions, None]}, separators=(",", ":")).encode()
    found = read_page(body, "application/json", "http://host/simple/demo/", DEMO)
    assert isinstance(found, PageListing)
    assert found.versions == tuple(versions)


def test_a_large_entry_is_read_wherever_its_commas_are() -> None:
    private = [{"a": {}, "b": ["},{"] * 10}] * 10_000
    entries = [{"filename": f"demo-{number}.zip", "url": "/f", "_private": private} for number in range(4)]
    body = json.dumps({"files": entries}).encode()
    assert 512 * 1024 < len(body) / 4 < 1024 * 1024
    found = read_page(body, "application/json", "http://host/simple/demo/", DEMO)
    assert isinstance(found, PageListing)
    assert len(found.files) == 4
