"""Two servers over one store, each with what it has learned before it: one name is one page, and one page has one name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkgindex_core.changes import (
    Change,
    DropIndex,
    DropMirrorPage,
    MirrorNames,
    MirrorPage,
    ProjectAt,
    PutIndex,
    PutUser,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.behind import IndexBehind
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.sqlite import segments
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import PkgIndexError, RequirementFailed
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import PageHead, Standing
from pkgindex_core.protocols import IndexStore
from pkgindex_core.rules import merging
from pkgindex_core.rules.merging import merge
from pkgindex_core.rules.stamping import etag
from pkgindex_core.testing.index_cases.values import DEMO, MIRROR, START, ManualClock, head, mirror, mirrored, user

LONG = 60.0
SEED = (PutUser(user("root")), PutIndex(mirror(MIRROR)))
ONE, TWO = "demo-1.0.tar.gz", "demo-2.0.tar.gz"
Answer = tuple[str, bytes]
"""An ETag and the bytes that it names."""


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[IndexBehind]]:
    stores = [await SqliteIndex.open(tmp_path / "index.db", ManualClock()) for _ in range(2)]
    both = [IndexBehind(store, linger=LONG) for store in stores]
    await both[0].apply(SEED, who="root")
    yield both
    for each in both:
        await each.close()


async def learn(server: IndexBehind, change: MirrorPage, lost: list[Any] | None = None) -> None:
    (seen,) = await server.standings(change.project, [MIRROR])
    lost = [] if lost is None else lost
    await server.learn(change, index=mirror(MIRROR), seen=seen, who="[mirror]", lost=lambda: lost.append(server))


async def answer(store: IndexStore) -> Answer | None:
    """What a client gets of the page; None when there is none."""
    (standing,) = await store.standings(DEMO, [MIRROR])
    page = await store.page(MIRROR, DEMO)
    if page is None:
        assert not standing.holds
        return None
    assert (page.stamp, page.content) == (standing.stamp, standing.content)
    (row,) = await store.projects(MIRROR)
    assert row.stamp == standing.stamp
    layers = [(MIRROR, "../", standing.stamp, standing.content)]
    tree = (await store.tree()).serial
    tag = etag(tree=tree, start=MIRROR, project=DEMO, layers=layers, recipe="")
    return tag, JsonRenderer().page(merge(DEMO, [(MIRROR, "../", page)]))


IN_ONE_PIECE = MirrorPage(MIRROR, DEMO, head("Demo", fetched=START), kept=keep(DEMO, [mirrored(ONE)]).kept)
FILE_BY_FILE = MirrorPage(MIRROR, DEMO, head("Demo", fetched=START), put=(mirrored(ONE),))
DIFFERENCE = MirrorPage(MIRROR, DEMO, head("Demo", fetched=START), put=(mirrored(TWO), mirrored(ONE, "new")))


@pytest.mark.parametrize("first", [IN_ONE_PIECE, FILE_BY_FILE], ids=["in one piece", "file by file"])
@pytest.mark.parametrize("more", [(), (DIFFERENCE,)], ids=["one change", "two in a row"])
async def test_what_both_learned_has_one_name_before_and_after_it_is_committed(
    servers: list[IndexBehind], first: MirrorPage, more: tuple[MirrorPage, ...]
) -> None:
    for seconds, server in enumerate(servers):
        for change in (first, *more):
            asked = PageHead(display_name="Demo", fetched=Timestamp(START + seconds), validators={"etag": str(seconds)})
            await learn(server, MirrorPage(MIRROR, DEMO, asked, change.put, kept=change.kept))
    shown = await answer(servers[0])
    assert shown is not None
    assert await answer(servers[1]) == shown
    await servers[0].settle()
    for store in (*servers, servers[1].inner):
        assert await answer(store) == shown
    await servers[1].settle()
    for store in (*servers, servers[1].inner):
        assert await answer(store) == shown


@pytest.mark.parametrize("is_stored", [False, True], ids=["first page", "difference"])
async def test_two_pages_under_one_stamp_have_two_names(servers: list[IndexBehind], *, is_stored: bool) -> None:
    if is_stored:
        await servers[0].apply([FILE_BY_FILE], who="root")
    lost: list[IndexBehind] = []
    for content, server in zip(("ours", "theirs"), servers, strict=True):
        await learn(server, MirrorPage(MIRROR, DEMO, head(), put=(mirrored(ONE, content),)), lost)
    before = [await answer(server) for server in servers]
    assert before[0] is not None
    assert before[1] is not None
    assert before[0][0] != before[1][0]
    after = []
    for server in servers:
        await learn(server, MirrorPage(MIRROR, DEMO, head(), put=(mirrored(TWO),)), lost)
        after.append(await answer(server))
    assert after[0] is not None
    assert after[1] is not None
    assert after[0][0] != after[1][0]
    (theirs,) = await servers[1].standings(DEMO, [MIRROR])
    await servers[0].settle()
    (stored,) = await servers[1].standings(DEMO, [MIRROR])
    assert stored.stamp == theirs.stamp
    assert [await answer(server) for server in servers] == [after[0]] * 2
    assert lost == [servers[1]]
    with pytest.raises(RequirementFailed):
        await servers[1].apply(
            [DropMirrorPage(MIRROR, DEMO)], who="root", require=[ProjectAt(MIRROR, DEMO, theirs.stamp, theirs.content)]
        )


async def test_a_page_that_is_learned_while_others_commit_keeps_its_name(servers: list[IndexBehind]) -> None:
    await learn(servers[0], FILE_BY_FILE)
    await learn(servers[0], DIFFERENCE)
    shown = await answer(servers[0])
    for _ in range(4):
        await servers[1].apply([MirrorNames(MIRROR)], who="root")
    await servers[0].settle()
    assert [await answer(server) for server in servers] == [shown, shown]
    await learn(servers[1], MirrorPage(MIRROR, DEMO, head("Demo"), drop=(ONE,)))
    (standing,) = await servers[1].standings(DEMO, [MIRROR])
    assert standing.stamp == await servers[1].head() + 1


@pytest.mark.parametrize("count", [2, 3])
async def test_a_page_that_becomes_long_or_is_long_no_more_is_written_in_one_way(
    servers: list[IndexBehind], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A short page is written by version, a long one by filename."""
    monkeypatch.setattr(segments, "LONG", 3)
    monkeypatch.setattr(merging, "LONG", 3)
    files = [mirrored(f"demo-{version}.zip", version=version) for version in ("9.0", "10.0", "1.0")]
    await servers[0].apply([MirrorPage(MIRROR, DEMO, head(), put=tuple(files[:count]))], who="root")
    change = (
        MirrorPage(MIRROR, DEMO, head(), put=(files[2],))
        if count == 2
        else MirrorPage(MIRROR, DEMO, head(), drop=(files[2].filename,))
    )
    await learn(servers[0], change)
    shown = await answer(servers[0])
    await servers[0].settle()
    assert [await answer(server) for server in servers] == [shown, shown]


_NAMES = st.sampled_from([ONE, TWO, "something.exe"])
_FILES = st.lists(st.builds(mirrored, _NAMES, st.sampled_from(["1", "2"])), max_size=2)
_HEADS = st.builds(PageHead, display_name=st.sampled_from(["", "Demo"]), fetched=st.sampled_from([None, START]))
_DIFFERENCES = st.builds(
    MirrorPage, st.just(MIRROR), st.just(DEMO), _HEADS, _FILES.map(tuple), st.lists(_NAMES, max_size=1).map(tuple)
)
_PIECES = st.builds(lambda head, files: MirrorPage(MIRROR, DEMO, head, kept=keep(DEMO, files).kept), _HEADS, _FILES)
_WRITES = st.one_of(
    st.just((DropMirrorPage(MIRROR, DEMO),)),
    st.just((MirrorNames(MIRROR),)),
    st.just((DropIndex(MIRROR), PutIndex(mirror(MIRROR)))),
    _DIFFERENCES.map(lambda change: (change,)),
    _PIECES.map(lambda change: (change,)),
)
_STEPS = st.tuples(st.integers(0, 1), st.one_of(_DIFFERENCES, _DIFFERENCES, _PIECES, st.none(), _WRITES))


@settings(max_examples=200, deadline=None)
@given(st.lists(_STEPS, max_size=14))
def test_no_name_ever_names_two_pages(steps: list[tuple[int, MirrorPage | tuple[Change, ...] | None]]) -> None:
    """One of the servers learns a change, stores what is pending (None), or writes."""
    asyncio.run(_live(steps))


async def _live(steps: list[tuple[int, MirrorPage | tuple[Change, ...] | None]]) -> None:
    store = MemoryIndex(ManualClock())
    servers = [IndexBehind(store, linger=LONG) for _ in range(2)]
    await store.apply(SEED, who="root")
    named: dict[str, bytes] = {}
    stored: dict[int, Standing] = {}
    for number, step in steps:
        server = servers[number]
        before = await server.standings(DEMO, [MIRROR])
        if isinstance(step, MirrorPage):
            await learn(server, step)
        elif step is None:
            await server.settle()
            assert await server.standings(DEMO, [MIRROR]) == before == await store.standings(DEMO, [MIRROR])
        else:
            with contextlib.suppress(PkgIndexError):
                await server.apply(step, who="root")
        for each in (*servers, store):
            if (found := await answer(each)) is not None:
                assert named.setdefault(found[0], found[1]) == found[1]
        (standing,) = await store.standings(DEMO, [MIRROR])
        assert stored.setdefault(standing.stamp, standing) == standing
        assert standing.stamp == max(stored)
    for each in servers:
        await each.close()
