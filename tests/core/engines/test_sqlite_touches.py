"""SQLite tells what its own commits touched from memory, and reads the log, up to a bound, for those of other processes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop

from pkgindex_core.changes import Change, Commit, DropFile, MirrorNames, MirrorPage, PutFile, PutIndex, PutUser
from pkgindex_core.engines import touches
from pkgindex_core.engines.sqlite import queries
from pkgindex_core.engines.sqlite.index import SqliteIndex
from pkgindex_core.engines.sqlite.queries import Reader
from pkgindex_core.engines.sqlite.readers import Readers
from pkgindex_core.models import PageHead, Serial, User
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import EVERYTHING, Touched
from pkgindex_core.rules.touching import MOST_COMMITS
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, ManualClock, hosted, mirror, mirrored, stage

OF_DEMO = frozenset({(DEV, DEMO)})


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    store = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    begin: list[Change] = [
        PutUser(User(name="ann")),
        PutUser(User(name="root")),
        PutIndex(stage(DEV)),
        PutIndex(mirror(MIRROR)),
    ]
    await store.apply(begin, who="[test]")
    yield store
    await store.close()


@pytest.fixture
async def theirs(tmp_path: Path, ours: SqliteIndex) -> AsyncIterator[SqliteIndex]:
    """Another process's opening of the same file."""
    store = await SqliteIndex.open(tmp_path / "index.db", ManualClock())
    yield store
    await store.close()


@pytest.fixture
def log_reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every read that went to a thread."""
    found: list[object] = []
    in_thread = Readers.in_thread

    async def counted(readers: Readers, read: object) -> object:
        found.append(read)
        return await in_thread(readers, read)  # type: ignore[arg-type]  # as it was given

    monkeypatch.setattr(Readers, "in_thread", counted)
    return found


async def test_its_own_commits_are_told_without_the_log(ours: SqliteIndex, log_reads: list[object]) -> None:
    after = ours.seen()
    files = tuple(mirrored(f"demo-{number}.zip") for number in range(5000))
    await ours.apply([MirrorPage(MIRROR, DEMO, PageHead(), put=files)], who="[test]")
    last = await ours.apply([PutFile(DEV, DEMO, hosted("demo-1.zip"))], who="[test]")
    assert isinstance(last, Commit)
    expected = Touched(upto=last.serial, projects=OF_DEMO | {(MIRROR, DEMO)})
    assert await ours.touched(after) == expected
    assert log_reads == []


async def test_the_log_is_read_for_what_others_committed(
    ours: SqliteIndex, theirs: SqliteIndex, log_reads: list[object]
) -> None:
    after = ours.seen()
    await theirs.apply([PutFile(DEV, DEMO, hosted("demo-1.zip"))], who="[test]")
    await ours.apply([PutUser(User(name="bob"))], who="[test]")
    expected = Touched(upto=Serial(after + 2), identities=True, projects=OF_DEMO)
    assert await ours.touched(after) == expected
    assert len(log_reads) == 1
    assert await theirs.touched(after) == expected
    assert len(log_reads) == 2


async def test_others_long_commits_are_not_decoded(
    ours: SqliteIndex, theirs: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = ours.seen()
    monkeypatch.setattr(queries, "LOG_BYTES", 2000)
    await theirs.apply([PutFile(DEV, DEMO, hosted("demo-1.zip"))], who="[test]")
    assert await ours.touched(after) == Touched(upto=Serial(after + 1), projects=OF_DEMO)
    monkeypatch.setattr(queries, "changes_of", None)  # nothing is decoded from here on
    files = tuple(mirrored(f"demo-{number}.zip") for number in range(100))
    await theirs.apply([MirrorPage(MIRROR, DEMO, PageHead(), put=files)], who="[test]")
    assert await ours.touched(Serial(after + 1)) == EVERYTHING


async def test_about_very_many_commits_nothing_is_looked_up(ours: SqliteIndex, log_reads: list[object]) -> None:
    for _ in range(MOST_COMMITS):
        await ours.apply([PutUser(User(name="bob"))], who="[test]")
    assert await ours.touched(Serial(0)) == EVERYTHING
    assert await ours.touched(Serial(1)) == Touched(upto=ours.seen(), identities=True)
    assert log_reads == []


async def test_what_was_forgotten_is_read_from_the_log(
    ours: SqliteIndex, log_reads: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touches, "KEYS_KEPT", 3)
    after = ours.seen()
    names = [ProjectName(f"p{number}") for number in range(8)]
    for name in names:
        await ours.apply([PutFile(DEV, name, hosted(f"{name}-1.zip"))], who="[test]")
    assert await ours.touched(Serial(ours.seen() - 3)) == Touched(
        upto=ours.seen(), projects=frozenset((DEV, name) for name in names[-3:])
    )
    assert log_reads == []
    everything = frozenset((DEV, name) for name in names)
    assert await ours.touched(after) == Touched(upto=ours.seen(), projects=everything)
    assert len(log_reads) == 1


async def test_a_commit_that_names_more_than_is_kept_is_forgotten_at_once(
    ours: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(touches, "KEYS_KEPT", 3)
    after = ours.seen()
    names = [ProjectName(f"p{number}") for number in range(5)]
    await ours.apply([PutFile(DEV, name, hosted(f"{name}-1.zip")) for name in names], who="[test]")
    await ours.apply([DropFile(DEV, names[0], "p0-1.zip")], who="[test]")
    expected = frozenset((DEV, name) for name in names)
    assert await ours.touched(after) == Touched(upto=Serial(after + 2), projects=expected)


async def test_one_turn_of_the_loop_asks_the_database_once(
    ours: SqliteIndex, theirs: SqliteIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit of another process is seen in the next turn, and one of this process at once."""
    asked: list[Reader] = []
    ask = queries.data_version

    def counted(reader: Reader) -> int:
        asked.append(reader)
        return ask(reader)

    monkeypatch.setattr(queries, "data_version", counted)
    before = await ours.head()
    assert [ours.seen() for _ in range(5)] == [before] * 5
    assert len(asked) == 1
    commit = await theirs.apply([PutUser(User(name="bob"))], who="[test]")
    assert commit is not None
    assert ours.seen() == commit.serial
    assert ours.seen() == await ours.head() == ours.seen()
    mine = await ours.apply([PutUser(User(name="bea"))], who="[test]")
    assert mine is not None
    assert ours.seen() == mine.serial == commit.serial + 1


def test_what_a_poll_of_uvloop_finds_is_answered_with_the_newest_commit(tmp_path: Path) -> None:
    """Its protocols are called before what was scheduled before the poll, so also before the end of the turn in which `seen` has asked."""
    path, clock = tmp_path / "index.db", ManualClock()

    async def commit() -> None:
        theirs = await SqliteIndex.open(path, clock)
        await theirs.apply([PutUser(User(name="bob"))], who="[test]")
        await theirs.close()

    async def story() -> tuple[Serial, Serial]:
        ours = await SqliteIndex.open(path, clock)
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[Serial] = loop.create_future()

        class Asks(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                asked.set_result(ours.seen())

        here, there = socket.socketpair()
        transport, _ = await loop.create_connection(Asks, sock=here)
        await asyncio.sleep(0.01)
        before = ours.seen()
        other = threading.Thread(target=lambda: asyncio.run(commit()))  # another process, as far as SQLite sees
        other.start()
        other.join()
        there.sendall(b"x")
        found = await asked
        transport.close()
        there.close()
        await ours.close()
        return before, found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        before, found = runner.run(story())
    assert found == before + 1


async def test_commits_with_long_changes_are_read_a_few_at_a_time(ours: SqliteIndex) -> None:
    """A first list of a million names is a hundred commits, whose names would take hundreds of megabytes together."""
    head = await ours.head()
    for part in range(6):
        names = tuple((ProjectName(f"project-{part}-{number}"), f"Project_{part}_{number}") for number in range(10_000))
        await ours.apply([MirrorNames(MIRROR, names)], who="[test]")
    found: list[Commit] = []
    while some := await ours.commits(found[-1].serial if found else head, limit=100):
        assert len(some) <= 2
        found += some
    assert [commit.serial for commit in found] == [*range(head + 1, head + 7)]
