"""A database and blobs of one index stay together: what is refused, what goes on, what insists."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pkgindex_core.changes import MirrorPage, PutFile, decode_changes, decode_commit, encode_changes
from pkgindex_core.clock import SystemClock
from pkgindex_core.composition.backup_places import opened_backups
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Missing, Refused, Unavailable
from pkgindex_core.models import File, PageHead
from pkgindex_core.names import IndexName, ProjectName, parse_project_name
from pkgindex_core.services.administering.ownership import identity_of
from pkgindex_core.testing.faults import everything_under
from pkgindex_core.testing.wheels import build_wheel
from tests.crash.oracle import HOSTED


async def begun(data: Path, *, blobs: str = "", new_store: bool = False, upload: str = "") -> str:
    """Start as `run` does, perhaps upload a file, stop; return the identity."""
    async with Engine.open(Settings(data=data, blobs=blobs), mirrors=False, new_store=new_store) as engine:
        await engine.prepare()
        if upload:
            built = build_wheel("demo", upload)
            blob = await engine.blobs.put(built.data)
            file = File(filename=built.filename, version=upload, digests={"sha256": blob.sha256}, size=blob.size)
            await engine.store.apply([PutFile(HOSTED, parse_project_name("demo"), file, "demo")], who="[test]")
        return await engine.uuid()


def remove_database(data: Path) -> None:
    for path in data.glob("index.sqlite*"):
        path.unlink()


def empty_database(data: Path) -> None:
    remove_database(data)
    (data / "index.sqlite").touch()


LOSSES: dict[str, Callable[[Path], None]] = {"missing": remove_database, "empty": empty_database}


@pytest.fixture(params=LOSSES)
def lose(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    return LOSSES[request.param]


@pytest.mark.parametrize("marked", [True, False])
async def test_a_lost_database_is_no_new_store(lose: Callable[[Path], None], marked: bool, tmp_path: Path) -> None:
    await begun(tmp_path, upload="1.0")
    if not marked:  # a store from before there were marks
        (tmp_path / "blobs" / "owner").unlink()
    lose(tmp_path)
    before = everything_under(tmp_path)
    with pytest.raises(Refused, match="empty or missing, but files of an index are there") as refused:
        await begun(tmp_path)
    for advice in ("restore URL", "--new-store", "backup"):
        assert advice in refused.value.hint
    assert everything_under(tmp_path) == before


async def test_a_lost_database_without_any_upload_is_no_new_store_either(tmp_path: Path) -> None:
    await begun(tmp_path)
    remove_database(tmp_path)
    with pytest.raises(Refused, match="empty or missing"):
        await begun(tmp_path)


async def test_insisting_begins_anew_and_takes_the_files_over(lose: Callable[[Path], None], tmp_path: Path) -> None:
    before = await begun(tmp_path, upload="1.0")
    lose(tmp_path)
    after = await begun(tmp_path, new_store=True)
    assert after != before
    assert await begun(tmp_path) == after


async def test_a_store_from_before_there_were_marks_gets_its_own(tmp_path: Path) -> None:
    identity = await begun(tmp_path, upload="1.0")
    (tmp_path / "blobs" / "owner").unlink()
    assert await begun(tmp_path) == identity
    assert (tmp_path / "blobs" / "owner").read_text() == f"{identity}\n"


async def test_a_database_of_another_index(tmp_path: Path) -> None:
    await begun(tmp_path / "one", upload="1.0")
    other = await begun(tmp_path / "two")
    blobs = (tmp_path / "one" / "blobs").as_uri()
    with pytest.raises(Refused, match="belong to different indexes"):
        await begun(tmp_path / "two", blobs=blobs)
    with pytest.raises(Refused, match="empty or missing"):
        await begun(tmp_path / "three", blobs=blobs)
    assert await begun(tmp_path / "two", blobs=blobs, new_store=True) == other
    assert await begun(tmp_path / "two", blobs=blobs) == other


async def test_a_backup_of_the_database_fits(tmp_path: Path) -> None:
    identity = await begun(tmp_path)
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "backup")
    await begun(tmp_path, upload="1.0")
    remove_database(tmp_path)
    (tmp_path / "backup").rename(tmp_path / "index.sqlite")
    assert await begun(tmp_path) == identity


async def test_a_store_from_before_marks_that_only_mirrors_is_claimed(tmp_path: Path) -> None:
    """A mirrored page lists files that nobody has fetched: that their bytes are not here says nothing."""
    identity = await begun(tmp_path)
    files = tuple(
        File(filename=f"demo-{number}.tar.gz", version=str(number), digests={"sha256": sha256_of(b"%d" % number)})
        for number in range(100)
    )
    async with Engine.open(Settings(data=tmp_path), mirrors=False) as engine:
        page = MirrorPage(IndexName("root/pypi"), ProjectName("demo"), PageHead(), files)
        await engine.store.apply([page], who="[mirror]")
    shutil.rmtree(tmp_path / "blobs")
    assert await begun(tmp_path) == identity
    assert await begun(tmp_path) == identity


async def test_another_place_is_mounted_where_the_blobs_were(tmp_path: Path) -> None:
    await begun(tmp_path, upload="1.0")
    shutil.rmtree(tmp_path / "blobs")
    with pytest.raises(Refused, match="the blob store has none of them"):
        await begun(tmp_path)
    await begun(tmp_path, new_store=True)
    await begun(tmp_path)


async def test_a_restore_marks_the_blobs_before_the_first_arrives(tmp_path: Path) -> None:
    identity = await begun(tmp_path / "one", upload="1.0")
    backup = str(tmp_path / "backup")
    settings = Settings(data=tmp_path / "one")
    async with Engine.open(settings, mirrors=False) as engine, opened_backups(backup, settings) as place:
        await engine.taking_backups.take(place, identity=identity, progress=lambda *_: None)
    settings = Settings(data=tmp_path / "two")
    async with Engine.open(settings, mirrors=False, restoring=identity) as engine:
        await engine.blobs.claim(identity)  # and then it was killed
    with pytest.raises(Refused, match="empty or missing"):
        await begun(tmp_path / "two")
    with pytest.raises(Refused, match="empty or missing"):
        async with Engine.open(settings, mirrors=False, restoring="f" * 32):
            pass
    async with (
        Engine.open(settings, mirrors=False, restoring=identity) as engine,
        opened_backups(backup, settings) as place,
    ):
        await engine.restoring.restore(place, await place.chosen(""), progress=lambda *_: None)
    assert await begun(tmp_path / "two") == identity


async def test_a_damaged_mark_is_told(tmp_path: Path) -> None:
    await begun(tmp_path)
    (tmp_path / "blobs" / "owner").write_bytes(b"")
    with pytest.raises(Exception, match="which index the blobs belong to is damaged"):
        await begun(tmp_path)


async def test_blobs_that_cannot_be_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    identity = await begun(tmp_path, upload="1.0")
    (tmp_path / "blobs" / "owner").unlink()

    async def refused(*_: object, **__: object) -> str:
        raise Unavailable("storage failed claiming the blobs: Read-only file system")

    monkeypatch.setattr("pkgindex_core.engines.local.blobs.LocalBlobs.claim", refused)
    assert await begun(tmp_path) == identity
    assert "cannot be marked as this index's: storage failed" in caplog.text


async def test_what_only_uses_a_store_makes_none(tmp_path: Path) -> None:
    place = tmp_path / "mistyped"
    for path in (place, tmp_path):
        with pytest.raises(Missing, match="there is no store in") as missing:
            async with Engine.open(Settings(data=path), mirrors=False, create=False):
                pass
        assert str(path) in missing.value.message
        assert f"pkgindex-serve run --data {path}" in missing.value.hint
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "index.sqlite").touch()
    with pytest.raises(Missing, match="there is no store in"):
        async with Engine.open(Settings(data=tmp_path), mirrors=False, create=False):
            pass
    assert (tmp_path / "index.sqlite").stat().st_size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["index.sqlite"]


AT_FIRST = (
    b'{"serial":1,"at":1700000000000000,"who":"[start]","changes":['
    b'{"type":"PutUser","user":{"name":"root","password_hash":"$argon2id$salt$hash","created":1700000000000000,"modified":1700000000000000}},'
    b'{"type":"PutIndex","config":{"name":"root/pypi","type":"mirror","read_only":true,"volatile":false,"acl_read":[":ANONYMOUS:"],'
    b'"mirror_whitelist":["a"],"mirror_whitelist_inheritance":"union","mirror_url":"https://upstream.example/simple/","mirror_credentials":"u:p",'
    b'"mirror_cache_expiry":1800,"mirror_use_external_urls":true,"mirror_no_project_list":true,"mirror_ignore_serial_header":true,'
    b'"absent_statuses":[404,410],"mirror_web_url_fmt":"https://upstream.example/{name}/","title":"Theirs","description":"all",'
    b'"custom_data":{"a":1},"options":{"of_a_plugin":[1]}}},'
    b'{"type":"PutIndex","config":{"name":"root/dev","bases":["root/pypi"],"volatile":false,"acl_read":[":ANONYMOUS:"],"acl_upload":["root"],'
    b'"mirror_whitelist":["demo"]}}]}'
)
"""The first commit of a store, as a program wrote it to which the options of mirrors were fields of their own."""


async def test_a_store_keeps_the_identity_that_an_earlier_program_gave_it() -> None:
    """Its blobs are marked with it, and its dumps and copies are known by it."""
    commit = decode_commit(AT_FIRST)
    written_anew = replace(commit, changes=decode_changes(encode_changes(commit.changes)))
    for each in (commit, written_anew):
        store = MemoryIndex(SystemClock())
        await store.replay([each])
        assert await identity_of(store) == "065120fb7a86da6b276f396c02cd35c4"
