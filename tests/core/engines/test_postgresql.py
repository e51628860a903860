"""The store in PostgreSQL when things go wrong: other servers, lost answers, ended backends, a restart, a pooler, a failover."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from typing import Any, cast

import pytest

from pkgindex_core.changes import Commit, DropFile, FileAbsent, MirrorPage, NoteIs, PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.migrations import Migration
from pkgindex_core.engines.postgresql import index, opening, queries, writer
from pkgindex_core.engines.postgresql.databases import database_of
from pkgindex_core.engines.postgresql.index import PostgresqlIndex
from pkgindex_core.engines.postgresql.sessions import Sessions
from pkgindex_core.errors import Missing, PkgIndexError, Refused, RequirementFailed, Unavailable
from pkgindex_core.formats.audit_chain import BrokenChain
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.models import Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.services.administering.auditing import Auditing, CheckedChain
from pkgindex_core.testing.index_cases.values import DEMO, DEV, MIRROR, head, hosted, mirror, mirrored, stage, user
from pkgindex_core.tools import leases
from pkgindex_core.tools.currency import Currency
from tests.conftest import Tally
from tests.cutting import Cutting
from tests.database_server import DatabaseServer, Pooler, pgbouncer

_numbers = itertools.count(1)
SEED = [PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV)), PutIndex(mirror(MIRROR))]


@pytest.fixture
def database(database_server: DatabaseServer) -> Iterator[str]:
    """The name of an empty database."""
    name = f"faults_{next(_numbers)}"
    database_server.sql(f"CREATE DATABASE {name}")
    yield name
    database_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def stores(*urls: str) -> AsyncIterator[list[PostgresqlIndex]]:
    async with AsyncExitStack() as stack:
        opened = []
        for url in urls:
            store = await PostgresqlIndex.open(url, SystemClock())
            stack.push_async_callback(store.close)
            opened.append(store)
        yield opened


async def assert_whole(store: PostgresqlIndex, acknowledged: Sequence[Commit]) -> None:
    """Every acknowledged commit is in the log as it was told, and the database is sound."""
    log = {commit.serial: commit for commit in await store.commits(Serial(0), limit=100_000)}
    assert list(log) == list(range(1, len(log) + 1))
    assert len({commit.serial for commit in acknowledged}) == len(acknowledged)
    for commit in acknowledged:
        assert (log[commit.serial].who, log[commit.serial].at) == (commit.who, commit.at)
    assert list(await store.check()) == []


async def upload(store: PostgresqlIndex, name: str, content: str, who: str) -> Commit:
    commit = await store.apply(
        [PutFile(DEV, DEMO, hosted(name, content))], who=who, require=[FileAbsent(index=DEV, filename=name)]
    )
    assert commit is not None
    return commit


async def test_a_commit_takes_two_round_trips(database_server: DatabaseServer, database: str) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            await store._watch.close()  # it asks on connections of its own
            await store.apply(SEED, who="ann")
            await upload(store, "demo-0.zip", "x", "ann")
            for number in range(1, 5):
                before = line.turns
                await upload(store, f"demo-{number}.zip", "x", "ann")
                assert line.turns - before == 2
            before = line.turns
            assert await store.page(DEV, DEMO) is not None
            before = line.turns
            assert await store.page(DEV, DEMO) is not None
            assert line.turns - before == 1


async def test_a_commit_beside_another_server_takes_three_round_trips(
    database_server: DatabaseServer, database: str
) -> None:
    """After another server has committed in between, the head is locked."""
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            await store._watch.close()
            await store.apply(SEED, who="ann")
            await upload(store, "demo-0.zip", "x", "ann")
            store._writer._locks_until = math.inf
            commits = []
            for number in range(1, 5):
                before = line.turns
                commits.append(await upload(store, f"demo-{number}.zip", "it's \\ $$ ü", "ann"))
                assert line.turns - before == 3
            with pytest.raises(RequirementFailed):
                await upload(store, "demo-1.zip", "y", "ben")
            await assert_whole(store, commits)


async def test_those_who_ask_for_the_tree_at_once_share_a_question(
    database_server: DatabaseServer, database: str
) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url, database_server.url(database)) as (one, other):
            await one.apply(SEED, who="ann")
            await one._watch.close()
            await one.tree()
            await one.tree()
            before = line.turns
            trees = await asyncio.gather(*(one.tree() for _ in range(50)))
            assert line.turns - before == 1
            assert len({id(tree) for tree in trees}) == 1
            made = await other.apply([PutIndex(stage(IndexName("ann/new")))], who="ann")
            assert made is not None
            assert (await one.tree()).serial == await one.head() == made.serial


async def test_lists_that_wait_together_are_one_transaction(database_server: DatabaseServer, database: str) -> None:
    async with stores(database_server.url(database)) as (store,):
        await store.apply(SEED, who="ann")
        names = [ProjectName(f"p{number}") for number in range(40)]
        commits = await asyncio.gather(
            *(store.apply([PutFile(DEV, name, hosted(f"{name}-1.zip"))], who="ann") for name in names)
        )
        assert len({commit.at for commit in commits if commit is not None}) <= 2
        await assert_whole(store, [commit for commit in commits if commit is not None])


async def test_of_a_log_of_long_commits_little_is_sent_at_once(database_server: DatabaseServer, database: str) -> None:
    async with stores(database_server.url(database)) as (store,):
        await store.apply(SEED, who="ann")
        for number in range(8):
            long = Random(number).randbytes(200_000).hex()  # does not become short when it is packed
            await store.apply([PutUser(User(name="ann", password_hash=long))], who="ann")
        sent: list[int] = []

        class Watched:
            async def rows(self, sql: str, *values: object) -> Any:
                found = await store._sessions.rows(sql, *values)
                sent.append(len(found))
                return found

        after, parts = Serial(0), []
        while some := await queries.commits(cast("Any", Watched()), after, 1000):
            parts.append([commit.serial for commit in some])
            after = some[-1].serial
        assert [serial for part in parts for serial in part] == [*range(1, 10)]
        assert max(sent) <= 5


async def test_lists_of_one_transaction_may_bring_the_same_page(database_server: DatabaseServer, database: str) -> None:
    async with stores(database_server.url(database)) as (store,):
        await store.apply(SEED, who="ann")
        page = keep(DEMO, [mirrored("demo-1.0.tar.gz")]).kept
        names = [ProjectName(f"p{number}") for number in range(20)]
        for _ in range(2):  # the second time they are stored already
            commits = await asyncio.gather(
                *(store.apply([MirrorPage(MIRROR, name, head(), kept=page)], who="ann") for name in names)
            )
            assert len({commit.at for commit in commits if commit is not None}) <= 2
        assert database_server.sql("SELECT count(*) FROM pages", database) == [["1"]]
        assert await store.project_count(MIRROR) == 20
        await assert_whole(store, [])


async def test_one_of_two_servers_gets_a_filename(database_server: DatabaseServer, database: str, tally: Tally) -> None:
    """Both servers upload each file at once, other bytes under one name: one is told so, and its bytes are there."""
    turns = 100
    url = database_server.url(database)
    async with stores(url, url) as both:
        await both[0].apply(SEED, who="ann")
        won: list[Commit] = []
        for turn in range(turns):
            name = f"demo-{turn}.zip"
            outcomes = await asyncio.gather(
                *(upload(store, name, f"{who}", f"{who}") for who, store in enumerate(both)), return_exceptions=True
            )
            (commit,) = [each for each in outcomes if isinstance(each, Commit)]
            (refused,) = [each for each in outcomes if not isinstance(each, Commit)]
            assert isinstance(refused, RequirementFailed)
            for store in both:
                assert await store.file(DEV, DEMO, name) == hosted(name, commit.who)
            won.append(commit)
        await assert_whole(both[1], won)
    tally("filenames uploaded to two servers at once, one winner each", turns)


async def test_what_one_server_has_acknowledged_the_other_shows_at_once(
    database_server: DatabaseServer, database: str
) -> None:
    """Also a result that is kept in memory: it is not taken for current before the database was asked."""
    url = database_server.url(database)
    async with stores(url, url) as (one, other):
        await one.apply(SEED, who="ann")
        currency = Currency(other)
        await currency.catch_up()
        for turn in range(50):
            moment = currency.moment()
            assert currency.holds(moment, keys=[(DEV, DEMO)])
            await upload(one, f"demo-{turn}.zip", "x", "ann")
            assert currency.known() is None
            await asyncio.gather(*(currency.catch_up() for _ in range(5)))
            assert not currency.holds(moment, keys=[(DEV, DEMO)])
            assert other.seen() == await one.head()


@pytest.mark.parametrize(
    ("what", "locks_head"),
    [
        (b"INSERT INTO commits", False),
        (b"ARRAY[serial, at, now]", False),
        (b"FOR UPDATE", True),
        (b"ARRAY[serial, at, now]", True),
        (b"commit_locked", True),
    ],
    ids=["commit", "facts", "lock", "facts of the locked head", "commit to the locked head"],
)
async def test_a_lost_answer_is_no_lost_and_no_second_commit(
    database_server: DatabaseServer, database: str, what: bytes, locks_head: bool
) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            acknowledged = [await store.apply(SEED, who="ann")]
            store._writer._locks_until = math.inf if locks_head else 0.0
            for number in range(5):
                line.cut_answer_after = lambda data: what in data
                acknowledged.append(await upload(store, f"demo-{number}.zip", "x", f"w{number}"))
                assert line.cut == number + 1
            assert await store.head() == 6
            assert [commit.serial for commit in acknowledged if commit is not None] == [1, 2, 3, 4, 5, 6]
            await assert_whole(store, [commit for commit in acknowledged if commit is not None])


async def test_a_commit_of_which_nothing_can_be_known_says_so(database_server: DatabaseServer, database: str) -> None:
    """Its answer is lost, and the database cannot be reached any more."""
    async with stores(database_server.url(database)) as (other,):
        await other.apply(SEED, who="ann")
        async with (
            Cutting(database_server.port) as line,
            stores(f"postgresql://postgres@127.0.0.1:{line.port}/{database}") as (store,),
        ):
            store._sessions.patience = 0.1
            line.cut_answer_after, line.is_last = partial(_has, b"INSERT INTO commits", b"demo-1.zip"), True
            with pytest.raises(Unavailable, match="not known whether the change was stored") as caught:
                await upload(store, "demo-1.zip", "x", "ann")
            assert caught.value.retry_after
        assert await other.file(DEV, DEMO, "demo-1.zip") == hosted("demo-1.zip", "x")


async def test_a_lost_answer_of_a_replay_is_found_again(database_server: DatabaseServer, database: str) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            commits = [
                Commit(
                    serial=Serial(number), at=SystemClock().now(), who="other", changes=(PutUser(user(f"u{number}")),)
                )
                for number in (1, 2, 3)
            ]
            line.cut_answer_after = lambda data: b"COMMIT" in data
            await store.replay(commits)
            assert line.cut == 1
            await assert_whole(store, commits)


def _has(one: bytes, other: bytes, data: bytes) -> bool:
    return one in data and other in data


async def test_a_lost_answer_about_a_note_is_told_rightly(database_server: DatabaseServer, database: str) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            for sent in (b"DO UPDATE SET value", b"UPDATE notes SET value"):
                before = await store.note("lease", "work")
                line.cut_answer_after = partial(_has, sent, b"lease")
                expected = before.version if before is not None else 0
                version = await store.put_note("lease", "work", b"me", seconds=60, expected=expected)
                assert version is not None
                assert version > expected
                note = await store.note("lease", "work")
                assert note is not None
                assert note.version == version
            line.cut_answer_after = partial(_has, b"DELETE FROM notes WHERE kind", b"lease")
            with pytest.raises(Unavailable, match="not known"):
                await store.drop_note("lease", "work")
            assert await store.note("lease", "work") is None
            assert line.cut == 3


@pytest.mark.parametrize("locks_head", [False, True])
@pytest.mark.parametrize("there_is_one", [False, True])
async def test_a_note_that_is_written_after_it_was_read_stops_a_commit(
    database_server: DatabaseServer,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    there_is_one: bool,
    locks_head: bool,
) -> None:
    """The facts of a commit are read before its transaction, so the transaction looks again."""
    url = database_server.url(database)
    async with stores(url, url) as (store, other):
        await store.apply(SEED, who="ann")
        version = await other.put_note("clearing", "now", b"1") if there_is_one else 0
        assert version is not None
        store._writer._locks_until = math.inf if locks_head else 0.0
        load, loaded = writer.load, list[int]()

        async def load_and_announce(*args: Any) -> Any:
            found = await load(*args)
            if not loaded:
                await other.put_note("clearing", "now", b"2")
            loaded.append(1)
            return found

        monkeypatch.setattr(writer, "load", load_and_announce)
        with pytest.raises(RequirementFailed):
            await store.apply(
                [PutFile(DEV, DEMO, hosted("demo-1.zip", "1"))], who="ann", require=[NoteIs("clearing", "now", version)]
            )
        assert len(loaded) == 2, "planned again, and refused by what is there"
        assert await store.file(DEV, DEMO, "demo-1.zip") is None


async def test_leases_end_by_the_clock_of_the_database(database_server: DatabaseServer, database: str) -> None:
    """The clocks of the servers do not matter."""

    class Wrong(SystemClock):
        def now(self) -> Any:
            return super().now() + 3_600_000_000

    first = await PostgresqlIndex.open(database_server.url(database), SystemClock())
    second = await PostgresqlIndex.open(database_server.url(database), Wrong())
    try:
        lease = await leases.acquire(first, "work", "first", seconds=60)
        assert lease is not None
        assert await leases.acquire(second, "work", "second", seconds=60) is None
        assert await leases.release(first, lease)
        later = await leases.acquire(second, "work", "second", seconds=60)
        assert later is not None
        assert later.token > lease.token
        assert await leases.acquire(first, "work", "first", seconds=60) is None
    finally:
        await first.close()
        await second.close()


async def _write_until(
    stopped: asyncio.Event, store: PostgresqlIndex, who: str, acknowledged: list[Commit], failed: list[PkgIndexError]
) -> None:
    number = 0
    while not stopped.is_set():
        number += 1
        try:
            acknowledged.append(await upload(store, f"demo-{who}-{number}.zip", who, f"{who}-{number}"))
        except PkgIndexError as error:
            failed.append(error)


async def test_ended_backends_lose_nothing(database_server: DatabaseServer, database: str, tally: Tally) -> None:
    """Every connection of two servers is ended again and again, in the middle of whatever it does."""
    url = database_server.url(database)
    stopped, acknowledged, failed, ended = asyncio.Event(), list[Commit](), list[PkgIndexError](), 0
    random = Random(13)
    async with stores(url, url) as both:
        await both[0].apply(SEED, who="ann")
        writers = [
            asyncio.create_task(_write_until(stopped, store, f"{side}{number}", acknowledged, failed))
            for side, store in enumerate(both)
            for number in range(3)
        ]
        for _ in range(25):
            enough = len(acknowledged) + random.randrange(8)
            while len(acknowledged) < enough:
                await asyncio.sleep(0.001)
            rows = await asyncio.to_thread(
                database_server.sql,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()",
            )
            ended += len(rows)
        stopped.set()
        await asyncio.gather(*writers)
        assert failed == [], "a connection is made again within the patience of a store"
        assert ended > 25
        for store in both:
            await assert_whole(store, acknowledged)
        assert await both[0].head() == len(acknowledged) + 1, "nothing was committed that was not acknowledged"
    tally("backends ended during commits", ended)
    tally("commits acknowledged while backends ended, none lost or doubled", len(acknowledged))


async def test_a_restart_of_the_server_during_writes_loses_nothing(
    database_server: DatabaseServer, database: str
) -> None:
    url = database_server.url(database)
    stopped, acknowledged, failed = asyncio.Event(), list[Commit](), list[PkgIndexError]()
    async with stores(url, url) as both:
        await both[0].apply(SEED, who="ann")
        writers = [
            asyncio.create_task(_write_until(stopped, store, f"{side}", acknowledged, failed))
            for side, store in enumerate(both)
        ]
        for how in (signal.SIGINT, signal.SIGQUIT):
            while len(acknowledged) < 20:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(database_server.stop, how)
            await asyncio.to_thread(database_server.start)
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                await asyncio.sleep(0.01)
        stopped.set()
        await asyncio.gather(*writers)
        assert all(isinstance(error, Unavailable) for error in failed)
        await assert_whole(both[1], acknowledged)


async def test_the_first_answer_after_a_restart_is_of_now_however_long_that_took(
    database_server: DatabaseServer, database: str
) -> None:
    async with stores(database_server.url(database)) as (store,):
        store._watch._task.cancel()  # its question would be the first one
        await asyncio.to_thread(database_server.stop)
        asked = asyncio.create_task(store.head())
        await asyncio.sleep(store.lag + 0.2)
        await asyncio.to_thread(database_server.start)
        head = await asked
        assert store.seen() == head


async def test_a_database_that_is_down_is_unavailable(
    database_server: DatabaseServer, database: str, monkeypatch: Any
) -> None:
    async with Cutting(database_server.port) as line:
        url = f"postgresql://postgres:secret@127.0.0.1:{line.port}/{database}"
        async with stores(url) as (store,):
            await store.apply(SEED, who="ann")
            await line.__aexit__()
            monkeypatch.setattr(store._sessions, "patience", 0.2)
            for call in (store.head(), store.page(DEV, DEMO), upload(store, "demo-1.zip", "x", "ann")):
                with pytest.raises(Unavailable, match="cannot be reached") as caught:
                    await call
                assert caught.value.retry_after
                assert "secret" not in caught.value.message + caught.value.hint
            while True:  # `seen` goes on for the time that it may be behind
                try:
                    store.seen()
                except Unavailable:
                    break
                await asyncio.sleep(0.05)


# Behind a pooler, and with several hosts.


async def test_the_chain_of_the_log_is_that_of_other_stores(database_server: DatabaseServer, database: str) -> None:
    """The same commits have the same hashes as in memory, and a commit that was changed in the database is named."""
    url = database_server.url(database)
    other = MemoryIndex(SystemClock())
    async with stores(url) as (store,):
        for number in range(5):
            await store.apply([PutUser(User(name=f"user{number}", custom_data={"é": [1, 2.5, None]}))], who="root")
        await other.replay(await store.commits(Serial(0)))
        with ThreadPoolExecutor(1) as workers:
            auditing = Auditing(store=store, workers=workers)
            assert await auditing.chain() == await Auditing(store=other, workers=workers).chain()
            assert isinstance(await auditing.check(), CheckedChain)
            database_server.sql("UPDATE commits SET who = 'x' WHERE serial = 3", database=database)
            found = await auditing.check()
            assert isinstance(found, BrokenChain)
            assert found.serial == 3


@pytest.fixture
def pooler(database_server: DatabaseServer) -> Iterator[Pooler]:
    program = pgbouncer()
    if program is None:
        pytest.skip("PgBouncer is not installed")
    one = Pooler(database_server, program)
    yield one
    one.remove()


async def test_servers_behind_a_pooler_are_as_without_one(
    database_server: DatabaseServer, database: str, pooler: Pooler
) -> None:
    """PgBouncer gives each transaction another connection; four clients share three."""
    url = pooler.url(database)
    async with stores(url, url, database_server.url(database)) as every:
        await every[0].apply(SEED, who="ann")
        for turn in range(20):
            name = f"demo-{turn}.zip"
            outcomes = await asyncio.gather(
                *(upload(store, name, f"{who}", f"{who}") for who, store in enumerate(every)), return_exceptions=True
            )
            (commit,) = [each for each in outcomes if isinstance(each, Commit)]
            assert all(isinstance(each, (Commit, RequirementFailed)) for each in outcomes)
            files = await asyncio.gather(*(store.file(DEV, DEMO, name) for store in every for _ in range(8)))
            assert set(map(repr, files)) == {repr(hosted(name, commit.who))}
        versions = await asyncio.gather(*(store.put_note("k", "race", b"", expected=0) for store in every * 5))
        assert len([version for version in versions if version is not None]) == 1
        await every[1].replay(
            [Commit(serial=Serial(22), at=SystemClock().now(), who="other", changes=(PutUser(user("bob")),))]
        )
        for store in every:
            assert await store.wait(Serial(21), timeout=60) == 22
            assert list(await store.check()) == []


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM files", "demo in ann/dev counts 1 files but has 0"),
        ("UPDATE files SET project = 'other'", "ann/dev has the file demo-1.zip of other, but not the project"),
        ("UPDATE standings SET project = 'De--mo'", "ann/dev has a project with the invalid name De--mo"),
        (
            "INSERT INTO tombstones SELECT index_name, filename, project, sha256 FROM files",
            "ann/dev has the file demo-1.zip, and says that it was deleted",
        ),
    ],
)
async def test_rows_that_do_not_fit_each_other_are_said(
    database_server: DatabaseServer, database: str, damage: str, finding: str
) -> None:
    async with stores(database_server.url(database)) as (store,):
        await store.apply(SEED, who="ann")
        await upload(store, "demo-1.zip", "x", "ann")
        assert list(await store.check()) == []
        database_server.sql(damage, database)
        assert any(finding in problem for problem in await store.check())


async def test_of_several_hosts_the_one_that_takes_writes_is_used(
    database_server: DatabaseServer, database: str
) -> None:
    async with stores(f"postgresql://postgres@127.0.0.1:1,127.0.0.1:{database_server.port}/{database}") as (store,):
        assert await store.head() == 0


async def test_a_promoted_standby_goes_on(database_server: DatabaseServer, tally: Tally) -> None:
    """The primary waits for its standby with each commit, then dies. The standby is promoted: nothing that was acknowledged is lost."""
    primary = await asyncio.to_thread(DatabaseServer, database_server.bin)
    standby: DatabaseServer | None = None
    try:
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(primary.sql, "CREATE DATABASE x")
        standby = await asyncio.to_thread(primary.standby)
        url = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/x"
        stopped, acknowledged, failed = asyncio.Event(), list[Commit](), list[PkgIndexError]()
        async with stores(url, url) as both:
            await both[0].apply(SEED, who="ann")
            writers = [
                asyncio.create_task(_write_until(stopped, store, f"{side}", acknowledged, failed))
                for side, store in enumerate(both)
            ]
            while len(acknowledged) < 50:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(primary.stop, signal.SIGQUIT)
            await asyncio.to_thread(standby.sql, "SELECT pg_promote()")
            before = len(acknowledged)
            while len(acknowledged) < before + 50:
                await asyncio.sleep(0.01)
            stopped.set()
            await asyncio.gather(*writers)
            assert all(isinstance(error, Unavailable) for error in failed)
            await assert_whole(both[0], acknowledged)
        tally("commits acknowledged around a failover, none lost", len(acknowledged))
    finally:
        primary.remove()
        if standby is not None:
            standby.remove()


async def test_a_commit_whose_answer_was_lost_is_not_told_before_the_standby_has_it(
    database_server: DatabaseServer,
) -> None:
    """A backend that is ended while it waits for the standby leaves its commit on the primary alone."""
    primary = await asyncio.to_thread(DatabaseServer, database_server.bin)
    standby: DatabaseServer | None = None
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    try:
        await asyncio.to_thread(primary.start)
        await asyncio.to_thread(primary.sql, "CREATE DATABASE x")
        standby = await asyncio.to_thread(primary.standby)
        async with stores(primary.url("x")) as (store,):
            await store.apply(SEED, who="ann")
            await asyncio.to_thread(standby.stop, signal.SIGQUIT)
            uploading = asyncio.create_task(upload(store, "demo-1.zip", "x", "ann"))
            while not (pids := await asyncio.to_thread(primary.sql, waiting)):
                await asyncio.sleep(0.01)
            ended = f"SELECT pg_terminate_backend({pids[0][0]})"
            await asyncio.to_thread(primary.sql, ended)
            while await asyncio.to_thread(primary.sql, waiting) in ([], pids):
                assert not uploading.done(), "a failover would lose it"
                await asyncio.sleep(0.01)
            await asyncio.to_thread(standby.start)
            commit = await uploading
            assert await asyncio.to_thread(standby.sql, "SELECT max(serial) FROM commits", "x") == [
                [f"{commit.serial}"]
            ]
    finally:
        primary.remove()
        if standby is not None:
            standby.remove()


# Opening.


async def test_a_database_without_an_index_is_missing_unless_one_may_be_made(
    database_server: DatabaseServer, database: str
) -> None:
    url = database_server.url(database)
    with pytest.raises(Missing, match="has no index"):
        await PostgresqlIndex.open(url, SystemClock(), may_create=False)
    assert database_server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database) == [["0"]]


async def test_servers_that_start_at_once_make_one_schema(database_server: DatabaseServer, database: str) -> None:
    url = database_server.url(database)
    opened = await asyncio.gather(*(PostgresqlIndex.open(url, SystemClock()) for _ in range(6)))
    for store in opened:
        await store.close()
    assert database_server.sql("SELECT number, name FROM pkgindex_migrations", database) == [
        ["1", "first"],
        ["2", "sizes"],
    ]


async def test_bytes_are_counted_for_what_was_there_and_beside_an_earlier_server(
    database_server: DatabaseServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of schema 1 nothing counted them. A server that knows that schema alone goes on to write."""
    url = database_server.url(database)
    known = index.migrations("postgresql")
    monkeypatch.setattr(index, "migrations", lambda _: known[:1])
    async with stores(url) as (earlier,):
        await earlier.apply(SEED, who="ann")
        await earlier.apply([PutFile(DEV, DEMO, hosted(f"demo-{number}.zip")) for number in range(3)], who="ann")
        await earlier.apply([DropFile(DEV, DEMO, "demo-0.zip")], who="ann")
        monkeypatch.undo()
        async with stores(url) as (store,):
            assert [await store.stored_bytes(DEV), await store.stored_bytes(DEV, DEMO)] == [2, 2]
            await earlier.apply([PutFile(DEV, DEMO, hosted("demo-9.zip"))], who="ann")
            await earlier.apply([DropFile(DEV, DEMO, "demo-1.zip"), DropFile(DEV, DEMO, "demo-2.zip")], who="ann")
            assert await store.stored_bytes(DEV) == 1
            assert await store.check() == []


async def test_a_newer_schema_is_refused(database_server: DatabaseServer, database: str) -> None:
    async with stores(database_server.url(database)):
        pass
    database_server.sql("INSERT INTO pkgindex_migrations VALUES (99, 'x', 'x', 0)", database)
    with pytest.raises(Refused, match="has schema 99"):
        await PostgresqlIndex.open(database_server.url(database), SystemClock())


async def test_tables_of_another_program_are_left_alone(database_server: DatabaseServer, database: str) -> None:
    database_server.sql("CREATE TABLE files (mine int)", database)
    with pytest.raises(Refused, match="another program") as caught:
        await PostgresqlIndex.open(database_server.url(database), SystemClock())
    assert "search_path" in caught.value.hint
    database_server.sql("CREATE SCHEMA mine", database)
    async with stores(database_server.url(database, search_path="mine")) as (store,):
        assert await store.head() == 0


async def test_an_encoding_that_cannot_hold_every_name_is_refused(database_server: DatabaseServer) -> None:
    database_server.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(Refused, match="LATIN1"):
            await PostgresqlIndex.open(database_server.url("latin"), SystemClock())
    finally:
        database_server.sql("DROP DATABASE latin")


async def test_a_database_that_does_not_wait_for_its_disk_is_refused(
    database_server: DatabaseServer, database: str
) -> None:
    database_server.sql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with pytest.raises(Refused, match="synchronous_commit is off"):
        await PostgresqlIndex.open(database_server.url(database), SystemClock())


async def test_a_failing_migration_changes_nothing(database_server: DatabaseServer, database: str) -> None:
    sessions = Sessions(database_of(database_server.url(database)))
    steps = [Migration(1, "one", "CREATE TABLE one (x int)"), Migration(2, "two", "CREATE TABLE nonsense (")]
    with pytest.raises(PkgIndexError):
        await sessions.tried(lambda session: opening.prepare(session, "x", SystemClock(), steps, may_create=True))
    await sessions.close()
    assert database_server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database) == [["0"]]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ann:hunter2@db.example.org", "names no database"),
        ("postgresql://db.example.org/x?password=hunter2", "password among its options"),
        ("postgresql://ann:a/hunter2@db.example.org/", "names no database"),
    ],
    ids=["no database", "password in options", "a slash in the password"],
)
def test_an_url_that_cannot_be_used_is_refused_without_its_secrets(url: str, says: str) -> None:
    with pytest.raises(Refused, match=says) as caught:
        database_of(url)
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("password", ["hunter2", "a:hunter2", "a/hunter2", "a#hunter2", "a@hunter2"])
async def test_errors_and_logs_have_no_password(
    database_server: DatabaseServer, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"postgresql://nobody:{password}@127.0.0.1:{database_server.port}/missing"
    with pytest.raises(PkgIndexError) as caught:
        await PostgresqlIndex.open(url, SystemClock())
    told = [
        caught.value.message,
        caught.value.hint,
        str(caught.value.__cause__),
        *(each.getMessage() for each in caplog.records),
    ]
    assert not any("hunter2" in text for text in told)


async def test_a_text_that_the_database_cannot_hold_is_refused_and_found_nowhere(
    database_server: DatabaseServer, database: str
) -> None:
    async with stores(database_server.url(database)) as (store,):
        await store.apply(SEED, who="ann")
        with pytest.raises(Refused, match="cannot be stored"):
            await store.apply([PutFile(DEV, ProjectName("a\0b"), hosted("a-1.zip"))], who="ann")
        assert await store.head() == 1
        assert await store.page(DEV, ProjectName("a\0b")) is None
        assert await store.find_file(DEV, "a\0b.zip", [ProjectName("a\0b")]) is None
        assert await store.find_file(DEV, "\ud800.zip", []) is None
        assert await store.user("\0") is None
