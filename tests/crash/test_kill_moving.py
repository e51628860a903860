"""kill -9 while a store is written down or made again: whatever is there then is whole, and the same command goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pkgindex_core.changes import Commit, DropFile, PutFile
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.failpoints import POINTS
from pkgindex_core.formats.devpi.translating import IMPORTER
from pkgindex_core.models import File, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.testing.wheels import build_wheel
from tests.core.services.devpi_dumps import DevpiDumpBuilder
from tests.crash.conftest import Command
from tests.crash.oracle import HOSTED, prepare_data


def steps(group: str) -> list[str]:
    return sorted(point for point in POINTS if point.startswith(group))


BACKUP_STEPS, RESTORE_STEPS, IMPORT_STEPS = steps("backup."), steps("restore."), steps("import.")
MIGRATE_STEPS = steps("migrate.")


async def content_of(data: Path) -> tuple[Sequence[Commit], set[Sha256]]:
    """The commits of a store, and its blobs."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        return await engine.store.commits(Serial(0)), {blob.sha256 async for blob in engine.blobs.walk()}


async def log_of(data: Path) -> object:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        return await engine.store.commits(Serial(0))


async def put_wheel(data: Path, version: str) -> str:
    """Upload a wheel beside all servers; return the digest of its bytes."""
    built = build_wheel("late", version)
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        blob = await engine.blobs.put(built.data)
        file = File(filename=built.filename, version=version, digests={"sha256": blob.sha256}, size=blob.size)
        await engine.store.apply([PutFile(HOSTED, ProjectName("late"), file)], who="root")
    return built.sha256


async def drop_wheel(data: Path, version: str) -> None:
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        change = DropFile(HOSTED, ProjectName("late"), build_wheel("late", version).filename)
        await engine.store.apply([change], who="root")


@pytest.mark.parametrize("point", [*BACKUP_STEPS, "blob.renamed", "blob.written"])
async def test_a_killed_backup_leaves_the_earlier_one_whole_and_goes_on(
    command: Command, tmp_path: Path, point: str
) -> None:
    data, backup, first, again = (tmp_path / name for name in ("data", "backup", "first", "again"))
    await prepare_data(data)
    await put_wheel(data, "1.0")
    before = await content_of(data)
    assert await command("backup", backup, "--data", data) == 0
    await drop_wheel(data, "1.0")
    late = await put_wheel(data, "2.0")
    words = ("backup", backup, "--keep", "1", "--data", data)
    assert await command(*words, failpoints=f"{point}=kill") == -9
    names = [path.stem for path in sorted((backup / "backups").glob("*.json"))]
    assert await command("backup", "verify", backup) == 0
    assert await command("restore", backup, "--at", names[0], "--data", first) == 0
    assert await command("verify", "--data", first) == 0
    if point not in {"backup.forgotten", "backup.blob_removed"}:
        assert await content_of(first) == before, "the first one is there until a newer one is"
    assert await command(*words) == 0
    assert await command("restore", backup, "--data", again) == 0
    assert await command("verify", "--data", again) == 0
    assert await log_of(again) == await log_of(data)
    assert len([*(backup / "blobs" / "sha256").rglob(late)]) == 1
    assert not [*(backup / "blobs" / "sha256").rglob(build_wheel("late", "1.0").sha256)]
    assert [path.suffix for path in sorted((backup / "backups").iterdir())] == [".blobs", ".json"]
    assert not [*(backup / "commits").glob(".*")]
    assert not (backup / "unfinished").exists()


@pytest.mark.parametrize("point", [*RESTORE_STEPS, "blob.renamed", "commit.written"])
async def test_a_killed_restore_goes_on(command: Command, tmp_path: Path, point: str) -> None:
    data, backup, again = tmp_path / "data", tmp_path / "backup", tmp_path / "again"
    await prepare_data(data)
    assert await command("backup", backup, "--data", data) == 0
    assert await command("restore", backup, "--data", again, failpoints=f"{point}=kill") == -9
    assert await command("run", "--port", "0", "--data", again) == 1, "no server runs on half a restore"
    assert await command("restore", backup, "--data", again) == 0
    assert await content_of(again) == await content_of(data)


@pytest.mark.parametrize("point", [*MIGRATE_STEPS, "blob.renamed", "commit.written"])
async def test_a_killed_migration_goes_on(command: Command, tmp_path: Path, point: str) -> None:
    data, again = tmp_path / "data", tmp_path / "again"
    await prepare_data(data)
    words = (
        "migrate",
        "--data",
        data,
        "--to-store",
        f"sqlite://{again}/index.sqlite",
        "--to-blobs",
        f"file://{again}/blobs",
    )
    again.mkdir()
    assert await command(*words, failpoints=f"{point}=kill") == -9
    assert await command(*words) == 0
    assert await content_of(again) == await content_of(data)
    assert await command("verify", "--data", again) == 0


@pytest.mark.parametrize("point", [*IMPORT_STEPS, "blob.renamed", "commit.written"])
async def test_a_killed_import_from_devpi_goes_on(command: Command, tmp_path: Path, point: str) -> None:
    data, built, again = tmp_path / "data", build_wheel("demo", "1.0"), tmp_path / "again"
    dump = DevpiDumpBuilder(tmp_path / "dump")
    dump.user(
        "alice", pwhash="$argon2i$v=19$m=512,t=2,p=2$y/k/x/jfm/Peu3cOYSwlpA$WV0h32WZhOWUn/GprUrezCVyEEWd6/zGt7ZbMBivmSc"
    )
    dump.index("alice/dev")
    dump.version("alice/dev", "demo", "1.0")
    dump.file("alice/dev", "demo", "1.0", built.filename, built.data)
    dump.file("alice/dev", "demo", "1.0", "demo-1.0.doc.zip", b"docs", kind="doczip")
    dump.write()
    assert await command("import", "devpi", dump.path, "--data", again) == 0
    assert await command("import", "devpi", dump.path, "--data", data, failpoints=f"{point}=kill") == -9
    assert await command("import", "devpi", dump.path, "--data", data) == 0
    assert await brought(data) == await brought(again)


async def brought(data: Path) -> list[object]:
    """What the import has committed, in order: the same, however often it was stopped."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        commits = await engine.store.commits(Serial(0))
    return [commit.changes for commit in commits if commit.who == IMPORTER]
