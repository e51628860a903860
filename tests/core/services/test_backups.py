"""Backups and restores: everything there, nothing twice, going on after any stop, and damage told before it is used."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pkgindex_core import failpoints
from pkgindex_core.changes import DropFile, MirrorPage, PutAttachment, PutFile, PutIndex, PutRelease, PutUser
from pkgindex_core.clock import Timestamp
from pkgindex_core.composition.backup_places import opened_backups
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.errors import Conflict, Corrupt, Missing, Refused, StorageFull
from pkgindex_core.models import Attachment, Event, File, IndexConfig, PageHead, Release, Serial, User
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.services.moving.backups import checking, gathering, restoring
from pkgindex_core.services.moving.backups.checking import CheckedBackups
from pkgindex_core.services.moving.backups.place import BackupPlace
from pkgindex_core.services.moving.backups.restoring import Restored
from pkgindex_core.services.moving.backups.taking import TakenBackup
from pkgindex_core.testing.configs import mirror_config

DEV, PYPI, DEMO = IndexName("anna/dev"), IndexName("root/pypi"), ProjectName("demo")
PLUGINS = load_plugins(disabled=["pkgindex"])
SETTINGS = Settings(data=Path("unused"))

Store = Callable[..., AbstractAsyncContextManager[Engine]]


def silent(_what: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """`async with store("a") as engine`: a store on disk by its name."""

    @asynccontextmanager
    async def opened(name: str, *, restoring: str = "") -> AsyncIterator[Engine]:
        async with Engine.open(Settings(data=tmp_path / name), plugins=PLUGINS, restoring=restoring) as engine:
            yield engine

    return opened


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Several segments and batches from a few commits."""
    monkeypatch.setattr(gathering, "_BATCH", 2)
    monkeypatch.setattr(gathering, "_SEGMENT_COMMITS", 3)
    monkeypatch.setattr(restoring, "_BATCH_COMMITS", 2)
    yield
    failpoints.disarm()


class Place:
    """A directory or a place in memory, and the back door to its files."""

    def __init__(self, url: str, root: Path | None = None) -> None:
        self.url = url
        self._root = root

    def files(self) -> dict[str, bytes]:
        """Everything that is there, by path; locks and leases are left out."""
        if self._root is not None:
            found = {
                str(path.relative_to(self._root)): path.read_bytes()
                for path in sorted(self._root.rglob("*"))
                if path.is_file()
            }
        else:
            memory, root = MemoryFileSystem(), f"/{self.url.partition('://')[2]}/"
            found = {path.removeprefix(root): memory.cat_file(path) for path in memory.find(root)}
        return {path: data for path, data in found.items() if not path.startswith((".", "lease/", "blobs/owner"))}

    def write(self, path: str, data: bytes | None) -> None:
        """Write a file, or remove it."""
        if self._root is None:
            memory, place = MemoryFileSystem(), f"/{self.url.partition('://')[2]}/{path}"
            memory.rm_file(place) if data is None else memory.pipe_file(place, data)
            return
        (self._root / path).unlink(missing_ok=True)
        if data is not None:
            (self._root / path).write_bytes(data)

    def blobs(self) -> set[str]:
        return {path.rpartition("/")[2] for path in self.files() if path.startswith("blobs/sha256/")}

    def names(self) -> list[str]:
        return [path[8:-5] for path in sorted(self.files()) if path.startswith("backups/") and path.endswith(".json")]


@pytest.fixture(params=["directory", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "directory":
        yield Place(str(tmp_path / "backup"), tmp_path / "backup")
        return
    name = f"backup-{uuid4().hex}"
    yield Place(f"memory://{name}/b")
    for path in MemoryFileSystem().find(f"/{name}"):
        MemoryFileSystem().rm_file(path)


async def back_up(engine: Engine, place: Place, **options: Any) -> TakenBackup:
    async with opened_backups(place.url, SETTINGS) as there:
        return await engine.taking_backups.take(there, identity=await engine.uuid(), progress=silent, **options)


async def restore(store: Store, name: str, place: Place, at: str = "") -> Restored:
    async with opened_backups(place.url, SETTINGS) as there:
        backup = await there.chosen(at)
        async with store(name, restoring=await there.identity()) as engine:
            return await engine.restoring.restore(there, backup, progress=silent)


async def check(place: Place) -> CheckedBackups:
    async with opened_backups(place.url, SETTINGS) as there:
        return await checking.check(there, progress=silent)


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


async def delete(engine: Engine, number: int, *, cleared: bool = True) -> None:
    """Delete a file, and have its bytes cleared away."""
    await engine.store.apply([DropFile(DEV, DEMO, f"demo-{number}-py3-none-any.whl")], who="anna")
    for key in keys_of(number) if cleared else ():
        await engine.blobs.drop(key)


def keys_of(number: int) -> set[Sha256]:
    return {sha256_of(f"file {number}".encode()), sha256_of(f"metadata {number}".encode())}


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
    copies = await engine.blobs.copies()
    assert copies is not None
    cached = await copies.put(b"cached")
    seen = File(filename="six-1.whl", digests={"sha256": cached.sha256}, url="https://up.example/six-1.whl")
    unseen = File(filename="six-2.whl", digests={"sha256": "b" * 64})
    await engine.store.apply([MirrorPage(PYPI, ProjectName("six"), PageHead(), (seen, unseen))], who="[mirror]")


async def fill_with_remains(engine: Engine) -> None:
    """The same, and bytes of an upload that failed: no row names them."""
    await fill(engine)
    await engine.blobs.put(b"unused")


async def state(store: Store, name: str) -> tuple[Any, ...]:
    """All commits, and the blobs that a backup has to have."""
    async with store(name) as engine:
        commits = await engine.store.commits(Serial(0), limit=1000)
        blobs = {blob.sha256 async for blob in engine.blobs.walk()} - {sha256_of(b"unused")}
        return await engine.uuid(), commits, blobs


async def test_a_restored_store_is_the_same_store(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        done = await back_up(ours, place)
        page = await ours.store.page(DEV, DEMO)
    assert (done.serial, done.commits, done.blobs, done.total_blobs, done.lost) == (9, 9, 12, 12, [])
    assert [path for path in place.files() if path.startswith("commits/")] == [
        f"commits/{first:012}-{first + 2:012}.jsonl" for first in (1, 4, 7)
    ]
    again = await restore(store, "b", place)
    assert (again.serial, again.commits, again.blobs, again.bytes) == (9, 9, 12, done.bytes)
    assert await state(store, "b") == await state(store, "a")
    async with store("b") as theirs:
        assert await theirs.store.page(DEV, DEMO) == page
        assert not await theirs.blobs.owns(sha256_of(b"cached"))
        assert (await back_up(theirs, place)).blobs == 0
    assert (await check(place)).problems == []
    assert "unfinished" not in place.files()


async def test_a_second_backup_adds_what_is_new_and_both_can_be_restored(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        first = await back_up(ours, place)
        before = place.files()
        await put(ours, 6)
        second = await back_up(ours, place)
    assert (second.commits, second.blobs) == (1, 2)
    after = place.files()
    assert {path: data for path, data in after.items() if path in before} == before
    assert (await restore(store, "b", place)).serial == 10
    assert await state(store, "b") == await state(store, "a")
    for number, wanted in enumerate((first.name, "9")):
        assert (await restore(store, f"c{number}", place, wanted)).name == first.name
        assert (await state(store, f"c{number}"))[1] == (await state(store, "a"))[1][:9]
    assert (await check(place)).backups == 2


async def test_a_backup_is_chosen_by_serial_day_time_or_name(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        first = (await back_up(ours, place)).name
        await put(ours, 6)
        second = (await back_up(ours, place)).name
    async with opened_backups(place.url, SETTINGS) as there:
        for wanted, name in (
            ("", second),
            (first, first),
            ("9", first),
            ("10", second),
            ("99", second),
            ("2999-01-01", second),
            ("2999-01-01T10:00Z", second),
        ):
            assert (await there.chosen(wanted)).name == name
        for none in ("8", "2001-01-01"):
            with pytest.raises(Missing, match="no complete backup at or before"):
                await there.chosen(none)
        with pytest.raises(Refused, match="no moment"):
            await there.chosen("yesterday")


async def test_two_backups_of_one_commit_in_one_second_have_two_names(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        assert len({(await back_up(ours, place)).name for _ in range(3)}) == 3
    assert (await check(place)).backups == 3


async def test_files_of_mirrors_may_stay_out(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place, cached=False)
    await restore(store, "b", place)
    async with store("b") as theirs:
        assert await theirs.blobs.stat(sha256_of(b"cached")) is None
        assert await theirs.blobs.stat(sha256_of(b"docs")) is not None
    async with store("a") as ours:
        await back_up(ours, place)
    await restore(store, "c", place)
    assert await state(store, "c") == await state(store, "a")


POINTS = sorted(point for point in failpoints.POINTS if point.startswith("backup."))


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("turn", [1, 2])
async def test_a_backup_that_stops_anywhere_leaves_the_earlier_one_whole_and_goes_on(
    store: Store, place: Place, point: str, turn: int
) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        first = await back_up(ours, place)
        before = await state_at(ours, first.serial)
        await delete(ours, 1)
        for number in range(6, 10):
            await put(ours, number)
        failpoints.arm(f"{point}=raise:ENOSPC@{turn}")
        stopped = False
        try:
            await back_up(ours, place, keep=1)
        except OSError:
            stopped = True
        failpoints.disarm()
        assert stopped or turn == 2
        recorded = point in {"backup.recorded", "backup.forgotten", "backup.blob_removed"}
        assert first.name in place.names() or recorded or not stopped
        if stopped:
            assert "unfinished" in place.files()
        if first.name in place.names():
            assert (await check(place)).problems == []
            await restore(store, "b", place, first.name)
            async with store("b") as theirs:
                assert await state_at(theirs, first.serial) == before
        last = await back_up(ours, place, keep=1)
        assert last.lost == []
        # Nothing is left but what the newest backup needs.
        assert place.names() == [last.name]
        needed = {blob.sha256 async for blob in ours.blobs.walk()} - {sha256_of(b"unused")}
    assert place.blobs() == needed
    assert {path for path in place.files() if path.startswith("backups/")} == {
        f"backups/{last.name}.json",
        f"backups/{last.name}.blobs",
    }
    assert "unfinished" not in place.files()
    await restore(store, "c", place)
    assert await state(store, "c") == await state(store, "a")


async def state_at(engine: Engine, serial: Serial) -> tuple[Any, ...]:
    page = await engine.store.page(DEV, DEMO, at=serial)
    return await engine.store.commits(Serial(0), limit=serial), page


async def test_what_is_not_complete_is_not_restored(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        failpoints.arm("backup.listed=raise:ENOSPC")
        with pytest.raises(OSError, match="space"):
            await back_up(ours, place)
    with pytest.raises(Missing, match="no complete backup"):
        await restore(store, "b", place)


@pytest.mark.parametrize("point", sorted(point for point in failpoints.POINTS if point.startswith("restore.")))
@pytest.mark.parametrize("turn", [1, 4])
async def test_a_restore_that_stops_anywhere_serves_nothing_and_goes_on(
    store: Store, place: Place, point: str, turn: int
) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        first = await back_up(ours, place)
        await put(ours, 6)
        await back_up(ours, place)
    failpoints.arm(f"{point}=raise:ENOSPC@{turn}")
    stopped = False
    try:
        await restore(store, "b", place)
    except OSError:
        stopped = True
    failpoints.disarm()
    if stopped:
        with pytest.raises(Refused, match="has not ended"):
            async with store("b"):
                pass
        with pytest.raises(Refused, match="unfinished restore of another backup"):
            await restore(store, "b", place, first.name)
        await restore(store, "b", place)
    else:
        assert turn == 4
    assert await state(store, "b") == await state(store, "a")


async def test_of_two_restores_at_once_one_is_refused_and_the_store_is_whole(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
    told = await asyncio.gather(*(restore(store, "b", place) for _ in range(2)), return_exceptions=True)
    assert sum(isinstance(each, Restored) for each in told) == 1, told
    assert sum(isinstance(each, Conflict | Refused) for each in told) == 1, told
    assert await state(store, "b") == await state(store, "a")


async def test_a_store_that_is_not_empty_is_not_restored_into(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
    async with store("b") as theirs:
        await theirs.prepare()
    before = await state(store, "b")
    for name in ("a", "b"):  # also not the store itself, which has the very commits
        with pytest.raises(Refused, match=r"not empty|different indexes"):
            await restore(store, name, place)
    assert await state(store, "b") == before


async def test_old_backups_go_with_the_blobs_that_only_they_have(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        names = [(await back_up(ours, place)).name]
        for number in (1, 2, 3):
            await delete(ours, number)
            names.append((await back_up(ours, place)).name)
        assert keys_of(1) | keys_of(2) | keys_of(3) <= place.blobs()
        await put(ours, 2)  # the same bytes again
        done = await back_up(ours, place, keep=3)
        assert done.removed == names[:2]
        assert done.removed_blobs == 2, "1 is in no other; 2 is in the newest; 3 is in the oldest of the kept ones"
        assert place.names() == [*names[2:], done.name]
        assert not keys_of(1) & place.blobs()
        assert keys_of(2) | keys_of(3) <= place.blobs()
    assert (await check(place)).problems == []
    for number, name in enumerate(place.names()):
        assert (await restore(store, f"b{number}", place, name)).lost == []
    assert (await state(store, "b2"))[1] == (await state(store, "a"))[1]


async def test_a_blob_that_is_cleared_away_while_it_is_copied_is_not_needed(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup is of a later moment then. What is uploaded meanwhile is in it."""
    async with store("a") as ours:
        await fill_with_remains(ours)
        copy = gathering.copy_blob
        gone: list[int] = []

        async def slowly(source: Any, target: Any, key: Sha256) -> int:
            if not gone:
                gone.append(3)
                await delete(ours, 3)
                await put(ours, 7)
                await delete(ours, 7)
                await put(ours, 8)
            return await copy(source, target, key)

        monkeypatch.setattr(gathering, "copy_blob", slowly)
        done = await back_up(ours, place)
        assert done.lost == []
        assert done.serial == await ours.store.head() == 13
    assert (await restore(store, "b", place)).lost == []
    theirs, ours_now = await state(store, "b"), await state(store, "a")
    assert theirs[:2] == ours_now[:2]
    assert theirs[2] >= ours_now[2], "what was copied of 3 may be there too"
    assert not keys_of(7) & place.blobs()


async def test_what_a_server_commits_meanwhile_is_in_it_or_waits(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await ours.uuid()
        read = ours.store.commits

        async def written_meanwhile(after: Serial, *, limit: int = 1000) -> Any:
            await put(ours, 10 + after)
            return await read(after, limit=limit)

        monkeypatch.setattr(ours.store, "commits", written_meanwhile)
        done = await back_up(ours, place)
        monkeypatch.undo()
        assert 9 <= done.serial < await ours.store.head()
        assert (await restore(store, "b", place)).lost == []
        assert (await back_up(ours, place)).serial == await ours.store.head()
    await restore(store, "c", place)
    assert await state(store, "c") == await state(store, "a")


async def test_lost_bytes_are_told_and_the_rest_is_backed_up(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await put(ours, 7)
        await ours.blobs.drop(sha256_of(b"file 7"))
        told = ["demo-7-py3-none-any.whl in anna/dev, uploaded by anna at 1970-01-01T00:00:00.000007Z"]
        assert (await back_up(ours, place)).lost == told
        assert (await restore(store, "b", place)).lost == told
        # Made good by a second upload, it is no longer lost.
        await ours.blobs.put(b"file 7")
        assert (await back_up(ours, place)).lost == []
        # What an earlier backup has is not lost either.
        await ours.blobs.drop(sha256_of(b"file 7"))
        assert (await back_up(ours, place)).lost == []
    assert (await restore(store, "c", place)).lost == []


@pytest.mark.parametrize("what", ["cut", "changed", "removed", "list changed", "list removed"])
async def test_a_damaged_log_or_list_is_told_and_nothing_is_restored(store: Store, place: Place, what: str) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
    files = place.files()
    second = next(path for path in files if path.startswith("commits/000000000004"))
    (listed,) = [path for path in files if path.endswith(".blobs")]
    match what:
        case "cut":
            place.write(second, files[second][:-80])
        case "changed":
            place.write(second, files[second].replace(b'"who":"anna"', b'"who":"evil"', 1))
        case "removed":
            place.write(second, None)
        case "list changed":
            place.write(listed, files[listed][:-32])
        case _:
            place.write(listed, None)
    with pytest.raises(Corrupt) as told:
        await restore(store, "b", place)
    named = {"removed": "where commit 4 is due", "cut": second[8:], "changed": second[8:]}
    assert named.get(what, "list of blobs") in told.value.message
    async with store("b", restoring="x") as theirs:
        assert await theirs.store.head() == 0
        assert [blob async for blob in theirs.blobs.walk()] == []
    assert len((await check(place)).problems) == 1
    if what.startswith("list"):  # the next backup finds out what is there
        async with store("a") as ours:
            assert (await back_up(ours, place, keep=1)).blobs == 0
        assert (await check(place)).problems == []
        await restore(store, "c", place)


@pytest.mark.parametrize("what", ["changed", "removed"])
async def test_damaged_bytes_are_told_and_the_next_backup_has_them_again(store: Store, place: Place, what: str) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        first = await back_up(ours, place)
    key = sha256_of(b"file 4")
    blob = f"blobs/sha256/{key[:2]}/{key}"
    place.write(blob, b"file 5" if what == "changed" else None)
    done = await restore(store, "b", place)
    assert [told.partition(",")[0] for told in done.lost] == ["demo-4-py3-none-any.whl in anna/dev"]
    async with store("b") as theirs:
        assert await theirs.blobs.stat(key) is None
    done_again = await check(place)
    assert [problem.partition(";")[0] for problem in done_again.problems] == [
        f"the bytes of sha256 {key} are {'damaged' if what == 'changed' else 'missing'}"
    ]
    async with store("a") as ours:
        again = await back_up(ours, place)
        assert (again.blobs, again.commits) == (1, 0)
        assert (await back_up(ours, place)).blobs == 0
    assert (await check(place)).problems == []
    assert (await restore(store, "c", place, first.name)).lost == []


async def test_a_verification_that_is_killed_leaves_no_blob_missing_without_a_note(
    store: Store, tmp_path: Path
) -> None:
    place = Place(str(tmp_path / "backups"), tmp_path / "backups")
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
    key = sha256_of(b"file 4")
    place.write(f"blobs/sha256/{key[:2]}/{key}", b"file 5")
    failpoints.arm("aside.moved=raise:ENOSPC")
    with pytest.raises(StorageFull):
        await check(place)
    failpoints.disarm()
    async with store("a") as ours:
        assert (await back_up(ours, place)).blobs == 1
    assert (await check(place)).problems == []


async def test_a_place_is_for_one_store(store: Store, place: Place) -> None:
    async with store("a") as ours, store("b") as theirs:
        await fill_with_remains(ours)
        await back_up(ours, place)
        await theirs.prepare()
        before = place.files()
        with pytest.raises(Conflict, match="another store"):
            await back_up(theirs, place)
        assert place.files() == before


async def test_stores_that_have_parted_are_told_apart(store: Store, place: Place) -> None:
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
        await restore(store, "b", place)
        await put(ours, 6)
        await back_up(ours, place)
    async with store("b") as theirs:
        await put(theirs, 7)
        with pytest.raises(Conflict, match="commit 10"):
            await back_up(theirs, place)


@pytest.mark.parametrize("complete", [0, 1])
async def test_commits_of_a_run_that_did_not_end_may_be_lost_with_the_store(
    store: Store, place: Place, complete: int
) -> None:
    """The store died during a backup, and was restored from the one before, perhaps of another place. It has another log since."""
    async with store("a") as ours:
        await fill_with_remains(ours)
        if complete:
            await back_up(ours, place)
        before = await ours.store.commits(Serial(0))
        await put(ours, 6)
        await put(ours, 7)
        failpoints.arm("backup.listed=raise:ENOSPC")
        with pytest.raises(OSError, match="space"):
            await back_up(ours, place)
        failpoints.disarm()
    if complete:
        await restore(store, "b", place)
    async with store("b", restoring="x") as theirs:
        if not complete:
            await theirs.store.replay(before)
            for number in range(1, 6):
                await theirs.blobs.put(f"file {number}".encode())
                await theirs.blobs.put(f"metadata {number}".encode())
            await theirs.blobs.put(b"docs")
        await put(theirs, 8)
        assert (await back_up(theirs, place)).serial == 10
    assert (await check(place)).problems == []
    assert not keys_of(7) & place.blobs(), "what that run left is removed"
    await restore(store, "c", place)
    async with store("b") as theirs, store("c") as again:
        assert await again.store.commits(Serial(0)) == await theirs.store.commits(Serial(0))
        assert await again.store.page(DEV, DEMO) == await theirs.store.page(DEV, DEMO)


async def test_one_run_at_a_time(store: Store, place: Place) -> None:
    async with store("a") as ours, opened_backups(place.url, SETTINGS) as there:
        await fill_with_remains(ours)
        async with there.turn():
            with pytest.raises(Conflict, match="another run"):
                await back_up(ours, place)
        await back_up(ours, place)
        async with there.turn():
            with pytest.raises(Conflict, match="another run"):
                await check(place)


async def test_a_backup_is_for_its_owner_only(store: Store, tmp_path: Path) -> None:
    place = Place(str(tmp_path / "b"), tmp_path / "b")
    async with store("a") as ours:
        await fill_with_remains(ours)
        await back_up(ours, place)
    entries = [tmp_path / "b", *(tmp_path / "b").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in entries if path.is_file()} == {0o600}


async def test_a_directory_of_somebody_else_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    async with store("a") as ours:
        await fill_with_remains(ours)
        with pytest.raises(Conflict, match="not empty"):
            await back_up(ours, Place(str(tmp_path / "home")))
    assert [path.name for path in (tmp_path / "home").iterdir() if path.name != ".lock"] == ["letter"]


@pytest.mark.parametrize(
    "text", ["{}", "no json", '{"format": "pkgindex-backup", "version": 2, "store": "x"}', '{"format":"x","store":"x"}']
)
async def test_what_is_no_backup_or_a_newer_one_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "backup.json").write_text(text)
    async with opened_backups(str(tmp_path), SETTINGS) as there:
        with pytest.raises(Refused):
            await there.identity()


async def test_nothing_is_made_where_a_backup_is_looked_for(tmp_path: Path) -> None:
    async with opened_backups(str(tmp_path / "b"), SETTINGS) as there:
        assert isinstance(there, BackupPlace)
        with pytest.raises(Missing, match="has no backups"):
            await there.identity()
    with pytest.raises(Missing, match="has no backups"):
        await check(Place(str(tmp_path / "b")))
    assert not (tmp_path / "b").exists()


async def test_a_full_disk_is_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pkgindex_core.engines.local.file_operations import FileOperations

    async with store("a") as ours:
        await fill_with_remains(ours)

        def full(*_: Any) -> None:
            raise OSError(28, "no space")

        place = Place(str(tmp_path / "b"), tmp_path / "b")
        await back_up(ours, place)
        monkeypatch.setattr(FileOperations, "sync", full)
        with pytest.raises(StorageFull):
            await back_up(ours, place)
        monkeypatch.undo()
        await back_up(ours, place)
    assert (await check(place)).problems == []
