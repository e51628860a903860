"""What is learned is shown at once and stored behind: blobs, bounds, and a law over random lives of a mirror."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkgindex_core.changes import Change, DropIndex, DropMirrorPage, MirrorPage, PutFile, PutIndex, PutUser
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import PkgIndexError, StorageFull, Unavailable
from pkgindex_core.formats import kept_pages
from pkgindex_core.formats.filenames import candidate_projects
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import PageHead
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Span
from pkgindex_core.rules.merging import merge
from pkgindex_core.testing.index_cases.values import (
    DEMO,
    DEV,
    MIRROR,
    ManualClock,
    hosted,
    mirror,
    mirrored,
    stage,
    user,
)
from pkgindex_core.tools import storing

DATA = b"Metadata-Version: 2.1\nName: demo\n"
KEY = sha256_of(DATA)
LONG = 60.0
SEED = (PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV)), PutIndex(mirror(MIRROR)))


class SlowBlobs(MemoryBlobs):
    """A fake disk: as slow as `go` says, and broken as long as `trouble` is set."""

    def __init__(self, spools: Path) -> None:
        super().__init__(clock=ManualClock(), spools=spools)
        self.go = asyncio.Event()
        self.go.set()
        self.trouble: Exception | None = None
        self.puts = 0

    async def put(self, data: bytes) -> Any:
        self.puts += 1
        await self.go.wait()
        if self.trouble is not None:
            raise self.trouble
        return await super().put(data)


@pytest.fixture
async def disk(tmp_path: Path) -> SlowBlobs:
    return SlowBlobs(tmp_path)


async def read(blobs: BlobsBehind, span: Span | None = None) -> bytes:
    return b"".join([chunk async for chunk in blobs.read(KEY, span)])


async def test_a_blob_is_read_from_memory_until_it_is_stored(disk: SlowBlobs) -> None:
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    blob = await blobs.learn(DATA)
    assert (blob.sha256, blob.size) == (KEY, len(DATA))
    assert disk.blobs == {}
    assert await blobs.stat(KEY) == blob
    assert await read(blobs) == DATA
    assert await read(blobs, Span(3, 8)) == DATA[3:8]
    assert await blobs.locate(KEY, filename="x") is None
    assert [each.sha256 async for each in blobs.walk()] == [KEY]
    await blobs.learn(DATA)
    await blobs.settle()
    assert disk.puts == 1
    assert disk.blobs[KEY][0] == DATA
    assert await read(blobs) == DATA
    await blobs.close()


async def test_what_is_put_does_not_go_this_way(disk: SlowBlobs) -> None:
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    disk.go.clear()
    putting = asyncio.create_task(blobs.put(DATA))
    await asyncio.sleep(0)
    assert await blobs.stat(KEY) is None
    disk.go.set()
    await putting
    assert KEY in disk.blobs


async def test_an_upload_that_names_pending_bytes_waits_for_them(disk: SlowBlobs) -> None:
    """Committed metadata never refers to a blob that is not durably stored."""
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    store = MemoryIndex(ManualClock())
    index = IndexBehind(store, blobs=blobs, linger=LONG)
    await index.apply(SEED, who="ann")
    await blobs.learn(DATA)
    disk.go.clear()
    upload = PutFile(DEV, DEMO, hosted("demo-1.0-py3-none-any.whl", metadata_sha256=KEY))
    uploading = asyncio.create_task(index.apply([upload], who="ann"))
    while not disk.puts:
        await asyncio.sleep(0)
    assert (uploading.done(), await store.head()) == (False, 1)
    disk.go.set()
    await uploading
    assert KEY in disk.blobs
    await index.close()
    await blobs.close()


async def test_what_is_dropped_or_set_aside_is_not_stored_afterwards(disk: SlowBlobs) -> None:
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    await blobs.learn(DATA)
    assert await blobs.drop(KEY) is True
    await blobs.settle()
    assert await blobs.stat(KEY) is None
    disk.blobs[KEY] = (b"damaged", 0.0)
    assert await blobs.set_aside(KEY) is True
    assert await blobs.stat(KEY) is None


async def test_what_is_pending_is_bounded(disk: SlowBlobs) -> None:
    blobs = BlobsBehind(disk, clock=ManualClock(), limit=1000, linger=LONG)
    disk.go.clear()
    for number in range(3):
        await blobs.learn(b"%d" % number)
    waiting = asyncio.create_task(blobs.learn(DATA))
    while not disk.puts:
        await asyncio.sleep(0)
    assert not waiting.done()
    disk.go.set()
    assert (await waiting).sha256 == KEY
    await blobs.close()
    assert len(disk.blobs) == 4


async def test_a_full_disk_serves_what_is_pending_and_refuses_what_is_beyond_the_bound(
    disk: SlowBlobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storing, "RETRY", 0.001)
    disk.trouble = StorageFull("no room")
    blobs = BlobsBehind(disk, clock=ManualClock(), limit=1000, linger=LONG)
    await blobs.learn(DATA)
    with pytest.raises(StorageFull):
        await blobs.settle()
    await blobs.learn(b"1")
    with pytest.raises(StorageFull):
        await blobs.learn(bytes(900))
    assert await read(blobs) == DATA
    while disk.puts < 20:  # it is tried again and again, and said once
        await asyncio.sleep(0.001)
    assert caplog.text.count("cannot be stored now") == 1
    disk.trouble = None
    while len(disk.blobs) < 2:
        await asyncio.sleep(0.001)
    await blobs.learn(bytes(900))
    await blobs.close()
    assert len(disk.blobs) == 3


async def test_a_defect_of_the_store_is_told_once_and_not_with_every_try(
    disk: SlowBlobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storing, "RETRY", 0.001)
    disk.trouble = ZeroDivisionError()
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    await blobs.learn(DATA)
    with pytest.raises(Unavailable):
        await blobs.settle()
    while disk.puts < 20:
        await asyncio.sleep(0.001)
    assert caplog.text.count("failed unexpectedly") == 1
    disk.trouble = None
    await blobs.close()
    assert len(disk.blobs) == 1


async def test_what_cannot_be_stored_at_the_end_is_told(disk: SlowBlobs, caplog: pytest.LogCaptureFixture) -> None:
    disk.trouble = StorageFull("no room")
    blobs = BlobsBehind(disk, clock=ManualClock(), linger=LONG)
    await blobs.learn(DATA)
    await blobs.close()
    assert "are forgotten: no room" in caplog.text
    await asyncio.wait_for(blobs.settle(), timeout=30)
    with pytest.raises(Unavailable):
        await blobs.learn(DATA)


async def test_pages_beyond_the_bound_wait_for_the_store() -> None:
    store = MemoryIndex(ManualClock())
    index = IndexBehind(store, limit=20_000, linger=LONG)
    await index.apply(SEED, who="ann")
    for number in range(50):
        project = ProjectName(f"p{number}")
        (seen,) = await index.standings(project, [MIRROR])
        change = MirrorPage(MIRROR, project, PageHead(), put=(mirrored(f"p{number}.zip"),))
        await index.learn(change, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=lambda: None)
    assert await store.project_count(MIRROR) > 25
    assert await index.project_count(MIRROR) == 50
    await index.close()
    assert await store.project_count(MIRROR) == 50


async def test_what_readers_unpack_of_pending_pages_is_not_kept() -> None:
    """The bound counts packed bytes; while a disk is full, pages may be pending for hours."""
    index = IndexBehind(MemoryIndex(ManualClock()), linger=LONG)
    await index.apply(SEED, who="ann")
    files = [mirrored(f"demo-{number}.0.tar.gz") for number in range(2000)]
    (seen,) = await index.standings(DEMO, [MIRROR])
    change = MirrorPage(MIRROR, DEMO, PageHead(), kept=keep(DEMO, files).kept)
    await index.learn(change, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=lambda: None)
    del files
    tracemalloc.start()
    try:
        assert await index.file(MIRROR, DEMO, "demo-7.0.tar.gz") == mirrored("demo-7.0.tar.gz")
        page = await index.page(MIRROR, DEMO)
        assert page is not None
        assert len(list(page.rows)) == 2000
        del page
        kept_pages._large_rows.cache_clear()  # these few are the bound of what stays unpacked
        assert tracemalloc.get_traced_memory()[0] < len(change.kept)
    finally:
        tracemalloc.stop()
    await index.close()


class SlowIndex(MemoryIndex):
    """A fake store in which one call at a time can be held up, once it has read or before it writes."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.held: list[asyncio.Event] = []
        self.holds = False

    async def _held_up(self) -> None:
        if self.holds:
            self.held.append(asyncio.Event())
            await self.held[-1].wait()

    async def until_held(self, count: int) -> None:
        while len(self.held) < count:
            await asyncio.sleep(0)

    async def projects(self, *args: Any, **options: Any) -> Any:
        rows = await super().projects(*args, **options)
        await self._held_up()
        return rows

    async def project_count(self, *args: Any, **options: Any) -> Any:
        count = await super().project_count(*args, **options)
        await self._held_up()
        return count

    async def apply(self, *args: Any, **options: Any) -> Any:
        await self._held_up()
        return await super().apply(*args, **options)


async def learn_page(index: IndexBehind, filename: str, lost: list[str]) -> None:
    (seen,) = await index.standings(DEMO, [MIRROR])
    change = MirrorPage(MIRROR, DEMO, PageHead(), kept=keep(DEMO, [mirrored(filename)]).kept)
    await index.learn(change, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=lambda: lost.append(filename))


async def test_a_project_that_is_stored_while_projects_are_listed_is_listed() -> None:
    store = SlowIndex()
    index = IndexBehind(store, linger=LONG)
    await index.apply(SEED, who="ann")
    await learn_page(index, "demo-1.0.zip", [])
    store.holds = True
    listing = asyncio.create_task(index.projects(MIRROR))
    await store.until_held(1)
    store.holds = False
    await index.settle()
    store.held[0].set()
    assert [row.name for row in await listing] == [DEMO]
    await index.close()


async def test_a_project_that_is_stored_while_projects_are_counted_is_counted_once() -> None:
    store = SlowIndex()
    index = IndexBehind(store, linger=LONG)
    await index.apply(SEED, who="ann")
    await learn_page(index, "demo-1.0.zip", [])
    store.holds = True
    counting = asyncio.create_task(index.project_count(MIRROR))
    await store.until_held(1)
    store.holds = False
    await index.settle()
    store.held[0].set()
    assert await counting == 1
    await index.close()


async def test_what_is_learned_after_a_page_was_lost_is_not_lost_with_it() -> None:
    """The commit of the lost page is under way; when it fails, that says nothing of what was learned since."""
    store = SlowIndex()
    index = IndexBehind(store, linger=LONG)
    await index.apply(SEED, who="ann")
    lost: list[str] = []
    await learn_page(index, "demo-1.0.zip", lost)
    await index.settle()
    store.holds = True
    dropping = asyncio.create_task(index.apply([DropMirrorPage(MIRROR, DEMO)], who="ann"))
    await store.until_held(1)
    await learn_page(index, "demo-2.0.zip", lost)
    storing_it = asyncio.create_task(index.settle())
    await store.until_held(2)
    store.held[0].set()
    await dropping
    assert lost == ["demo-2.0.zip"]
    await learn_page(index, "demo-3.0.zip", lost)
    store.holds = False
    store.held[1].set()
    await storing_it
    await index.settle()
    assert lost == ["demo-2.0.zip"]
    page = await store.page(MIRROR, DEMO)
    assert page is not None
    assert [row.filename for row in page.rows] == ["demo-3.0.zip"]
    await index.close()


class PickyIndex(MemoryIndex):
    """A fake store with a defect: pages of one project are more than it can take."""

    async def apply(self, changes: Any, **options: Any) -> Any:
        if any(isinstance(change, MirrorPage) and change.project == DEMO for change in changes):
            raise ZeroDivisionError
        return await super().apply(changes, **options)


async def test_a_page_that_meets_a_defect_keeps_no_other_one_from_being_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = PickyIndex(ManualClock())
    index = IndexBehind(store, linger=LONG)
    await index.apply(SEED, who="ann")
    lost: list[str] = []
    await learn_page(index, "demo-1.0.zip", lost)
    other = ProjectName("other")
    (seen,) = await index.standings(other, [MIRROR])
    change = MirrorPage(MIRROR, other, PageHead(), put=(mirrored("other-1.0.zip"),))
    await index.learn(change, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=lambda: lost.append("other"))
    await index.settle()
    assert lost == ["demo-1.0.zip"]
    assert [row.name for row in await store.projects(MIRROR)] == [other]
    assert await index.page(MIRROR, DEMO) is None
    assert caplog.text.count("failed unexpectedly") == 1
    await index.close()


PROJECTS = [ProjectName(name) for name in ("demo", "demo-more")]
VERSIONS = {
    "demo-1.0.tar.gz": "1.0",
    "demo-11.0.tar.gz": "11.0",
    "demo-more-1.0.zip": "1.0",
    "demo-2.0-py3-none-any.whl": "2.0",
    "something.exe": "",
}
NAMES = list(VERSIONS)
_files = st.builds(
    lambda name, content: mirrored(name, content, version=VERSIONS[name]),
    st.sampled_from(NAMES),
    st.sampled_from(["1", "2"]),
)
_changes = st.builds(
    MirrorPage,
    index=st.just(MIRROR),
    project=st.sampled_from(PROJECTS),
    head=st.builds(PageHead, display_name=st.sampled_from(["", "Demo"]), status=st.sampled_from(["", "archived"])),
    put=st.lists(_files, max_size=3).map(tuple),
    drop=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
)
_kept = st.builds(
    lambda project, head, files: MirrorPage(MIRROR, project, head, kept=keep(project, files).kept),
    st.sampled_from(PROJECTS),
    st.builds(PageHead, display_name=st.sampled_from(["", "Demo"])),
    st.lists(_files, max_size=3),
)
_drops = st.sampled_from(PROJECTS).map(lambda project: [DropMirrorPage(MIRROR, project)])
_writes = st.one_of(_drops, st.just([DropIndex(MIRROR), PutIndex(mirror(MIRROR))]), _changes.map(lambda each: [each]))
_steps = st.one_of(_changes, _changes, _kept, st.none(), _writes)


@settings(max_examples=150, deadline=None)
@given(st.lists(_steps, max_size=12))
def test_a_mirror_that_is_stored_behind_reads_as_one_that_is_stored_at_once(
    steps: list[MirrorPage | list[Change] | None],
) -> None:
    """A change is learned here and applied there; None stores what is pending; anything else is applied to both."""
    asyncio.run(_compare(steps))


async def _compare(steps: Sequence[MirrorPage | list[Change] | None]) -> None:
    behind, plain = IndexBehind(MemoryIndex(ManualClock()), linger=LONG), MemoryIndex(ManualClock())
    for store in (behind, plain):
        await store.apply(SEED, who="ann")
    written: dict[Any, bytes] = {}
    for step in steps:
        if step is None:
            await behind.settle()
        elif isinstance(step, MirrorPage):
            (seen,) = await behind.standings(step.project, [MIRROR])
            await behind.learn(step, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=_never)
            await plain.apply([step], who="[mirror]")
        else:
            assert await _outcome(behind, step) == await _outcome(plain, step)
        assert await _said(behind) == await _said(plain)
        await _compare_names(behind, written)
    await behind.settle()
    assert await _said(behind.inner) == await _said(plain)
    await _compare_names(behind, written)
    await behind.close()


async def _compare_names(store: IndexBehind, written: dict[Any, bytes]) -> None:
    """A page that has the stamp and the content of an earlier one is written as that one was, byte by byte: its ETag is strong."""
    for project in PROJECTS:
        page = await store.page(MIRROR, project)
        if page is not None:
            merged = merge(project, [(MIRROR, "../", page)])
            body = JsonRenderer().page(merged) + HtmlRenderer().page(merged)
            assert written.setdefault((project, page.stamp, page.content), body) == body


async def test_a_difference_to_a_page_in_one_piece_is_written_as_it_is_once_it_is_stored() -> None:
    """Not in the order of filenames, in which 11.0 comes before 2.0, and then in that of versions, under the same name."""
    first, then = (
        [mirrored(name, version=VERSIONS[name]) for name in names]
        for names in (NAMES[1:2], ["demo-2.0-py3-none-any.whl"])
    )
    steps = [
        MirrorPage(MIRROR, DEMO, PageHead(), kept=keep(DEMO, first).kept),
        None,
        MirrorPage(MIRROR, DEMO, PageHead(), put=tuple(then)),
        None,
    ]
    await _compare(steps)


def _never() -> None:
    pytest.fail("nobody else writes here")


async def _outcome(store: IndexBehind | MemoryIndex, changes: list[Change]) -> type | None:
    try:
        await store.apply(changes, who="ann")
    except PkgIndexError as error:
        return type(error)
    return None


async def _said(store: Any) -> list[Any]:
    said: list[Any] = [await store.project_count(MIRROR)]
    said += [(row.name, row.display_name) for row in await store.projects(MIRROR)]
    for project in PROJECTS:
        page = await store.page(MIRROR, project)
        (standing,) = await store.standings(project, [MIRROR])
        said += [(page.head, {row.filename: row for row in page.rows}) if page else None]
        said += [(standing.holds, standing.file_count, standing.status)]
        said += [await store.file(MIRROR, project, name) for name in NAMES]
    said += [
        await store.find_file(MIRROR, name, candidates)
        for name in NAMES
        for candidates in (PROJECTS, candidate_projects(name))
    ]
    return said
