"""The source of routed indexes passes the contract suite: one folder for all projects, and one for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkgindex_core.changes import PutProject
from pkgindex_core.engines.routes.making import make_source
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
    """The suite's index belongs to a user; only those of `root` may have routes."""
    for module in ("base", "projects", "files", "lives"):
        if hasattr(getattr(source_cases, module), "INDEX"):
            monkeypatch.setattr(getattr(source_cases, module), "INDEX", INDEX)


class TestOneFolder(SourceContract):
    upstream = "there"
    fetches = True
    takes_uploads = False

    root: Path
    template = "packages"

    async def begin(self) -> IndexConfig:
        self.root = self.context.data / "packages"
        self.root.mkdir()
        rule = {"pattern": "{name}", "place": "index.toml, line 1", "folder": str(self.context.data / self.template)}
        return IndexConfig(name=INDEX, type="routes", files_elsewhere=True, read_only=True, options={"routes": [rule]})

    async def open_source(self, context: Context) -> Source:
        return await make_source(context)

    def folder(self, project: ProjectName) -> Path:  # for the subclass
        return self.root

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        for each in built:
            self.folder(project).mkdir(exist_ok=True)
            (self.folder(project) / each.filename).write_bytes(each.data)
        if not built:  # registered, by a client of old times
            await self.store.apply([PutProject(INDEX, project, PageHead())], who="[test]")

    async def withdraw(self, project: ProjectName) -> None:
        for path in self.folder(project).glob(f"{project}-*"):
            path.unlink()

    async def go_away(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))

    async def come_back(self) -> None:
        self.root.with_name("elsewhere").rename(self.root)

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        path = self.folder(ProjectName("demo")) / built.filename
        path.unlink() if data is None else path.write_bytes(data)


class TestFolderForEachProject(TestOneFolder):
    template = "packages/of-{name}"

    def folder(self, project: ProjectName) -> Path:
        return self.root / f"of-{project}"
