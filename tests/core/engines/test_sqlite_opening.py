"""A SQLite file opens, or the engine says exactly why it does not, and changes nothing in it."""

from __future__ import annotations

import hashlib
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import pytest

from pkgindex_core.changes import MirrorPage, PutFile, PutIndex, PutUser
from pkgindex_core.engines.migrations import Migration, migrations
from pkgindex_core.engines.sqlite import database
from pkgindex_core.engines.sqlite.checksums import file_system
from pkgindex_core.engines.sqlite.index import SqliteIndex, open_sqlite
from pkgindex_core.errors import Corrupt, PkgIndexError, Refused, Unavailable
from pkgindex_core.formats.kept_pages import keep
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import PageHead, Serial
from pkgindex_core.names import ProjectName
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

SCHEMA = len(migrations("sqlite"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


async def opened(path: Path) -> SqliteIndex:
    return await SqliteIndex.open(path, ManualClock())


async def commit_many(store: SqliteIndex, count: int) -> None:
    for number in range(count):
        await store.apply([PutUser(user(f"u{number}", description="x" * 3000))], who="test")


def execute(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path), vfs=file_system())
    try:
        return [row for statement in statements for row in connection.execute(statement)]
    finally:
        connection.close()


class TestUrls:
    @pytest.fixture
    async def context(self, tmp_path: Path) -> AsyncIterator[Context]:
        (tmp_path / "data").mkdir()
        with ThreadPoolExecutor(1) as workers:
            yield Context(data=tmp_path / "data", clock=ManualClock(), workers=workers)

    async def test_without_a_path_the_file_is_in_the_servers_directory(self, context: Context) -> None:
        await (await open_sqlite("sqlite://", context)).close()
        assert (context.data / "index.db").exists()

    async def test_a_path_is_absolute_and_percent_decoded(self, context: Context, tmp_path: Path) -> None:
        await (await open_sqlite(f"sqlite://{tmp_path}/a%20b.db", context)).close()
        assert (tmp_path / "a b.db").exists()

    @pytest.mark.parametrize(
        "url", ["sqlite://relative.db", "sqlite://host/x.db", "postgresql:///x", "/x.db", "sqlite:///x?mode=ro"]
    )
    async def test_anything_else_is_refused(self, context: Context, url: str) -> None:
        with pytest.raises(Refused, match="not the URL of a SQLite index store"):
            await open_sqlite(url, context)


class TestStates:
    async def test_a_new_file_is_private_and_marked_as_ours(self, path: Path) -> None:
        store = await opened(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.with_name("index.db-wal").stat().st_mode) == 0o600
        await store.close()
        assert execute(path, "PRAGMA application_id", "PRAGMA user_version", "PRAGMA journal_mode") == [
            (database.APPLICATION_ID,),
            (SCHEMA,),
            ("wal",),
        ]
        assert [entry.name for entry in path.parent.iterdir()] == ["index.db"]

    async def test_acknowledged_commits_are_synchronised(self, path: Path) -> None:
        store = await opened(path)
        assert store._writer._connection.pragma("synchronous") == 2
        await store.close()

    async def test_an_empty_file_becomes_an_index(self, path: Path) -> None:
        path.touch()
        store = await opened(path)
        assert await store.head() == 0
        await store.close()

    async def test_a_file_that_is_no_database_is_refused_unharmed(self, path: Path) -> None:
        path.write_bytes(b"-----BEGIN something else-----\n" * 500)
        before = path.read_bytes()
        with pytest.raises(Corrupt, match="is not a SQLite database"):
            await opened(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("mark", [0, 0x12345])
    async def test_another_programs_database_is_refused_unharmed(self, path: Path, mark: int) -> None:
        execute(path, "CREATE TABLE theirs (x)", f"PRAGMA application_id = {mark}")
        before = hashlib.sha256(path.read_bytes()).digest()
        with pytest.raises(Refused, match="is a database of another program"):
            await opened(path)
        assert hashlib.sha256(path.read_bytes()).digest() == before

    async def test_a_newer_schema_is_refused_with_what_to_do(self, path: Path) -> None:
        await (await opened(path)).close()
        execute(path, f"PRAGMA user_version = {SCHEMA + 1}")
        with pytest.raises(Refused, match=f"has schema {SCHEMA + 1}; .* up to {SCHEMA}") as caught:
            await opened(path)
        assert "newer pkgindex" in caught.value.hint

    async def test_a_missing_directory_and_a_directory_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="does not exist"):
            await opened(tmp_path / "nowhere" / "index.db")
        with pytest.raises(Refused, match="is a directory"):
            await opened(tmp_path)

    @pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
    def test_a_sqlite_that_corrupts_is_refused(self, version: str) -> None:
        with pytest.raises(Refused, match="can corrupt"):
            database.require_safe_sqlite(version)

    @pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0"])
    def test_a_sound_sqlite_is_taken(self, version: str) -> None:
        database.require_safe_sqlite(version)

    def test_processes_that_create_one_file_at_once_agree(self, path: Path) -> None:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: database.prepare(path, ManualClock()), range(6)))
        assert execute(path, "SELECT number FROM migrations") == [(number,) for number in range(1, SCHEMA + 1)]

    async def test_damage_after_an_unclean_stop_is_found_at_the_start(self, path: Path) -> None:
        store = await opened(path)
        await commit_many(store, 30)
        await store.close()
        image = bytearray(path.read_bytes())
        for page in range(8, len(image) // 4096):
            image[page * 4096 : page * 4096 + 200] = b"\xff" * 200
        path.write_bytes(image)
        path.with_name("index.db-wal").write_bytes(b"\x00" * 100)
        with pytest.raises(Corrupt, match="damaged"):
            await opened(path)


class TestWriteAheadLog:
    @pytest.fixture
    async def copied(self, path: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Path]]:
        """Copies of a store that is running, as a crash or a careless backup would leave them."""
        store = await opened(path)
        await store.apply([PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV))], who="test")
        store._writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        await commit_many(store, 12)
        count = iter(range(1000))

        def copy(*suffixes: str, wal_bytes: int | None = None) -> Path:
            target = tmp_path / f"copy{next(count)}" / "index.db"
            target.parent.mkdir()
            for suffix in ("", *suffixes):
                shutil.copy(f"{path}{suffix}", f"{target}{suffix}")
            if wal_bytes is not None:
                with Path(f"{target}-wal").open("r+b") as wal:
                    wal.truncate(wal_bytes)
            return target

        yield copy
        await store.close()

    async def test_a_hot_log_is_recovered(self, copied: Callable[..., Path]) -> None:
        for suffixes in (("-wal",), ("-wal", "-shm")):
            store = await opened(copied(*suffixes))
            assert await store.head() == 13
            assert await store.check() == []
            assert await store.apply([PutUser(user("next"))], who="test") is not None
            await store.close()

    async def test_a_log_that_was_cut_keeps_its_whole_commits(self, copied: Callable[..., Path]) -> None:
        size = Path(f"{copied('-wal')}-wal").stat().st_size
        heads = []
        for length in range(0, size + 1, 3001):
            store = await opened(copied("-wal", wal_bytes=length))
            heads.append(await store.head())
            assert await store.check() == []
            assert [commit.serial for commit in await store.commits(Serial(0))] == list(range(1, heads[-1] + 1))
            assert len(await store.users()) == heads[-1] + 1
            await store.close()
        assert heads == sorted(heads)
        assert (heads[0], heads[-1] > 10) == (1, True)

    async def test_a_copy_without_its_log_is_whole_but_older(self, copied: Callable[..., Path]) -> None:
        store = await opened(copied())
        assert await store.head() == 1
        assert await store.check() == []
        await store.close()


class TestMigrations:
    @staticmethod
    def steps(*texts: str) -> Sequence[Migration]:
        shipped = migrations("sqlite")
        return (*shipped, *(Migration(len(shipped) + 1 + at, "later", text) for at, text in enumerate(texts)))

    def test_they_are_recorded_with_their_checksums(self, path: Path) -> None:
        steps = self.steps("CREATE TABLE later (x)")
        database.prepare(path, ManualClock(), steps)
        recorded = execute(path, "SELECT number, checksum FROM migrations ORDER BY number")
        assert recorded == [(step.number, step.checksum) for step in steps]

    async def test_a_filled_database_is_migrated_in_place(self, path: Path) -> None:
        store = await opened(path)
        await commit_many(store, 3)
        await store.close()
        database.prepare(path, ManualClock(), self.steps("CREATE TABLE later (x)", "INSERT INTO later VALUES (7)"))
        assert execute(path, "SELECT x FROM later", "SELECT count(*) FROM commits") == [(7,), (3,)]
        with pytest.raises(Refused, match="knows schemas up to"):
            await opened(path)

    async def test_one_that_fails_leaves_the_schema_before_it(self, path: Path) -> None:
        await (await opened(path)).close()
        with pytest.raises(PkgIndexError):
            database.prepare(path, ManualClock(), self.steps("CREATE TABLE half (x)", "this is not SQL"))
        assert execute(path, "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == [
            (SCHEMA,),
            (0,),
        ]
        await (await opened(path)).close()

    def test_their_numbers_have_no_gap(self) -> None:
        assert [step.number for step in migrations("sqlite")] == list(range(1, SCHEMA + 1))
        with pytest.raises((LookupError, FileNotFoundError)):
            migrations("no such dialect")


class TestCheck:
    @pytest.fixture
    async def filled(self, path: Path) -> Path:
        store = await opened(path)
        await store.apply(
            [PutUser(user("ann")), PutUser(user("root")), PutIndex(stage(DEV)), PutIndex(mirror(MIRROR))], who="test"
        )
        await store.apply([PutFile(DEV, DEMO, hosted("demo-1.zip"))], who="test")
        await store.apply([MirrorPage(MIRROR, DEMO, PageHead(), put=(mirrored("demo-1.zip"),))], who="test")
        page = keep(DEMO, [mirrored("demo-1.zip")])
        await store.apply([MirrorPage(MIRROR, ProjectName("kept"), PageHead(), kept=page.kept)], who="test")
        await store.close()
        return path

    @pytest.mark.parametrize(
        ("damage", "finding"),
        [
            ("DELETE FROM commits WHERE serial = 2", "the log has 3 commits but its last serial is 4"),
            ("UPDATE index_names SET project_count = 9", "counts 9 projects but holds 1"),
            ("DELETE FROM pages", "the page of kept in root/mirror is missing"),
            ("UPDATE pages SET uses = 3", "page 1 counts 3 uses but has 1"),
            ("UPDATE files SET index_id = 77", "refers to a missing row of index_names"),
            ("DELETE FROM files", "demo in ann/dev counts 1 files but has 0"),
            ("UPDATE files SET project = 'other'", "ann/dev has the file demo-1.zip of other, but not the project"),
            (
                "UPDATE standings SET project = 'De--mo' WHERE NOT mirrored",
                "ann/dev has a project with the invalid name De--mo",
            ),
            (
                "INSERT INTO tombstones SELECT index_id, filename, project, sha256 FROM files",
                "ann/dev has the file demo-1.zip, and says that it was deleted",
            ),
        ],
    )
    async def test_what_does_not_fit_is_said(self, filled: Path, damage: str, finding: str) -> None:
        execute(filled, damage)
        store = await opened(filled)
        assert any(finding in problem for problem in await store.check())
        await store.close()

    async def test_a_broken_tree_is_said(self, filled: Path) -> None:
        (root,) = execute(filled, "SELECT rootpage FROM sqlite_schema WHERE name = 'files_by_project'")[0]
        with filled.open("r+b") as image:
            image.seek((root - 1) * 4096)
            image.write(b"\x0d" + b"\xff" * 300)
        with pytest.raises(Corrupt, match="damaged"):
            await opened(filled)


async def test_a_closed_store_answers_unavailable(path: Path) -> None:
    store = await opened(path)
    await store.close()
    with pytest.raises(Unavailable, match="closed"):
        await store.head()
    with pytest.raises(Unavailable, match="closed"):
        await store.users()
    with pytest.raises(Unavailable, match="closed"):
        store.seen()
