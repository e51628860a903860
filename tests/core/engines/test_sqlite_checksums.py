"""A page that the disk has changed is an error, in every database that this program made; what other programs write is told apart."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.sqlite import checksums, database
from pkgindex_core.engines.sqlite.index import SqliteIndex, open_sqlite
from pkgindex_core.errors import Corrupt, Refused, Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig, User
from pkgindex_core.names import IndexName

PAGE = 4096
NAMES = [f"user{number}" for number in range(200)]
Copy = Callable[[Path, Path], None]


async def made(path: Path) -> Path:
    store = await SqliteIndex.open(path, SystemClock())
    await store.apply([PutUser(User(name=name, description="x" * 300)) for name in NAMES], who="test")
    await store.apply([PutIndex(IndexConfig(name=IndexName("user1/dev")))], who="test")
    await store.close()
    return path


async def made_without(path: Path) -> Path:
    """As a version made it that knew no checksums."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.pragma("application_id", database.APPLICATION_ID)
    return await made(path)


async def names(path: Path, **context: bool) -> list[str]:
    store = await open_sqlite(path.as_uri().replace("file", "sqlite", 1), replace(CONTEXT, **context))
    try:
        assert await store.check() == []
        return [user.name for user in await store.users()]
    finally:
        await store.close()


CONTEXT = Context(data=Path("/nowhere"), clock=SystemClock(), workers=None)  # type: ignore[arg-type]  # opening needs none


def flip(path: Path, page: int, offset: int = 2000) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE + offset)
        (byte,) = file.read(1)
        file.seek(page * PAGE + offset)
        file.write(bytes([byte ^ 1]))


async def test_one_changed_bit_in_any_page_is_found(tmp_path: Path) -> None:
    path = await made(tmp_path / "index.db")
    image = path.read_bytes()
    for page in range(1, len(image) // PAGE):
        path.write_bytes(image)
        flip(path, page)
        with pytest.raises(Corrupt, match="is damaged: "):
            await names(path)
    path.write_bytes(image)
    assert await names(path) == sorted(NAMES)


async def test_a_bit_that_changes_under_a_running_store_is_no_answer(tmp_path: Path) -> None:
    path = await made(tmp_path / "index.db")
    store = await SqliteIndex.open(path, SystemClock())
    for page in range(1, path.stat().st_size // PAGE):
        flip(path, page)
    with pytest.raises(Corrupt, match="a page does not match its checksum"):
        await store.users()
    assert any("damaged" in problem for problem in await problems_of(store))
    await store.close()


async def problems_of(store: SqliteIndex) -> list[str]:
    try:
        return [*await store.check()]
    except Corrupt as error:
        return [str(error)]


async def test_an_older_database_stays_as_it_is_until_it_is_renewed(tmp_path: Path) -> None:
    path = await made_without(tmp_path / "index.db")
    assert path.read_bytes()[20] == 0
    assert await names(path) == sorted(NAMES)
    assert path.read_bytes()[20] == 0
    assert await names(path, renew_checksums=True) == sorted(NAMES)
    assert path.read_bytes()[20] == 8
    flip(path, 5)
    with pytest.raises(Corrupt, match="is damaged"):
        await names(path)


async def test_a_row_that_cannot_be_read_is_damage_too(tmp_path: Path) -> None:
    path = await made_without(tmp_path / "index.db")
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE users SET body = x'c1' WHERE name = 'user7'")
    store = await SqliteIndex.open(path, SystemClock())
    with pytest.raises(Corrupt, match="a row cannot be read"):
        await store.user("user7")
    with pytest.raises(Corrupt, match="a row cannot be read"):
        await store.users()
    await store.close()


def _vacuum_into(source: sqlite3.Connection, copy: Path) -> None:
    source.execute("VACUUM INTO ?", (str(copy),))


def _backup(source: sqlite3.Connection, copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)


@pytest.mark.parametrize("way", [_vacuum_into, _backup])
async def test_a_backup_that_the_tools_of_sqlite_made_is_renewed(
    way: Callable[[sqlite3.Connection, Path], None], tmp_path: Path
) -> None:
    """They know no checksums: the copy has some that are wrong, and none of its content is."""
    path = await made(tmp_path / "index.db")
    copy = tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(path)) as source:
        way(source, copy)
    with pytest.raises(Corrupt) as told:
        await names(copy)
    assert "verify --renew-checksums" in told.value.hint
    assert await names(copy, renew_checksums=True) == sorted(NAMES)
    assert await names(copy) == sorted(NAMES)


async def test_what_is_broken_is_not_renewed(tmp_path: Path) -> None:
    path = await made(tmp_path / "index.db")
    image = path.read_bytes()
    for page in range(2, 6):
        path.write_bytes(image[: page * PAGE] + b"\x0d" + b"\xff" * (PAGE - 1) + image[(page + 1) * PAGE :])
        before = path.read_bytes()
        with pytest.raises(Corrupt, match="is damaged"):
            await names(path, renew_checksums=True)
        assert path.read_bytes() == before


async def test_nothing_is_renewed_beside_a_server(tmp_path: Path) -> None:
    path = await made(tmp_path / "index.db")
    store = await SqliteIndex.open(path, SystemClock())
    with pytest.raises(Unavailable, match="locked by another process"):
        await names(path, renew_checksums=True)
    assert len(await store.users()) == len(NAMES)
    await store.close()


async def test_without_the_extension_new_databases_have_none_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await made(tmp_path / "index.db")
    for module in (checksums, database):
        monkeypatch.setattr(module, "file_system", lambda: None)
    with pytest.raises(Refused, match="page checksums, which this installation of apsw cannot write"):
        await names(path)
    assert (await made(tmp_path / "new.db")).read_bytes()[20] == 0
    assert await names(tmp_path / "new.db") == sorted(NAMES)


def test_other_connections_of_this_program_use_the_usual_file_system(tmp_path: Path) -> None:
    assert checksums.file_system() == "cksmvfs"
    with contextlib.closing(apsw.Connection(str(tmp_path / "other.db"))) as connection:
        assert connection.open_vfs != "cksmvfs"
