"""Group commit, and what a failing disk does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import (
    Commit,
    DropIndex,
    DropUser,
    FileAbsent,
    MirrorPage,
    PutFile,
    PutIndex,
    PutUser,
)
from pkgindex_core.clock import Timestamp
from pkgindex_core.engines.sqlite import database
from pkgindex_core.engines.sqlite.applying import Applying
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.errors import Conflict, Missing, RequirementFailed, StorageFull, Unavailable
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.names import IndexName
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
        [PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV)), PutIndex(mirror(MIRROR))], who="seed"
    )
    yield store
    assert await store.check() == []
    await store.close()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    failpoints.disarm()


async def put(store: SqliteIndex, name: str) -> Commit | None:
    return await store.apply([PutUser(user(name))], who="test")


async def together(store: SqliteIndex, *names: str) -> list[Any]:
    return await asyncio.gather(*(put(store, name) for name in names), return_exceptions=True)


async def names(store: SqliteIndex) -> set[str]:
    return {found.name for found in await store.users()} - {"ann", "root"}


async def test_many_callers_share_few_commits(store: SqliteIndex) -> None:
    failpoints.arm("")
    commits = await together(store, *(f"u{number}" for number in range(60)))
    assert [commit.serial for commit in commits] == list(range(2, 62))
    assert 1 <= failpoints.hits["commit.committed"] < 60


@pytest.mark.parametrize("point", ["commit.begun", "commit.written"])
@pytest.mark.parametrize(("number", "error"), [("ENOSPC", StorageFull), ("EIO", Unavailable)])
async def test_a_failure_before_commit_changes_nothing_and_the_engine_goes_on(
    store: SqliteIndex, point: str, number: str, error: type[Exception]
) -> None:
    failpoints.arm(f"{point}=raise:{number}")
    with pytest.raises(error):
        await put(store, "bob")
    assert await store.user("bob") is None
    assert await store.head() == 1
    assert await put(store, "bob") is not None
    assert await store.head() == 2


async def test_a_lost_answer_is_an_error_but_never_a_second_commit(store: SqliteIndex) -> None:
    failpoints.arm("commit.committed=raise:ENOSPC")
    outcomes = await together(store, "bob", "carl")
    assert any(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert await names(store) == {"bob", "carl"}
    assert await store.head() == 3


async def test_one_that_fills_the_disk_does_not_fail_its_neighbours(store: SqliteIndex) -> None:
    connection = store._writer._connection
    pages = connection.pragma("page_count")
    connection.execute(f"PRAGMA max_page_count = {pages + 40}").fetchall()
    huge = MirrorPage(MIRROR, DEMO, PageHead(), put=tuple(mirrored(f"demo-{number}.zip") for number in range(5000)))
    outcomes = await asyncio.gather(
        put(store, "bob"), store.apply([huge], who="test"), put(store, "carl"), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Commit, StorageFull, Commit]
    assert isinstance(outcomes[1], StorageFull)
    assert "free space" in outcomes[1].hint
    assert await names(store) == {"bob", "carl"}
    assert await store.page(MIRROR, DEMO) is None
    connection.execute(f"PRAGMA max_page_count = {pages + 100_000}").fetchall()
    assert await store.apply([huge], who="test") is not None


async def test_after_a_failed_commit_the_medium_has_to_prove_itself(
    store: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = store._writer
    real = writer._connection
    failing = _FailingCommits(real, failures=3)
    monkeypatch.setattr(writer, "_connection", failing)
    with pytest.raises(Unavailable, match="disk I/O error"):  # the commit, and the probe right after it
        await put(store, "bob")
    with pytest.raises(Unavailable, match="refuses writes since a commit failed") as caught:
        await put(store, "carl")
    assert "succeed again" in caught.value.hint
    assert await store.user("bob") is None
    assert await put(store, "dora") is not None
    assert await names(store) == {"dora"}
    assert (await store.head(), failing.failures) == (2, 0)
    monkeypatch.setattr(writer, "_connection", real)


async def test_nobody_is_answered_before_the_commit_not_even_with_a_refusal(store: SqliteIndex) -> None:
    """The second is refused because of the first, which then never happens: it must not be told so."""
    failpoints.arm("commit.written=raise:EIO")
    outcomes = await asyncio.gather(
        *(
            store.apply(
                [PutFile(DEV, DEMO, hosted("demo-1.zip", text))], who="x", require=[FileAbsent(DEV, "demo-1.zip")]
            )
            for text in ("one", "two")
        ),
        return_exceptions=True,
    )
    if failpoints.hits["commit.begun"] == 1:
        assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert not any(isinstance(outcome, RequirementFailed) for outcome in outcomes[:1])
    failpoints.disarm()
    assert await store.file(DEV, DEMO, "demo-1.zip") == (
        hosted("demo-1.zip", "two") if isinstance(outcomes[1], Commit) else None
    )


async def test_a_refusal_among_others_does_not_start_the_transaction_again(store: SqliteIndex, tmp_path: Path) -> None:
    outcomes = await _in_one_transaction(
        store,
        tmp_path,
        put(store, "bob"),
        store.apply([DropUser("nobody")], who="test"),
        put(store, "carl"),
    )
    assert [type(outcome) for outcome in outcomes] == [Commit, Missing, Commit]
    assert failpoints.hits["commit.begun"] == 2  # the other one is that of the caller that waited for the lock


async def test_a_caller_that_fails_in_the_middle_does_not_affect_the_others(store: SqliteIndex, tmp_path: Path) -> None:
    first, far = (
        Commit(serial=Serial(serial), at=Timestamp(2**60), who="x", changes=(PutUser(user("bad")),))
        for serial in (3, 9)
    )
    outcomes = await _in_one_transaction(
        store,
        tmp_path,
        store.replay([first, far]),
        put(store, "bob"),
        store.put_note("sync", "place", b"here"),
    )
    assert [type(outcome) for outcome in outcomes] == [Conflict, Commit, int]
    assert await names(store) == {"bob"}
    assert await store.note("sync", "place") is not None


async def test_a_defect_reaches_its_caller_and_nobody_else(store: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Applying.commit

    def sometimes(self: Applying, changes: Any, *rest: Any) -> Commit:
        commit = real(self, changes, *rest)
        if changes[0].user.name == "bad":
            raise ZeroDivisionError
        return commit

    monkeypatch.setattr(Applying, "commit", sometimes)
    outcomes = await together(store, "bob", "bad", "carl")
    assert [type(outcome) for outcome in outcomes] == [Commit, ZeroDivisionError, Commit]
    assert await names(store) == {"bob", "carl"}


async def test_a_surprise_of_the_schema_is_a_conflict(store: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as surprise:
        surprise.setattr(
            Applying, "_make", lambda self, *_: self._tables.run("INSERT INTO commits VALUES (1, 1, '', 0, x'', 0)")
        )
        with pytest.raises(Conflict, match="contradicts"):
            await store.apply([DropUser("ann")], who="x")
    assert await put(store, "bob") is not None


async def test_a_commit_sees_what_another_process_has_committed(store: SqliteIndex, tmp_path: Path) -> None:
    other = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    file = PutFile(DEV, DEMO, hosted("demo-1.zip", "one"))
    assert await store.apply([file], who="test") is not None
    assert await other.apply([DropIndex(DEV)], who="other") is not None
    with pytest.raises(Missing):
        await store.apply([file], who="test")
    await other.close()


async def test_a_commit_does_not_see_what_was_rolled_back(store: SqliteIndex, tmp_path: Path) -> None:
    """Also when another process has made commits with the same serials."""
    other = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    new = IndexName("ann/new")
    file = PutFile(new, DEMO, hosted("demo-1.zip", "one"))
    rolled_back = [
        Commit(serial=Serial(serial), at=Timestamp(2**60), who="x", changes=(change,))
        for serial, change in ((2, PutIndex(stage(new))), (3, file), (9, file))
    ]
    with pytest.raises(Conflict):
        await store.replay(rolled_back)
    assert [await put(other, name) is not None for name in ("bob", "carl")] == [True, True]
    with pytest.raises(Missing):
        await store.apply([file], who="test")
    await other.close()


async def test_a_lock_that_stays_is_unavailable_and_reads_go_on(store: SqliteIndex, tmp_path: Path) -> None:
    store._writer._connection.set_busy_timeout(20)
    other = apsw.Connection(str(tmp_path / "index.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"):
        await put(store, "bob")
    assert await store.user("ann") is not None
    other.execute("ROLLBACK")
    assert await put(store, "bob") is not None
    other.close()


async def test_a_cancelled_caller_that_was_not_begun_is_left_out(store: SqliteIndex, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "index.db"))
    other.execute("BEGIN IMMEDIATE")  # the writer waits for this lock with the first in its hand
    first = asyncio.ensure_future(put(store, "first"))
    await asyncio.sleep(0.02)
    waiting = [asyncio.ensure_future(put(store, name)) for name in ("second", "third")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    await asyncio.gather(first, waiting[1])
    assert await names(store) == {"first", "third"}


def test_every_error_of_sqlite_has_a_meaning() -> None:
    meanings = {
        apsw.FullError: "StorageFull",
        apsw.BusyError: "Unavailable",
        apsw.LockedError: "Unavailable",
        apsw.IOError: "Unavailable",
        apsw.ReadOnlyError: "Unavailable",
        apsw.CantOpenError: "Unavailable",
        apsw.NoMemError: "Unavailable",
        apsw.CorruptError: "Corrupt",
        apsw.NotADBError: "Corrupt",
        apsw.TooBigError: "Refused",
        apsw.ConstraintError: "Conflict",
        apsw.ConnectionClosedError: "Unavailable",
    }
    found = {error: type(database.translation(error("x"), Path("i.db"))).__name__ for error in meanings}
    assert found == meanings


async def _in_one_transaction(store: SqliteIndex, directory: Path, *writes: Coroutine[Any, Any, Any]) -> list[Any]:
    """The outcomes of several writes that wait together, while one before them waits for a lock."""
    other = apsw.Connection(str(directory / "index.db"))
    other.execute("BEGIN IMMEDIATE")
    first = asyncio.ensure_future(store.apply([PutUser(user("root"))], who="test"))
    await asyncio.sleep(0.02)
    waiting = [asyncio.ensure_future(write) for write in writes]
    await asyncio.sleep(0)
    failpoints.arm("")
    other.execute("ROLLBACK")
    other.close()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


class _FailingCommits:
    """A connection whose next COMMITs fail as they do on a broken disk."""

    def __init__(self, connection: apsw.Connection, failures: int) -> None:
        self._connection = connection
        self.failures = failures

    def execute(self, sql: str, *bindings: Any) -> Any:
        if sql == "COMMIT" and self.failures:
            self.failures -= 1
            raise apsw.IOError("disk I/O error")
        return self._connection.execute(sql, *bindings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
