"""SQLite prepares each statement once. Preparing one takes longer than running it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from pkgindex_core.changes import MirrorPage, PutFile, PutIndex, PutUser
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.models import PageHead
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


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    store = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    await store.apply(
        [
            PutUser(user("ann")),
            PutUser(user("root")),
            PutIndex(stage(DEV)),
            PutIndex(mirror(MIRROR)),
            PutFile(DEV, DEMO, hosted("demo-1.zip", "one")),
            MirrorPage(MIRROR, DEMO, PageHead(), put=(mirrored("demo-1.zip"),)),
        ],
        who="seed",
    )
    yield store
    await store.close()


class Preparations:
    """Counts the questions that SQLite asks about what a statement does, each time that it prepares one."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.count = 0
        connection.set_authorizer(self._asked)

    def _asked(self, *_about: object) -> int:
        self.count += 1
        return apsw.SQLITE_OK


async def test_a_commit_prepares_no_statement_again(store: SqliteIndex) -> None:
    preparations = Preparations(store._writer._connection)
    counts = []
    for number in range(2, 5):
        await store.apply([PutFile(DEV, DEMO, hosted(f"demo-{number}.zip", "x"))], who="test")
        counts.append(preparations.count)
    assert 0 < counts[0] <= counts[1] == counts[2]


async def test_a_read_of_one_row_prepares_no_statement_again(store: SqliteIndex) -> None:
    preparations = Preparations(store._readers._here.connection)
    counts = []
    for _ in range(3):
        for index in (DEV, MIRROR):
            await store.standings(DEMO, [index])
            assert await store.file(index, DEMO, "demo-1.zip") is not None
            assert await store.find_file(index, "demo-1.zip", [DEMO]) is not None
            assert await store.page(index, DEMO) is not None
        counts.append(preparations.count)
    assert 0 < counts[0] <= counts[1] == counts[2]
