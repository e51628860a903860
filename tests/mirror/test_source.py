"""The read-through cache passes the contract suite of sources, however its index is configured."""

from __future__ import annotations

from typing import Any, ClassVar

from pkgindex_core.hookspecs import Context
from pkgindex_core.models import IndexConfig
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Source
from pkgindex_core.protocols.learning import LearningBlobs
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.doubting import DoubtingContract
from pkgindex_core.testing.excerpting import ExcerptingContract
from pkgindex_core.testing.source_cases.base import INDEX, SourceCases
from pkgindex_core.testing.sources import SourceContract
from pkgindex_core.testing.wheels import BuiltFile
from pkgindex_mirror.readthrough.source import ReadThrough
from pkgindex_mirror.settings import MirrorSettings
from pkgindex_mirror.testing import ScriptedUpstream, behaviours

from .conftest import QUICK


class Mirrored(SourceCases):
    upstream = "there"
    fetches = True
    streams = True
    counts = True
    options: ClassVar[dict[str, Any]] = {}
    Engine: ClassVar[type[ReadThrough]] = ReadThrough

    async def begin(self) -> IndexConfig:
        self.server = ScriptedUpstream()
        await self.server.start()
        return mirror_config(INDEX, self.server.url, **self.options)

    async def end(self) -> None:
        await self.server.stop()

    async def open_source(self, context: Context) -> Source:
        assert isinstance(context.blob_store, LearningBlobs)
        return self.Engine(
            store=self.store,
            blob_store=context.blob_store,
            clock=self.clock,
            workers=context.workers,
            data=context.data,
            settings=MirrorSettings(**QUICK | {"page_deadline": 30.0}, allow_networks=("127.0.0.0/8",)),
        )

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        self.server.projects.setdefault(project, [])
        for each in built:
            self.server.add(project, each, **({} if each.metadata else {"core_metadata": None}))
            if not each.metadata:
                self.server.script(f"/files/{each.filename}.metadata", behaviours.status(404))

    async def withdraw(self, project: ProjectName) -> None:
        del self.server.projects[project]

    async def go_away(self) -> None:
        await self.server.stop()

    async def come_back(self) -> None:
        await self.server.start()

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        wrong = behaviours.status(404) if data is None else behaviours.with_body(lambda _: data)
        self.server.script(f"/files/{built.filename}", wrong)

    def asked(self) -> int:
        return len(self.server.asked)


class TestReadThrough(Mirrored, SourceContract):
    pass


class TestReadThroughOfListsWithoutNames(TestReadThrough):
    lists_names = False
    options: ClassVar[dict[str, Any]] = {"mirror_no_project_list": True}


class TestReadThroughThatSendsClientsElsewhere(TestReadThrough):
    redirects = True
    options: ClassVar[dict[str, Any]] = {"mirror_use_external_urls": True}


class TestExcerpts(Mirrored, ExcerptingContract):
    pass


class TestDoubts(Mirrored, DoubtingContract):
    pass


class TestDoubtsOfListsWithoutNames(Mirrored, DoubtingContract):
    lists_names = False
    options: ClassVar[dict[str, Any]] = {"mirror_no_project_list": True}
