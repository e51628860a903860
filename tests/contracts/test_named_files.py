"""The named files of the library pass their contract suite, and what only one of them promises."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.fsspec import media
from pkgindex_core.engines.fsspec.connecting import connect
from pkgindex_core.engines.fsspec.named_files import FsspecNamedFiles
from pkgindex_core.engines.local.file_operations import FileOperations
from pkgindex_core.engines.local.named_files import LocalNamedFiles
from pkgindex_core.errors import StorageFull
from pkgindex_core.protocols.named_files import NamedFiles
from pkgindex_core.testing.named_files import NamedFilesContract
from tests.object_stores import ObjectStore, fake_gcs_server, reachable, seaweedfs


class _Threads:
    @pytest.fixture(autouse=True)
    def _threads(self) -> Iterator[None]:
        with ThreadPoolExecutor(2) as self.workers:
            yield


class TestLocalNamedFiles(_Threads, NamedFilesContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.root = tmp_path / "not yet" / "there"

    async def open_files(self) -> NamedFiles:
        return LocalNamedFiles(self.root, subject="this test", workers=self.workers)

    async def test_only_the_owner_may_read(self) -> None:
        async with self.opened() as files, files.turn():
            await files.write("a/b", b"secret")
        entries = [self.root, *self.root.rglob("*")]
        assert {stat.S_IMODE(each.stat().st_mode) for each in entries if each.is_dir()} == {0o700}
        assert {stat.S_IMODE(each.stat().st_mode) for each in entries if each.is_file()} == {0o600}

    @pytest.mark.parametrize("step", ["create", "write", "sync", "rename", "sync_directory"])
    async def test_a_failed_write_leaves_one_of_both(self, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async with self.opened() as files:
            await files.write("a", b"before")

            def full(*_: object) -> None:
                raise OSError(28, "no space")

            with monkeypatch.context() as patch:
                patch.setattr(FileOperations, step, full)
                with pytest.raises(StorageFull):
                    await files.write("a", b"after")
            assert await files.read("a") == (b"after" if step == "sync_directory" else b"before")
            await files.write("a", b"again")
            assert await files.read("a") == b"again"
            assert list(await files.names()) == ["a"]

    async def test_the_draft_of_a_killed_process_is_replaced(self) -> None:
        async with self.opened() as files:
            await files.write("a", b"before")
            (self.root / ".draft-a").write_bytes(b"half")
            await files.write("a", b"after")
            assert [each.name for each in self.root.iterdir()] == ["a"]


class TestNamedFilesInMemory(_Threads, NamedFilesContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        name = f"named-{uuid4().hex}"
        self.url = f"memory://{name}/files"
        yield
        for path in MemoryFileSystem().find(f"/{name}"):
            MemoryFileSystem().rm_file(path)

    async def open_files(self) -> NamedFiles:
        medium, root = await connect(self.url, workers=self.workers, storage_options={})
        return FsspecNamedFiles(medium, root, subject="this test", clock=SystemClock())

    async def test_half_a_file_of_a_killed_process_is_swept(self) -> None:
        root = f"/{self.url.partition('://')[2]}"
        MemoryFileSystem().pipe_file(f"{root}/staging/abc", b"half")
        async with self.opened() as files, files.turn():
            assert MemoryFileSystem().find(f"{root}/staging") == []


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with reachable(seaweedfs(tmp_path_factory.mktemp("s3") / "store")) as store:
        yield store


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with reachable(fake_gcs_server(tmp_path_factory.mktemp("gcs") / "store")) as store:
        yield store


class TestNamedFilesInS3(_Threads, NamedFilesContract):
    @pytest.fixture(autouse=True)
    def _place(self, s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            media, "ANSWER_SECONDS", 60.0
        )  # the server shares two cores with hundreds of other programs
        self.url = f"{s3.url}/{uuid4().hex}"

    async def open_files(self) -> NamedFiles:
        medium, root = await connect(self.url, workers=self.workers, storage_options={})
        return FsspecNamedFiles(medium, root, subject="this test", clock=SystemClock())


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestNamedFilesInGoogleCloudStorage(_Threads, NamedFilesContract):
    @pytest.fixture(autouse=True)
    def _place(self, gcs: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(media, "ANSWER_SECONDS", 60.0)
        self.url = f"{gcs.url}/{uuid4().hex}"
        self.options = tomllib.loads(f"x = {gcs.options}")["x"]

    async def open_files(self) -> NamedFiles:
        medium, root = await connect(self.url, workers=self.workers, storage_options=self.options)
        return FsspecNamedFiles(medium, root, subject="this test", clock=SystemClock())
