"""A mirrored page in one piece stands in the database once, for as long as the log or a standing names it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from pkgindex_core.changes import DropIndex, DropMirrorPage, MirrorPage, PutIndex, PutUser
from pkgindex_core.engines.behind.index import BATCH
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import Corrupt, Refused
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.index_cases.values import DEMO, MIRROR, OTHER, ManualClock, mirror, mirrored, user

SECOND = IndexName("root/second")
PAGE = keep(DEMO, [mirrored(f"demo-{number}.zip") for number in range(50)]).kept
STRAY = "python-demo-1.0.win32.exe"
DAY = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteIndex]:
    store = await SqliteIndex.open(tmp_path / "index.db", clock)
    await store.apply([PutUser(user("root")), PutIndex(mirror(MIRROR)), PutIndex(mirror(SECOND))], who="test")
    yield store
    assert await store.check() == []
    await store.close()


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    def run(sql: str) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(tmp_path / "index.db"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    return run


def whole(index: IndexName = MIRROR, project: ProjectName = DEMO, kept: bytes = PAGE) -> MirrorPage:
    return MirrorPage(index, project, PageHead(), kept=kept)


def with_file(name: str, *drop: str) -> MirrorPage:
    return MirrorPage(MIRROR, DEMO, PageHead(), put=(mirrored(name),), drop=drop)


async def test_a_page_is_written_once_and_the_log_names_it(store: SqliteIndex, rows: Any) -> None:
    commit = await store.apply([whole(), whole(SECOND, OTHER)], who="test")
    assert rows("SELECT uses, kept FROM pages") == [(None, PAGE)]
    assert rows("SELECT count(*) FROM standings JOIN pages ON id = page") == [(2,)]
    ((logged,),) = rows("SELECT length(changes) FROM commits WHERE serial = 2")
    assert logged < 400 < len(PAGE)
    assert await store.commits(Serial(1)) == [commit]


async def test_what_the_log_names_stays_and_what_differences_made_of_it_goes(store: SqliteIndex, rows: Any) -> None:
    await store.apply([whole()], who="test")
    for number in range(5):
        await store.apply([with_file(f"more-{number}.zip", f"more-{number - 1}.zip")], who="test")
        assert rows("SELECT uses FROM pages ORDER BY id") == [(None,), (1,)]
    await store.apply([DropMirrorPage(MIRROR, DEMO)], who="test")
    assert rows("SELECT uses, kept FROM pages") == [(None, PAGE)]


async def test_equal_pages_are_one_that_goes_with_the_last(store: SqliteIndex, rows: Any) -> None:
    await store.apply([whole(), whole(SECOND)], who="test")
    for index in (MIRROR, SECOND):
        await store.apply([MirrorPage(index, DEMO, PageHead(), put=(mirrored("more.zip"),))], who="test")
    assert rows("SELECT uses FROM pages ORDER BY id") == [(None,), (2,)]
    await store.apply([DropIndex(SECOND)], who="test")
    assert rows("SELECT uses FROM pages ORDER BY id") == [(None,), (1,)]
    await store.apply([whole()], who="test")
    assert rows("SELECT uses FROM pages") == [(None,)]


async def test_what_a_difference_made_stays_once_the_log_names_it(store: SqliteIndex, rows: Any) -> None:
    await store.apply([whole()], who="test")
    await store.apply([with_file("more.zip")], who="test")
    ((kept,),) = rows("SELECT kept FROM pages WHERE uses = 1")
    await store.apply([whole(SECOND, kept=kept)], who="test")
    await store.apply([DropMirrorPage(MIRROR, DEMO), DropMirrorPage(SECOND, DEMO)], who="test")
    assert rows("SELECT uses FROM pages ORDER BY id") == [(None,), (None,)]
    assert len(await store.commits(Serial(1))) == 4


async def test_a_past_ends_with_all_that_it_needed(store: SqliteIndex, rows: Any, clock: ManualClock) -> None:
    await store.apply([PutIndex(mirror(MIRROR, mirror_history=DAY))], who="test")
    await store.apply([whole()], who="test")
    for name in ("more.zip", STRAY):
        await store.apply([with_file(name, "more.zip")], who="test")
    await store.apply([MirrorPage(MIRROR, DEMO, PageHead(status="archived"))], who="test")
    assert rows("SELECT uses FROM pages ORDER BY id") == [(None,), (1,), (2,)]
    for part in ("first", "middle", "last"):
        many = tuple(mirrored(f"{part}-{number}.zip") for number in range(200))
        await store.apply([MirrorPage(MIRROR, DEMO, PageHead(), many, (STRAY,), part)], who="test")  # type: ignore[arg-type]  # one of three words
    assert rows("SELECT count(*) > 1 FROM past_segments") == [(1,)]
    ended = "WHERE died < 9223372036854775807"
    assert {each for (each,) in rows(f"SELECT filename FROM strays {ended}")} == {"more.zip", STRAY}
    clock.advance(DAY)
    await store.apply([MirrorPage(MIRROR, OTHER, PageHead())], who="test")
    assert rows("SELECT uses FROM pages") == [(None,)]
    for rest in ("past_segments", f"strays {ended}", f"standings {ended}"):
        assert rows(f"SELECT count(*) FROM {rest}") == [(0,)]


async def test_a_commit_that_is_refused_stores_no_page(store: SqliteIndex, rows: Any) -> None:
    with pytest.raises(Refused):
        await store.apply([whole(), whole(kept=b"no page")], who="test")
    assert rows("SELECT count(*) FROM pages") == [(0,)]


async def test_a_page_that_the_log_names_and_nothing_has_is_told(tmp_path: Path, rows: Any) -> None:
    store = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    await store.apply([PutUser(user("root")), PutIndex(mirror(MIRROR)), whole()], who="test")
    rows("DELETE FROM pages")
    with pytest.raises(Corrupt, match="which the log names"):
        await store.commits(Serial(0))
    await store.close()


async def test_the_past_of_a_busy_mirror_goes_as_fast_as_it_comes(
    store: SqliteIndex, clock: ManualClock, rows: Any
) -> None:
    """Each commit has as many pages as `engines.behind` stores at once."""
    await store.apply([PutIndex(mirror(MIRROR, mirror_history=60))], who="test")
    for number in range(4):
        for start in range(0, 4 * BATCH, BATCH):
            projects = [ProjectName(f"p{each}") for each in range(start, start + BATCH)]
            changes = [whole(project=each, kept=keep(each, [mirrored(f"{number}")]).kept) for each in projects]
            await store.apply(changes, who="test")
            clock.advance(60)
    # What the last commit ended is there; what those before it ended is over.
    assert rows("SELECT count(*) FROM standings WHERE died < 9223372036854775807") == [(BATCH,)]


@pytest.mark.parametrize("history", [0, 60])
async def test_a_change_costs_the_same_beside_many_strays(store: SqliteIndex, clock: ManualClock, history: int) -> None:
    """Files of other projects that their names do not lead to are not looked through."""
    await store.apply([PutIndex(mirror(MIRROR, mirror_history=history))], who="test")

    async def steps(number: int) -> int:
        """Of SQLite's machine, in hundreds, for a change that also lets go of what the one before it ended."""
        counted: list[int] = []

        def goes_on() -> bool:
            counted.append(number)
            return False

        clock.advance(60)
        store._writer._connection.set_progress_handler(goes_on, 100)
        await store.apply([whole(kept=keep(DEMO, [mirrored(f"demo-{number}.zip"), mirrored(STRAY)]).kept)], who="test")
        store._writer._connection.set_progress_handler(None)
        return len(counted)

    for number in range(3):
        before = await steps(number)
    strays = tuple(mirrored(f"{number}.exe") for number in range(2_000))
    await store.apply([MirrorPage(MIRROR, OTHER, PageHead(), put=strays)], who="test")
    await steps(3)
    assert await steps(4) <= before + 5
