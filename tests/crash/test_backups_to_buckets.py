"""Backups in a bucket of a real S3 server: killed at each step, of stores in PostgreSQL and S3, beside a collector; and what they ask of S3."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiobotocore.client import AioBaseClient

from pkgindex_core.changes import DropFile, PutFile, PutIndex
from pkgindex_core.composition.backup_places import opened_backups
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.models import File, IndexConfig, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.services.moving.backups.checking import check
from pkgindex_core.services.moving.backups.taking import TakenBackup
from pkgindex_core.testing.wheels import build_wheel
from pkgindex_core.tools.side_by_side import side_by_side
from tests.crash.conftest import Command
from tests.crash.oracle import BEFORE, HOSTED, ROOT, file_path, prepare_data, upload
from tests.crash.processes import ServerProcess, Starter, running
from tests.database_server import DatabaseServer
from tests.object_stores import ObjectStore, reachable, seaweedfs

Tally = Callable[[str, int], None]

pytestmark = pytest.mark.timeout(600)

STEPS = sorted(point for point in POINTS if point.startswith("backup."))
OF_EVERY_RUN = ["backup.begun", "backup.blobs_kept", "backup.listed", "backup.recorded"]
UPLOADS, RUNS = 120, 8
FILES = int(os.environ.get("PKGINDEX_TEST_BACKUP_FILES", "400"))
"""Files of the larger store of `test_a_later_backup_asks_for_what_is_new` (see tests/README.md)."""
DEMO = ProjectName("demo")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with reachable(seaweedfs(tmp_path_factory.mktemp("s3") / "store")) as store:
        yield store


@pytest.fixture
def bucket(s3: ObjectStore) -> str:
    """A place of this test in the bucket."""
    return f"{s3.url}/{uuid4().hex}"


async def put_files(data: Path, numbers: range) -> None:
    """Files of a few bytes, without metadata, in one commit."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        files = []
        for number in numbers:
            content = f"file {number}".encode()
            name = f"demo-{number}-py3-none-any.whl"
            files.append(
                File(filename=name, version=str(number), digests={"sha256": sha256_of(content)}, size=len(content))
            )

        async def put(number: int) -> None:
            await engine.blobs.put(f"file {number}".encode())

        await side_by_side(numbers, put)
        await engine.store.apply([PutFile(HOSTED, DEMO, file) for file in files], who="root")


async def end_lease(url: str) -> None:
    """Let the time go by after which the lease of a killed process has ended."""
    async with opened_backups(url, Settings(data=Path("unused"))) as place:
        for name in await place._files.names("lease"):
            await place._files.remove(f"lease/{name}")


async def back_up(data: Path, url: str, **options: Any) -> TakenBackup:
    settings = Settings(data=data)
    async with Engine.open(settings, mirrors=False) as engine, opened_backups(url, settings) as place:
        identity = await engine.uuid()
        return await engine.taking_backups.take(place, identity=identity, progress=lambda *_: None, **options)


async def log_of(data: Path) -> object:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        return await engine.store.commits(Serial(0))


@pytest.mark.parametrize("point", STEPS)
async def test_a_killed_backup_leaves_the_earlier_one_whole_and_goes_on(
    command: Command, bucket: str, tmp_path: Path, point: str
) -> None:
    data, first, again = (tmp_path / name for name in ("data", "first", "again"))
    await prepare_data(data)
    await put_files(data, range(5))
    before = await log_of(data)
    assert await command("backup", bucket, "--data", data) == 0
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.store.apply([DropFile(HOSTED, DEMO, "demo-1-py3-none-any.whl")], who="root")
    await put_files(data, range(5, 8))
    words = ("backup", bucket, "--keep", "1", "--data", data)
    assert await command(*words, failpoints=f"{point}=kill") == -9
    assert await command(*words) == 1, "its lease has not ended"
    await end_lease(bucket)
    assert await command("backup", "verify", bucket) == 0
    async with opened_backups(bucket, Settings(data=data)) as place:
        (oldest, *_) = await place.names()
    assert await command("restore", bucket, "--at", oldest, "--data", first) == 0
    if point not in {"backup.forgotten", "backup.blob_removed"}:
        assert await log_of(first) == before
    assert await command(*words) == 0
    assert await command("restore", bucket, "--data", again) == 0
    assert await command("verify", "--data", again) == 0
    assert await log_of(again) == await log_of(data)
    async with opened_backups(bucket, Settings(data=data)) as place, place.blobs() as blobs:
        assert len(await place.names()) == 1
        stored = {blob.sha256 async for blob in blobs.walk()}
    assert stored == {
        *(sha256_of(f"file {number}".encode()) for number in range(8) if number != 1),
        BEFORE.sha256,
        sha256_of(BEFORE.metadata),
    }


async def test_a_later_backup_asks_for_what_is_new(
    bucket: str, tmp_path: Path, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same requests for three new files, however many there are."""
    asked: Counter[str] = Counter()
    really = AioBaseClient._make_api_call

    async def counted(self: Any, operation: str, parameters: Any) -> Any:
        asked[operation] += 1
        return await really(self, operation, parameters)

    told: list[Counter[str]] = []
    for number, files in enumerate((20, FILES)):
        data, url = tmp_path / f"data-{number}", f"{bucket}/{number}"
        await prepare_data(data)
        await put_files(data, range(files))
        assert (await back_up(data, url)).blobs == files + 2
        for new in (0, 3):
            if new:
                await put_files(data, range(files, files + new))
            asked.clear()
            with monkeypatch.context() as patch:
                patch.setattr(AioBaseClient, "_make_api_call", counted)
                assert (await back_up(data, url, keep=2)).blobs == new
            told.append(Counter(asked))
    assert told[2] == told[0]
    assert told[3] == told[1]
    tally(f"requests to S3 for a backup of {FILES} files without a change", told[2].total())
    tally(f"requests to S3 for a backup of {FILES} files with three new ones", told[3].total())


async def test_a_store_in_postgresql_and_a_bucket_comes_back_elsewhere(
    bucket: str, database_server: DatabaseServer, starter: Starter, command: Command, tmp_path: Path
) -> None:
    """Two servers take uploads meanwhile. What was acknowledged before is in the backup, and a restore into other stores is whole."""
    databases = {name: f"backups_{uuid4().hex[:8]}_{name}" for name in ("one", "two")}
    for name in databases.values():
        database_server.sql(f"CREATE DATABASE {name}")
    try:
        stores = {
            name: ("--store", database_server.url(database), "--blobs", f"{bucket}/{name}")
            for name, database in databases.items()
        }
        acknowledged = await _upload_during_a_backup(stores["one"], f"{bucket}/backup", starter, command, tmp_path)
        words = ("--data", tmp_path / "restored", *stores["two"])
        assert await command("backup", "verify", f"{bucket}/backup") == 0
        assert await command("restore", f"{bucket}/backup", *words) == 0
        assert await command("restore", f"{bucket}/backup", *words) == 1, "it is not empty any more"
        assert await command("verify", *words) == 0
        settings = Settings(data=tmp_path / "restored", store=stores["two"][1], blobs=stores["two"][3])
        async with Engine.open(settings, mirrors=False) as engine:
            page = await engine.store.page(HOSTED, DEMO)
        assert page is not None
        assert acknowledged <= {row.filename for row in page.rows}
    finally:
        for name in databases.values():
            database_server.sql(f"DROP DATABASE {name} WITH (FORCE)")


async def _upload_during_a_backup(
    stores: tuple[str, ...], url: str, starter: Starter, command: Command, tmp_path: Path
) -> set[str]:
    """Upload through two servers until a backup has been taken; the files that were acknowledged when it began."""
    settings = Settings(data=tmp_path / "a", store=stores[1], blobs=stores[3])
    await prepare_data(tmp_path / "a", store=settings.store, blobs=settings.blobs)
    acknowledged: set[str] = set()
    over = asyncio.Event()

    async def uploads(server: ServerProcess, name: str) -> None:
        number = 0
        while not over.is_set():
            built = build_wheel("demo", f"{number}.0+{name}")
            answer = await upload(server.address, built)
            assert answer is not None
            assert answer.status == 200, answer.body
            acknowledged.add(built.filename)
            number += 1

    servers = [ServerProcess(starter, tmp_path / name, *stores) for name in ("a", "b")]
    async with running(servers[0]), running(servers[1]):
        uploading = asyncio.gather(*(uploads(server, server.data.name) for server in servers))
        while len(acknowledged) < 10:
            await asyncio.sleep(0.05)
        before = set(acknowledged)
        status = await command("backup", url, "--data", tmp_path / "a", *stores)
        over.set()
        await uploading
    assert status == 0
    return before


async def test_backups_beside_a_collector_are_whole(
    bucket: str, starter: Starter, command: Command, tmp_path: Path, tally: Tally
) -> None:
    """A client uploads and deletes, unused files are removed without a grace, and backups die at random steps: what is complete is whole."""
    data, chance, dying = tmp_path / "data", random.Random(5), random.Random(6)
    await prepare_data(data)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        made = IndexConfig(name=HOSTED, volatile=True, acl_upload=("root",))
        await engine.store.apply([PutIndex(made)], who="[test]")
    server = ServerProcess(starter, data)
    over = asyncio.Event()
    live: set[str] = set()

    async def churn() -> None:
        number = 0
        while number < UPLOADS and not over.is_set():
            built = build_wheel("demo", f"{number}.0")
            answer = await upload(server.address, built)
            assert answer is not None
            assert answer.status in {200, 503}, answer.body
            number += 1
            if answer.status == 200 and chance.random() < 0.6:
                status = await _delete(server, file_path(built, HOSTED))
                assert status in {200, 404, 410}
            elif answer.status == 200:
                live.add(built.filename)

    kills = 0
    async with running(server):
        churning = asyncio.create_task(churn())
        for number in range(RUNS):
            point = f"{dying.choice(OF_EVERY_RUN)}=kill" if number % 2 else ""
            statuses = await asyncio.gather(
                command("backup", bucket, "--keep", "2", "--data", data, failpoints=point),
                command("gc", "--grace", "0", "--data", data),
            )
            assert statuses[0] in {0, -9}
            assert statuses[1] == 0
            if statuses[0]:
                kills += 1
                await end_lease(bucket)
        over.set()
        await churning
    assert await command("backup", bucket, "--keep", "2", "--data", data) == 0
    async with opened_backups(bucket, Settings(data=data)) as place:
        assert (await check(place, progress=lambda *_: None)).problems == []
        names = await place.names()
    assert len(names) == 2
    for number, name in enumerate(names):
        restored = tmp_path / f"restored-{number}"
        assert await command("restore", bucket, "--at", name, "--data", restored) == 0
        assert await command("verify", "--data", restored) == 0
    async with Engine.open(Settings(data=tmp_path / "restored-1"), mirrors=False) as engine:
        page = await engine.store.page(HOSTED, DEMO)
    assert page is not None
    assert {row.filename for row in page.rows} == live
    tally("kills of backups beside a collector", kills)


async def _delete(server: ServerProcess, path: str) -> int:
    async with (
        aiohttp.ClientSession() as client,
        client.request("DELETE", f"{server.url}{path}", headers=ROOT) as answer,
    ):
        return answer.status
