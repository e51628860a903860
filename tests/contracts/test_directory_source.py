"""The source of directory indexes passes the contract suite: watched, looked at from time to time, and at a URL."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import NoReturn

import fsspec
import pytest

from pkgindex_core.changes import PutProject
from pkgindex_core.engines.directory import local_root
from pkgindex_core.engines.directory.making import make_source
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig, PageHead
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Source
from pkgindex_core.testing import source_cases
from pkgindex_core.testing.sources import SourceContract
from pkgindex_core.testing.wheels import BuiltFile

INDEX = IndexName("root/index")


@pytest.fixture(autouse=True)
def _below_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's index belongs to a user; only those of `root` may show directories."""
    for module in ("base", "projects", "files", "lives"):
        if hasattr(getattr(source_cases, module), "INDEX"):
            monkeypatch.setattr(getattr(source_cases, module), "INDEX", INDEX)


class TestWatchedDirectory(SourceContract):
    upstream = "there"
    fetches = True
    takes_uploads = True

    root: Path

    async def begin(self) -> IndexConfig:
        self.root = self.context.data / "packages"
        self.root.mkdir()
        return IndexConfig(name=INDEX, type="directory", files_elsewhere=True, options={"roots": [str(self.root)]})

    async def open_source(self, context: Context) -> Source:
        return await make_source(context)

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        for each in built:
            (self.root / each.filename).write_bytes(each.data)
        if not built:  # registered, by a client of old times
            await self.store.apply([PutProject(INDEX, project, PageHead())], who="[test]")

    async def withdraw(self, project: ProjectName) -> None:
        for path in self.root.glob(f"{project}-*"):
            path.unlink()

    async def go_away(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))

    async def come_back(self) -> None:
        self.root.with_name("elsewhere").rename(self.root)

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        path = self.root / built.filename
        path.unlink() if data is None else path.write_bytes(data)


class TestPolledDirectory(TestWatchedDirectory):
    """Where the system does not tell of changes."""

    @pytest.fixture(autouse=True)
    def _without_inotify(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def none_left() -> NoReturn:
            raise OSError(24, "no more instances")

        monkeypatch.setattr(local_root, "Inotify", none_left)


class TestDirectoryAtUrl(TestWatchedDirectory):
    """A bucket of wheels. Being gone for a while is played by another bucket in its place."""

    async def begin(self) -> IndexConfig:
        self.bucket = f"bucket-{secrets.token_hex(4)}"
        self.medium = fsspec.filesystem("memory")
        self.medium.mkdir(f"/{self.bucket}")
        self.kept = self.context.data / "kept"
        options = {"roots": [f"memory://{self.bucket}"]}
        return IndexConfig(name=INDEX, type="directory", files_elsewhere=True, options=options)

    async def end(self) -> None:
        if self.medium.exists(f"/{self.bucket}"):
            self.medium.rm(f"/{self.bucket}", recursive=True)

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        for each in built:
            self.medium.pipe_file(f"/{self.bucket}/{each.filename}", each.data)
        if not built:
            await self.store.apply([PutProject(INDEX, project, PageHead())], who="[test]")

    async def withdraw(self, project: ProjectName) -> None:
        for path in self.medium.glob(f"/{self.bucket}/{project}-*"):
            self.medium.rm_file(path)

    async def go_away(self) -> None:
        self.medium.get(f"/{self.bucket}", str(self.kept), recursive=True)
        self.medium.rm(f"/{self.bucket}", recursive=True)

    async def come_back(self) -> None:
        self.medium.put(str(self.kept), f"/{self.bucket}", recursive=True)
        shutil.rmtree(self.kept)

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        path = f"/{self.bucket}/{built.filename}"
        self.medium.rm_file(path) if data is None else self.medium.pipe_file(path, data)
