"""Export and restore: everything there, nothing twice, going on after any stop, and damage told before it is used."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pkgindex_core import failpoints
from pkgindex_core.changes import DropFile, MirrorPage, PutAttachment, PutFile, PutIndex, PutRelease, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Corrupt, PkgIndexError, Refused
from pkgindex_core.models import Attachment, Event, File, IndexConfig, PageHead, Release, Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.services.moving.dumps import exporting, restoring
from pkgindex_core.services.moving.dumps.directory import DumpDirectory
from pkgindex_core.services.moving.dumps.exporting import Exported
from pkgindex_core.services.moving.dumps.restoring import Restored
from pkgindex_core.testing.configs import mirror_config

DEV, PYPI, DEMO = IndexName("anna/dev"), IndexName("root/pypi"), ProjectName("demo")
PLUGINS = load_plugins(disabled=["pkgindex"])

Store = Callable[..., AbstractAsyncContextManager[Engine]]


def silent(_what: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """`async with store("a") as engine`: a store on disk by its name."""

    @asynccontextmanager
    async def opened(name: str) -> AsyncIterator[Engine]:
        async with Engine.open(Settings(data=tmp_path / name), plugins=PLUGINS) as engine:
            yield engine

    return opened


@pytest.fixture
def dump(tmp_path: Path) -> DumpDirectory:
    return DumpDirectory(tmp_path / "dump")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Several segments and batches from a few commits."""
    monkeypatch.setattr(exporting, "_BATCH", 2)
    monkeypatch.setattr(exporting, "_SEGMENT_COMMITS", 3)
    monkeypatch.setattr(restoring, "_BATCH_COMMITS", 2)
    yield
    failpoints.disarm()


async def export(engine: Engine, dump: DumpDirectory, **options: Any) -> Exported:
    identity = await engine.uuid()
    with dump.writing():
        dump.begin(identity)
        async with engine.other_blobs(dump.blobs_url) as target:
            return await engine.exporting.export(dump, target, progress=silent, **options)


async def restore(engine: Engine, dump: DumpDirectory) -> Restored:
    async with engine.other_blobs(dump.blobs_url) as source:
        return await engine.restoring.restore(dump, source, progress=silent)


async def put(engine: Engine, number: int) -> File:
    """A file with a sidecar, one commit."""
    blob = await engine.blobs.put(f"file {number}".encode())
    sidecar = await engine.blobs.put(f"metadata {number}".encode())
    file = File(
        filename=f"demo-{number}-py3-none-any.whl",
        version=str(number),
        digests={"sha256": blob.sha256},
        size=blob.size,
        metadata_sha256=sidecar.sha256,
        history=(Event(what="upload", at=Timestamp(number), who="anna", target=DEV),),
    )
    await engine.store.apply([PutFile(DEV, DEMO, file)], who="anna")
    return file


async def fill(engine: Engine) -> None:
    """A bit of everything."""
    anna = User(name="anna", password_hash="$argon2id$x", custom_data={"ü": [1, 2.5, None]})
    mirror = mirror_config(PYPI, "https://up.example/", mirror_credentials="a:b")
    await engine.store.apply([PutUser(anna), PutUser(User(name="root"))], who="[start]")
    await engine.store.apply([PutIndex(IndexConfig(name=DEV, options={"x": [1]})), PutIndex(mirror)], who="anna")
    for number in range(1, 6):
        await put(engine, number)
    docs = await engine.blobs.put(b"docs")
    attachment = Attachment(
        kind="doczip", filename="demo-1.doc.zip", version="1", sha256=docs.sha256, size=4, added=Timestamp(5)
    )
    release = Release(version="1", metadata='{"summary": "für alle"}'.encode())
    await engine.store.apply([PutRelease(DEV, DEMO, release), PutAttachment(DEV, DEMO, attachment)], who="anna")
    cached = await engine.blobs.put(b"cached")
    seen = File(filename="six-1.whl", digests={"sha256": cached.sha256}, url="https://up.example/six-1.whl")
    unseen = File(filename="six-2.whl", digests={"sha256": "b" * 64})
    await engine.store.apply([MirrorPage(PYPI, ProjectName("six"), PageHead(), (seen, unseen))], who="[mirror]")


async def state(engine: Engine) -> tuple[Any, ...]:
    commits = await engine.store.commits(Serial(0), limit=1000)
    blobs = {blob.sha256 async for blob in engine.blobs.walk()}
    return await engine.uuid(), commits, blobs


async def test_a_restored_store_is_the_same_store(store: Store, dump: DumpDirectory) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        done = await export(ours, dump)
        assert (done.head, done.commits, done.blobs, done.gone, done.lost) == (9, 9, 12, 0, [])
        assert len(dump.segments()) == 3
        again = await restore(theirs, dump)
        assert (again.head, again.commits, again.blobs, again.bytes) == (9, 9, 12, done.bytes)
        assert await state(theirs) == await state(ours)
        assert await theirs.store.page(DEV, DEMO) == await ours.store.page(DEV, DEMO)
        # Once more, and nothing happens.
        assert (await restore(theirs, dump)).commits == 0
        assert (await export(theirs, dump)).commits == 0


async def test_a_second_export_adds_what_is_new_and_a_second_restore_too(store: Store, dump: DumpDirectory) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump)
        await restore(theirs, dump)
        before = {path: path.stat().st_mtime_ns for path in (dump.path / "commits").iterdir()}
        await put(ours, 6)
        done = await export(ours, dump)
        assert (done.commits, done.blobs) == (1, 2)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert (await restore(theirs, dump)).commits == 1
        assert await state(theirs) == await state(ours)


async def test_what_a_server_commits_meanwhile_waits_for_the_next_export(
    store: Store, dump: DumpDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store("a") as ours:
        await fill(ours)
        await ours.uuid()
        read = ours.store.commits

        async def written_meanwhile(after: Serial, *, limit: int = 1000) -> Any:
            await put(ours, 10 + after)
            return await read(after, limit=limit)

        monkeypatch.setattr(ours.store, "commits", written_meanwhile)
        assert (await export(ours, dump)).head == 9
        monkeypatch.undo()
        assert (await export(ours, dump)).head == await ours.store.head() > 9


async def test_files_of_mirrors_may_stay_out(store: Store, dump: DumpDirectory) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump, cached=False)
        await restore(theirs, dump)
        assert await theirs.blobs.stat(sha256_of(b"cached")) is None
        assert await theirs.blobs.stat(sha256_of(b"docs")) is not None
        await export(ours, dump)
        await restore(theirs, dump)
        assert await state(theirs) == await state(ours)


@pytest.mark.parametrize("cached", [True, False])
async def test_a_damaged_file_that_was_removed_from_a_dump_comes_back_with_the_next_export(
    store: Store, dump: DumpDirectory, cached: bool
) -> None:
    """As the hint of a restore that found the damage says."""
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump, cached=cached)
        key = sha256_of(b"file 1")
        (dump.path / "blobs" / "sha256" / key[:2] / key).unlink()
        assert (await export(ours, dump, cached=cached)).blobs == 1
        await restore(theirs, dump)
        assert await theirs.blobs.stat(key) is not None


@pytest.mark.parametrize("point", ["export.blobs_kept", "export.segment_written"])
@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_an_export_that_stops_anywhere_can_be_restored_and_goes_on(
    store: Store, dump: DumpDirectory, point: str, turn: int
) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        failpoints.arm(f"{point}=raise:ENOSPC@{turn}")
        with pytest.raises(OSError, match="space"):
            await export(ours, dump)
        failpoints.disarm()
        if dump.segments():
            done = await restore(theirs, dump)
            assert done.head == dump.segments()[-1].last
        await export(ours, dump)
        await restore(theirs, dump)
        assert await state(theirs) == await state(ours)


@pytest.mark.parametrize("point", ["restore.blobs_kept", "restore.replayed"])
@pytest.mark.parametrize("turn", [1, 2, 4])
async def test_a_restore_that_stops_anywhere_goes_on(store: Store, dump: DumpDirectory, point: str, turn: int) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump)
        failpoints.arm(f"{point}=raise:ENOSPC@{turn}")
        with pytest.raises(OSError, match="space"):
            await restore(theirs, dump)
        failpoints.disarm()
        await restore(theirs, dump)
        assert await state(theirs) == await state(ours)


async def test_bytes_that_were_cleared_away_are_gone_and_bytes_that_the_index_lists_are_lost(
    store: Store, dump: DumpDirectory
) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        deleted, broken = [file for file in [await put(ours, 7), await put(ours, 8)] if file.sha256]
        await ours.store.apply([DropFile(DEV, DEMO, deleted.filename)], who="anna")
        for file in (deleted, broken):
            await ours.blobs.drop(Sha256(file.digests["sha256"]))
        done = await export(ours, dump)
        assert done.gone == 1
        assert [(one.filename, one.sha256, one.lost) for one in done.lost] == [(broken.filename, broken.sha256, True)]
        again = await restore(theirs, dump)
        assert again.head == done.head
        assert again.lost == done.lost
        # Made good by a second upload, it is no longer lost.
        await ours.blobs.put(b"file 8")
        assert (await export(ours, dump)).lost == []


def damage(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["cut", "changed", "removed", "blob changed", "blob removed"])
async def test_damage_is_told_and_nothing_of_it_is_used(store: Store, dump: DumpDirectory, what: str) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump)
        second = dump.path / "commits" / dump.segments()[1].filename
        key = sha256_of(b"file 4")  # in the sixth commit
        blob = dump.path / "blobs" / "sha256" / key[:2] / key
        match what:
            case "cut":
                damage(second, second.read_bytes()[:-80])
            case "changed":
                damage(second, second.read_bytes().replace(b'"who":"anna"', b'"who":"evil"', 1))
            case "removed":
                second.unlink()
            case "blob changed":
                damage(blob, b"file 5")
            case _:
                blob.unlink()
        with pytest.raises(Corrupt) as told:
            await restore(theirs, dump)
        named = {"removed": "where commit 4 is due", "cut": second.name, "changed": second.name}
        assert named.get(what, "demo-4-py3-none-any.whl") in told.value.message
        head = await theirs.store.head()
        assert head == {"removed": 0, "cut": 3, "changed": 3}.get(what, 5)
        assert await theirs.blobs.stat(sha256_of(b"file 5")) is None or "blob" in what


async def test_a_store_with_a_life_of_its_own_takes_no_dump_and_a_dump_no_other_store(
    store: Store, dump: DumpDirectory
) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump)
        await theirs.prepare()
        before = await theirs.store.commits(Serial(0))
        with pytest.raises(Conflict, match="commits of its own"):
            await restore(theirs, dump)
        assert await theirs.store.commits(Serial(0)) == before
        with pytest.raises(Conflict, match="another store"):
            await export(theirs, dump)


async def test_stores_that_have_parted_are_told_apart(store: Store, dump: DumpDirectory) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill(ours)
        await export(ours, dump)
        await restore(theirs, dump)
        await put(ours, 6)
        await put(theirs, 7)
        await export(ours, dump)
        with pytest.raises(Conflict, match="commit 10"):
            await export(theirs, dump)
        with pytest.raises(Conflict, match="commit 10"):
            await restore(theirs, dump)


async def test_a_dump_is_for_its_owner_only(store: Store, dump: DumpDirectory) -> None:
    async with store("a") as ours:
        await fill(ours)
        await export(ours, dump)
    modes = (
        {stat.S_IMODE(path.stat().st_mode) for path in [dump.path, *dump.path.rglob("*")] if path.is_dir()},
        {stat.S_IMODE(path.stat().st_mode) for path in dump.path.rglob("*") if path.is_file()},
    )
    assert modes == ({0o700}, {0o600})


async def test_two_exports_at_once_and_a_directory_of_somebody_else(
    store: Store, dump: DumpDirectory, tmp_path: Path
) -> None:
    async with store("a") as ours:
        await fill(ours)
        with dump.writing(), pytest.raises(Conflict, match="another export"):
            await export(ours, dump)
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "letter").write_text("dear")
        with pytest.raises(Conflict, match="not empty"):
            await export(ours, DumpDirectory(tmp_path / "home"))


@pytest.mark.parametrize(
    "text", ["{}", "no json", '{"format": "pkgindex-dump", "version": 2, "store": "x"}', '{"format":"x","store":"x"}']
)
def test_what_is_no_dump_or_a_newer_one_is_refused(dump: DumpDirectory, text: str) -> None:
    dump.path.mkdir()
    (dump.path / "dump.json").write_text(text)
    with pytest.raises(Refused) as told:
        dump.manifest()
    assert isinstance(told.value, PkgIndexError)
    assert told.value.hint
