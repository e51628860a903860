"""What a verification finds, says and repairs, beside a server that goes on serving."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from pkgindex_core.changes import PutFile
from pkgindex_core.clock import to_rfc3339
from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Conflict, Unavailable
from pkgindex_core.names import parse_project_name
from pkgindex_core.protocols import BlobStore, Principal
from pkgindex_core.services.administering.verified_record import open_record
from pkgindex_core.services.administering.verifying import Difference, Verified
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_http.cli import main
from pkgindex_mirror.testing import ScriptedUpstream
from tests.crash.clients import ask
from tests.crash.oracle import HOSTED, MIRROR, file_path, upload
from tests.http.conftest import Serve, Served, make_store

WHEEL = build_wheel("demo", "1.0")
MINE = build_wheel("mine", "1.0")
ROOT = Principal(name="root")


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as fake:
        fake.add("demo", WHEEL)
        yield fake


async def verified(
    served: Served,
    *,
    repair: bool = False,
    rate: int = 0,
    anew: bool = False,
    metadata: bool = False,
    other: BlobStore | None = None,
    pauses: list[float] | None = None,
) -> Verified:
    engine = served.engine

    async def pause(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    with open_record(Path(engine.settings.data), anew=anew) as record:
        found = await engine.verifying.verify(record, rate=rate, pause=pause, progress=lambda *_: None)
        if metadata:
            throttle = engine.verifying.throttle(0, pause)
            await engine.wheel_metadata.compare(found, record, throttle=throttle, progress=lambda *_: None)
        if repair:
            await engine.repairing.repair(found, progress=lambda *_: None, other=other)
        else:
            await engine.repairing.foresee(found, other=other)
        record.end()
    return found


def blob_at(served: Served, content: bytes) -> Path:
    key = sha256_of(content)
    own = Path(served.engine.settings.data) / "blobs" / "sha256" / key[:2] / key
    return own if own.exists() else own.parents[2] / "mirrored" / "sha256" / key[:2] / key


async def fetch(served: Served) -> None:
    """Have the mirror's wheel stored: its metadata is read out of the stored bytes."""
    path = file_path(WHEEL, MIRROR)
    assert (await ask(served.address, path)).body == WHEEL.data
    assert (await ask(served.address, f"{path}.metadata")).body == WHEEL.metadata
    while await served.engine.blobs.stat(sha256_of(WHEEL.data)) is None:
        await asyncio.sleep(0)
    await served.engine.settle()


def flip(served: Served, content: bytes) -> None:
    blob_at(served, content).write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])


def states(found: Verified) -> list[tuple[str, str, str]]:
    return sorted((one.state, one.outcome, one.owners[0].role if one.owners else "") for one in found.troubles)


async def test_a_whole_store_is_whole(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        assert (await verified(served)).whole
        await served.put(MINE)
        found = await verified(served)
        assert (found.whole, found.blobs, found.unused) == (True, 2, 0)
        assert found.bytes == len(MINE.data) + len(MINE.metadata)


@pytest.mark.parametrize("blobs", ["", "memory://"])
async def test_a_flipped_bit_is_found_and_told_with_its_upload(serve: Serve, blobs: str) -> None:
    async with serve(store="", blobs=blobs) as served:
        assert (await upload(served.address, MINE)).status == 200  # type: ignore[union-attr]  # it answers
        if blobs:
            served.engine.blobs.inner.blobs[sha256_of(MINE.data)] = (b"other bytes", 0.0)  # type: ignore[attr-defined]  # memory's own
        else:
            flip(served, MINE.data)
        found = await verified(served)
        assert states(found) == [("damaged", "", "file")]
        assert not found.whole
        (trouble,) = found.troubles
        assert trouble.owners[0].told().startswith(f"{MINE.filename} in {HOSTED}, uploaded by root at 20")
        found = await verified(served, repair=True)
        assert states(found) == [("damaged", "set aside", "file")]
        assert "send the same file again" in found.troubles[0].reason
        answer = await ask(served.address, file_path(MINE))
        assert (answer.status, b"not in the blob store" in answer.body) == (500, True)
        assert states(await verified(served)) == [("lost", "", "file")]
        assert states(await verified(served, repair=True)) == [("lost", "left", "file")]
        assert (await upload(served.address, MINE)).status == 200  # type: ignore[union-attr]  # as above
        assert (await verified(served)).whole
        assert (await ask(served.address, file_path(MINE))).body == MINE.data


@pytest.mark.parametrize("blobs", ["", "memory://"])
async def test_metadata_that_is_not_that_of_its_wheel_is_told(serve: Serve, blobs: str) -> None:
    async def compared(served: Served) -> list[str]:
        found = await verified(served, metadata=True)
        assert found.whole is not bool(found.wrong)
        return [each.owner.file.filename for each in found.differing]

    async with serve(store="", blobs=blobs) as served:
        await served.put(MINE)
        assert await compared(served) == []
        await give_other_metadata(served)
        assert await compared(served) == [MINE.filename]
        if not blobs:
            flip(served, MINE.data)
            assert await compared(served) == [], "the damaged wheel is told"


async def give_other_metadata(served: Served, built: BuiltFile = MINE) -> None:
    other = await served.engine.blobs.put(b"Metadata-Version: 2.1\nName: mine\nVersion: 9\n")
    project = parse_project_name(built.filename.partition("-")[0])
    file = await served.engine.store.file(HOSTED, project, built.filename)
    assert file is not None
    changed = PutFile(HOSTED, project, replace(file, metadata_sha256=other.sha256))
    await served.engine.store.apply([changed], who="[test]")


@pytest.mark.parametrize("blobs", ["", "memory://"])
async def test_metadata_that_differs_is_replaced_by_that_of_its_wheel(serve: Serve, blobs: str) -> None:
    async with serve(store="", blobs=blobs) as served:
        assert (await upload(served.address, MINE)).status == 200  # type: ignore[union-attr]  # it answers
        page = await ask(served.address, f"/{HOSTED}/+simple/mine/")
        before = await served.engine.store.file(HOSTED, parse_project_name("mine"), MINE.filename)
        await give_other_metadata(served)
        assert (await ask(served.address, f"{file_path(MINE)}.metadata")).body != MINE.metadata
        head = await served.engine.store.head()
        found = await verified(served, metadata=True)
        assert [each.plan for each in found.differing] == ["the metadata in the wheel takes its place"]
        assert await served.engine.store.head() == head, "a plan changes nothing"
        found = await verified(served, metadata=True, repair=True)
        assert ([each.outcome for each in found.differing], found.whole) == (["repaired"], True)
        assert [commit.who for commit in await served.engine.store.commits(head)] == ["[verify]"]
        assert await served.engine.store.file(HOSTED, parse_project_name("mine"), MINE.filename) == before
        assert (await ask(served.address, f"{file_path(MINE)}.metadata")).body == MINE.metadata
        again = await ask(served.address, f"/{HOSTED}/+simple/mine/")
        assert again.body.partition(b"SERIAL")[0] == page.body.partition(b"SERIAL")[0]
        assert (await verified(served, metadata=True)).differing == []


async def test_a_wheel_without_one_metadata_is_left(serve: Serve) -> None:
    """Directories below may have that of a project which the wheel brings along; it does not count."""
    vendored = build_wheel("mine", "2.0", files={"mine/_vendor/six-1.0.dist-info/METADATA": b"Name: six\n"})
    double = build_wheel("mine", "3.0", files={"six-1.0.dist-info/METADATA": b"Name: six\n"})
    async with serve(store="", blobs="") as served:
        for built in (vendored, double):
            await served.put(built)
            await give_other_metadata(served, built)
        found = await verified(served, metadata=True, repair=True)
        assert {each.owner.file.filename: each.outcome for each in found.differing} == {
            vendored.filename: "repaired",
            double.filename: "left",
        }
        assert not found.whole
        (left,) = (await verified(served, metadata=True)).differing
        assert "has not one readable METADATA" in left.plan


async def test_a_file_that_is_replaced_meanwhile_is_left_alone(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        await give_other_metadata(served)
        found = await verified(served, metadata=True)
        await served.put(MINE, requires_python=">=3.9")
        head = await served.engine.store.head()
        await served.engine.repairing.repair(found, progress=lambda *_: None)
        assert found.whole
        assert await served.engine.store.head() == head


async def test_a_stopped_comparison_goes_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        engine = served.engine

        async def compared() -> list[Difference]:
            found = Verified()
            with open_record(Path(engine.settings.data), anew=False) as record:
                throttle = engine.verifying.throttle(0, asyncio.sleep)
                await engine.wheel_metadata.compare(found, record, throttle=throttle, progress=lambda *_: None)
            return found.differing

        assert await compared() == []

        async def refuse(*_: object) -> list[bytes]:
            raise AssertionError("it was read already")

        monkeypatch.setattr(engine.wheel_metadata, "inside", refuse)
        assert await compared() == []


async def test_an_uploaded_file_is_taken_from_another_store(serve: Serve, tmp_path: Path) -> None:
    """Such as that of a backup. Damaged bytes there are not taken."""
    async with serve(store="", blobs="") as served:
        for built in (MINE, WHEEL):
            await served.put(built)
        async with served.engine.other_blobs((tmp_path / "backup").as_uri()) as other:
            for content in (MINE.data, MINE.metadata, WHEEL.data):
                await other.put(content)
            key = sha256_of(WHEEL.data)
            (tmp_path / "backup" / "sha256" / key[:2] / key).write_bytes(b"x" * len(WHEEL.data))
            flip(served, MINE.data)
            for content in (MINE.metadata, WHEEL.data):
                blob_at(served, content).unlink()
            plans = [trouble.plan for trouble in (await verified(served, other=other)).troubles]
            assert sorted(plans) == [
                *["copied from the other store"] * 2,
                "set aside, then copied from the other store",
            ]
            found = await verified(served, repair=True, other=other)
        assert states(found) == [
            ("damaged", "repaired", "file"),
            ("lost", "left", "file"),
            ("lost", "repaired", "metadata"),
        ]
        assert (await ask(served.address, file_path(MINE))).body == MINE.data


async def test_metadata_is_made_anew_from_its_wheel(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        flip(served, MINE.metadata)
        found = await verified(served, repair=True)
        assert states(found) == [("damaged", "repaired", "metadata")]
        assert found.whole
        assert (await ask(served.address, f"{file_path(MINE)}.metadata")).body == MINE.metadata
        blob_at(served, MINE.metadata).unlink()
        assert states(await verified(served, repair=True)) == [("lost", "repaired", "metadata")]
        assert (await verified(served)).whole


async def test_metadata_of_a_wheel_that_is_lost_too_is_left(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        flip(served, MINE.metadata)
        flip(served, MINE.data)
        found = await verified(served, repair=True)
        assert states(found) == [("damaged", "set aside", "file"), ("damaged", "set aside", "metadata")]
        assert any("its wheel is lost or damaged too" in trouble.reason for trouble in found.troubles)


async def test_mirrored_files_are_fetched_again(serve: Serve, upstream: ScriptedUpstream) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        path = file_path(WHEEL, MIRROR)
        await fetch(served)
        for content in (WHEEL.data, WHEEL.metadata):
            flip(served, content)
        fetched = upstream.count("file")
        plans = {trouble.plan for trouble in (await verified(served)).troubles}
        assert plans == {f"set aside, then fetched again from the upstream of {MIRROR}"}
        assert upstream.count("file") == fetched
        found = await verified(served, repair=True)
        assert states(found) == [("damaged", "repaired", "file"), ("damaged", "repaired", "metadata")]
        assert upstream.count("file") == fetched + 1
        assert (await ask(served.address, path)).body == WHEEL.data
        assert (await ask(served.address, f"{path}.metadata")).body == WHEEL.metadata
        assert (await verified(served)).whole


async def test_a_mirrored_file_whose_upstream_is_gone_is_set_aside_and_not_served(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        path = file_path(WHEEL, MIRROR)
        await fetch(served)
        flip(served, WHEEL.data)
        await upstream.stop()
        found = await verified(served, repair=True)
        assert states(found) == [("damaged", "set aside", "file")]
        assert found.troubles[0].reason
        answer = await ask(served.address, path)
        assert answer.status in {502, 503}
        assert answer.body != WHEEL.data


async def test_a_hosted_file_that_a_mirror_has_too_is_fetched_from_there(
    serve: Serve, upstream: ScriptedUpstream
) -> None:
    async with serve(store="", blobs="", mirrors=True, upstream=upstream.url) as served:
        await fetch(served)
        await served.put(WHEEL)
        blob_at(served, WHEEL.data).unlink()
        assert states(await verified(served, repair=True)) == [("lost", "repaired", "file")]
        assert (await ask(served.address, file_path(WHEEL))).body == WHEEL.data


async def test_what_no_row_names_is_counted_and_damage_of_it_is_put_away(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.engine.blobs.put(b"x" * 100)
        await served.engine.blobs.put(b"y" * 50)
        found = await verified(served)
        assert (found.whole, found.unused, found.unused_bytes) == (True, 2, 150)
        flip(served, b"x" * 100)
        assert states(await verified(served)) == [("damaged", "", "")]
        assert states(await verified(served, repair=True)) == [("damaged", "repaired", "")]
        assert (await verified(served)).whole


async def test_a_row_with_another_size_than_its_blob_is_told(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        file = await served.put(MINE, size=7)
        assert file.upload_time is not None
        found = await verified(served)
        assert found.database == [
            f"the row of {MINE.filename} in {HOSTED}, uploaded at {to_rfc3339(file.upload_time)} says 7 bytes, its blob has {len(MINE.data)}"
        ]
        assert not found.whole


async def test_a_blob_that_cannot_be_read_is_told_and_the_rest_goes_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        bad, real = sha256_of(MINE.data), os.pread

        def pread(descriptor: int, size: int, offset: int) -> bytes:
            if Path(f"/proc/self/fd/{descriptor}").readlink().name == bad:
                raise OSError(5, "Input/output error")
            return real(descriptor, size, offset)

        monkeypatch.setattr(os, "pread", pread)
        assert states(await verified(served)) == [("unreadable", "", "file")]
        assert states(await verified(served, repair=True)) == [("unreadable", "set aside", "file")]


async def test_a_medium_that_reads_nothing_stops_the_verification(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(store="", blobs="") as served:
        for number in range(105):
            await served.engine.blobs.put(b"%d" % number)

        def refuse(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("pkgindex_core.engines.local.file_operations.FileOperations.read", refuse)
        with pytest.raises(Unavailable):
            await verified(served)


async def test_rows_and_blobs_that_come_and_go_meanwhile_are_no_trouble(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        engine = served.engine
        stat = engine.blobs.stat

        async def late(key: object) -> object:
            if key == sha256_of(MINE.data):  # deleted between the reading of its row and the look at its blob
                monkeypatch.undo()
                await engine.releases.delete_project(HOSTED, parse_project_name("mine"), principal=ROOT, force=True)
                await engine.blobs.drop(sha256_of(MINE.data))
            return await stat(key)  # type: ignore[arg-type]  # a key

        monkeypatch.setattr(engine.blobs, "stat", late)
        assert (await verified(served)).troubles == []


async def test_reading_is_held_to_a_rate(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        for number in range(4):
            await served.engine.blobs.put(bytes([number]) * 1_000_000)
        pauses: list[float] = []
        await verified(served, rate=100_000, pauses=pauses)
        assert len(pauses) == 4
        assert max(pauses) > 35  # 4 MB at 100 kB a second, less the time that passed
        pauses.clear()
        await verified(served, pauses=pauses)
        assert pauses == []


async def test_one_verification_at_a_time_and_what_was_whole_is_not_read_twice(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        data = Path(served.engine.settings.data)
        with open_record(data, anew=False) as record:
            record.add(sha256_of(MINE.data))
            with pytest.raises(Conflict, match="another verification"), open_record(data, anew=False):
                pass
        with open_record(data, anew=False) as record:
            assert len(record) == 1
        flip(served, MINE.data)  # known to be whole, so not read
        found = await verified(served)
        assert (found.skipped, found.troubles) == (1, [])
        assert len((await verified(served)).troubles) == 1
        assert not (data / "verified").exists()


async def test_anew_reads_everything(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        await served.put(MINE)
        with open_record(Path(served.engine.settings.data), anew=False) as record:
            record.add(sha256_of(MINE.data))
        flip(served, MINE.data)
        assert states(await verified(served, anew=True)) == [("damaged", "", "file")]


async def test_damage_of_the_database_is_told_and_blobs_are_read_all_the_same(serve: Serve) -> None:
    async with serve(store="", blobs="") as served:
        for number in range(100):
            await served.put(build_wheel(f"p{number}", "1.0"))
    async with serve(store="", blobs="") as served:
        database = Path(served.engine.settings.data) / "index.sqlite"
        with database.open("r+b") as file:
            for page in range(4, database.stat().st_size // 4096):
                (byte,) = os.pread(file.fileno(), 1, page * 4096 + 2000)
                os.pwrite(file.fileno(), bytes([byte ^ 1]), page * 4096 + 2000)
        flip(served, build_wheel("p7", "1.0").data)
        found = await verified(served)
        assert found.database
        assert all("damaged" in problem for problem in found.database)
        assert [trouble.state for trouble in found.troubles] == ["damaged"]
        assert found.blobs == 200


def test_the_command_says_what_is_wrong_and_exits_accordingly(tmp_path: Path) -> None:
    """0: whole; 3: something is damaged or lost; 1: it stopped."""

    def verify(*words: str) -> tuple[int, str, str]:
        ran = CliRunner().invoke(main, ["verify", "--data", str(tmp_path / "data"), *words])
        return ran.exit_code, ran.stdout, ran.stderr

    status, out, err = verify()
    assert (status, out, "there is no store in" in err) == (1, "", True)
    make_store(tmp_path / "data")
    (tmp_path / MINE.filename).write_bytes(MINE.data)
    sent = CliRunner().invoke(main, ["upload", "--data", str(tmp_path / "data"), str(tmp_path / MINE.filename)])
    assert sent.exit_code == 0, sent.output
    assert verify()[:2] == (0, "")
    for content in (MINE.data, MINE.metadata):
        key = sha256_of(content)
        (tmp_path / "data" / "blobs" / "sha256" / key[:2] / key).write_bytes(b"x" * len(content))
    status, out, err = verify("--json")
    document = json.loads(out)
    assert (status, document["whole"], document["files"]) == (3, False, 2)
    assert {(one["state"], one["outcome"]) for one in document["troubles"]} == {("damaged", None)}
    assert {each["role"] for one in document["troubles"] for each in one["belongs_to"]} == {"file", "metadata"}
    assert f"damaged: {MINE.filename} in root/dev, uploaded by root at " in err
    assert "hint: pkgindex-serve verify --repair" in err
    kept = sorted((tmp_path / "data" / "blobs").rglob("*/*"))
    status, out, err = verify("--repair", "--dry-run", "--json")
    assert (status, "hint" in err) == (3, False)
    assert [each["plan"].partition(",")[0] for each in json.loads(out)["troubles"]] == ["set aside"] * 2
    assert "a repair would do this: set aside, then left: restore the blob" in err
    assert sorted((tmp_path / "data" / "blobs").rglob("*/*")) == kept
    status, _, err = verify("--repair", "--from", (tmp_path / "nowhere").as_uri())
    assert (status, "there is no directory" in err, (tmp_path / "nowhere").exists()) == (2, True, False)
    status, out, err = verify("--repair")
    assert (status, out, "damaged, set aside: " in err, "hint" in err) == (3, "", True, False)
    again = CliRunner().invoke(main, ["upload", "--data", str(tmp_path / "data"), str(tmp_path / MINE.filename)])
    assert again.exit_code == 0
    assert verify("--rate", "0", "--anew")[:2] == (0, "")
    with open_record(tmp_path / "data", anew=False):
        status, _, err = verify()
    assert (status, "error: another verification of this store is running" in err) == (1, True)
