"""The chain over the log of changes: what was changed behind the back of the server is found and named; copies have the same hashes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from pkgindex_core.changes import PutToken, PutUser, decode_commit
from pkgindex_core.clock import SystemClock, Timestamp
from pkgindex_core.engine import Engine
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.engines.sqlite.database import connect
from pkgindex_core.errors import Refused
from pkgindex_core.formats.audit_chain import BrokenChain, check_lines, hash_of, read_checkpoint
from pkgindex_core.formats.feed import encode_line
from pkgindex_core.models import Serial, Token, User
from pkgindex_core.services.administering.auditing import CHUNK, KIND, PLACE, AuditChain, Auditing, CheckedChain
from tests.core.services.test_backups import fill
from tests.core.services.test_migrating import Opened, migrate, opened

__all__ = ["opened"]


async def grow(engine: Engine, count: int) -> None:
    for number in range(count):
        await engine.store.apply([PutUser(User(name=f"user{number}", password_hash="$secret$"))], who="root")


def tamper(tmp_path: Path, *statements: str) -> None:
    """Change the database as somebody with access to its file does, checksums of pages included."""
    connection = connect(tmp_path / "a.sqlite", patience_ms=1000)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_an_untouched_log_holds_also_while_a_part_is_not_chained(opened: Opened) -> None:
    async with opened("a") as engine:
        await fill(engine)
        await grow(engine, CHUNK + 3)
        place = await engine.auditing.chain()
        assert place.serial == await engine.store.head()
        await grow(engine, 2)
        checked = await engine.auditing.check()
        assert isinstance(checked, CheckedChain)
        assert (checked.serial, checked.compared) == (place.serial + 2, place.serial)
        assert (await engine.auditing.chain()).hash == checked.hash
        assert (await engine.auditing.check(await engine.auditing.checkpoint())) == msgspec.structs.replace(
            checked, compared=checked.serial
        )


async def test_a_log_of_long_commits_holds_and_its_first_wrong_serial_is_named(opened: Opened, tmp_path: Path) -> None:
    async with opened("a") as engine:
        for number in range(CHUNK + 3):
            await engine.store.apply([PutUser(User(name=f"user{number}", password_hash="$" * 20_000))], who="root")
        assert (
            len(await engine.store.commits(Serial(0), limit=CHUNK)) < CHUNK
        )  # the log comes in shorter parts than the notes
        place = await engine.auditing.chain()
        checked = await engine.auditing.check()
        assert isinstance(checked, CheckedChain)
        assert (checked.serial, checked.hash) == (place.serial, place.hash)
    tamper(tmp_path, _CHANGED.format(CHUNK - 9))
    async with opened("a") as engine:
        found = await engine.auditing.check()
        assert isinstance(found, BrokenChain)
        assert found.serial == CHUNK - 9


_CHANGED = "UPDATE commits SET who = 'somebody' WHERE serial = {0}"


@pytest.mark.parametrize(
    ("statement", "serial"),
    [
        (_CHANGED.format(5), 5),
        (_CHANGED.format(CHUNK + 9), CHUNK + 9),
        ("UPDATE commits SET at = at - 1 WHERE serial = 7", 7),
        (
            "UPDATE commits SET (packed, changes) = (SELECT packed, changes FROM commits WHERE serial = 7) WHERE serial = 8",
            8,
        ),
        ("DELETE FROM commits WHERE serial = 9", 9),
    ],
    ids=["author", "second note", "time", "changes", "removed"],
)
async def test_the_first_wrong_serial_is_named(opened: Opened, tmp_path: Path, statement: str, serial: int) -> None:
    async with opened("a") as engine:
        await grow(engine, CHUNK + 20)
        await engine.auditing.chain()
    tamper(tmp_path, statement)
    async with opened("a") as engine:
        found = await engine.auditing.check()
        assert isinstance(found, BrokenChain)
        assert found.serial == serial


async def test_who_rewrites_the_chain_too_is_found_out_by_a_checkpoint(opened: Opened, tmp_path: Path) -> None:
    async with opened("a") as engine:
        await grow(engine, 10)
        await engine.auditing.chain()
        checkpoint = read_checkpoint(msgspec.json.encode(await engine.auditing.checkpoint()))
    tamper(tmp_path, _CHANGED.format(5), "DELETE FROM notes")
    async with opened("a") as engine:
        await engine.auditing.chain()
        assert isinstance(await engine.auditing.check(), CheckedChain)
        found = await engine.auditing.check(checkpoint)
        assert isinstance(found, BrokenChain)
        assert found.serial == checkpoint.serial
        with pytest.raises(Refused):
            await engine.auditing.check(msgspec.structs.replace(checkpoint, store="other"))


async def test_a_log_that_went_back_is_found(opened: Opened) -> None:
    async with opened("a") as engine:
        await grow(engine, 3)
        head = await engine.store.head()
        await engine.store.put_note(KIND, PLACE, msgspec.json.encode((head + 5, "0" * 64)))
        found = await engine.auditing.check()
        assert isinstance(found, BrokenChain)
        assert found.serial == head + 1


async def test_copies_have_the_same_hashes(opened: Opened) -> None:
    async with opened("a") as source:
        await fill(source)
        await grow(source, 5)
        place = await source.auditing.chain()
        await migrate(source, opened, "b")
        async with opened("b") as target:
            assert await target.auditing.chain() == place
        # As a replica gets them: as lines of JSON.
        replica = MemoryIndex(SystemClock())
        for commit in await source.store.commits(Serial(0), limit=1000):
            await replica.replay([decode_commit(encode_line(commit))])
        with ThreadPoolExecutor(1) as workers:
            assert await Auditing(store=replica, workers=workers).chain() == place


async def test_an_export_is_checked_anywhere_and_has_no_secrets(opened: Opened) -> None:
    async with opened("a") as engine:
        await fill(engine)
        await grow(engine, 5)
        token = Token(id="t", user="user1", secret_sha256="5" * 64, created=Timestamp(1))  # type: ignore[arg-type]  # a digest
        await engine.store.apply([PutToken(token)], who="root")
        lines = [msgspec.json.encode(line) async for line in engine.auditing.lines(Serial(0))]
        some = [msgspec.json.encode(line) async for line in engine.auditing.lines(Serial(4))]
        checkpoint = await engine.auditing.checkpoint()
    assert some == lines[4:]
    for part in (lines, some):
        last = check_lines(part, checkpoint)
        assert last is not None
        assert not isinstance(last, BrokenChain)
        assert last.hash == checkpoint.hash
    text = b"".join(lines)
    assert b"$secret$" not in text
    assert b"5" * 64 not in text
    for wrong, serial in (
        (lines[:3] + lines[4:], 5),
        ([*lines[:3], lines[3].replace(b'"who":"', b'"who":"x'), *lines[4:]], 4),
        (lines[:-1], checkpoint.serial),
    ):
        found = check_lines(wrong, checkpoint)
        assert isinstance(found, BrokenChain)
        assert found.serial == serial


async def test_a_server_chains_what_is_committed(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pkgindex_core.services.administering.auditing._COLLECT_SECONDS", 0.01)
    async with opened("a") as engine:
        task = asyncio.create_task(AuditChain(engine.auditing, engine.store).follow())
        for _ in range(2):
            await grow(engine, 3)
            head = await engine.store.head()
            async with asyncio.timeout(10):
                while (await engine.auditing.place()).serial < head:
                    await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_the_hash_is_what_the_documentation_says() -> None:
    """Whoever has no program of ours computes it with sha256sum."""
    digest = "1" * 64
    assert (
        hash_of("0" * 64, 1, 5, 'a "b"', digest) == "090c5114db57a2d5df118f1caf254b658c86e2fcbf1c61ccbde401956afa2570"
    )
