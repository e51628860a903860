"""Every source passes the contract suite. (That of mirrors: tests/mirror/test_source.py.)"""

from __future__ import annotations

from msgspec.structs import replace

from pkgindex_core.changes import Change, DropProject, MirrorNames, MirrorPage, PutFile, PutProject
from pkgindex_core.engines.hosted_source import HostedSource
from pkgindex_core.engines.unreachable_source import UnreachableSource
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig, PageHead
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import Source
from pkgindex_core.testing.configs import mirror_config
from pkgindex_core.testing.source_cases.base import INDEX, SourceCases
from pkgindex_core.testing.sources import SourceContract
from pkgindex_core.testing.wheels import BuiltFile


async def stored(cases: SourceCases, built: BuiltFile) -> File:
    """A file whose bytes are in the blob store."""
    blob = await cases.blobs.put(built.data)
    file = File(filename=built.filename, version="1.0", digests={"sha256": blob.sha256}, size=blob.size)
    if not built.filename.endswith(".whl") or not built.metadata:
        return file
    return replace(file, metadata_sha256=(await cases.blobs.put(built.metadata)).sha256)


class TestHostedSource(SourceContract):
    upstream = "none"
    takes_uploads = True

    async def begin(self) -> IndexConfig:
        return IndexConfig(name=INDEX)

    async def open_source(self, context: Context) -> Source:
        assert context.blob_store is not None
        return HostedSource(store=self.store, blobs=context.blob_store)

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        changes: list[Change] = [PutProject(INDEX, project, PageHead())]
        changes += [PutFile(INDEX, project, await stored(self, each)) for each in built]
        await self.store.apply(changes, who="[test]")

    async def withdraw(self, project: ProjectName) -> None:
        await self.store.apply([DropProject(INDEX, project)], who="[test]")


class TestUnreachableSource(SourceContract):
    upstream = "unreachable"
    stays_current = False

    async def begin(self) -> IndexConfig:
        return mirror_config(INDEX)

    async def open_source(self, context: Context) -> Source:
        assert context.blob_store is not None
        return UnreachableSource(store=self.store, blobs=context.blob_store)

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        files = tuple([await stored(self, each) for each in built])
        names = MirrorNames(INDEX, ((project, project),))
        await self.store.apply([MirrorPage(INDEX, project, PageHead(), files), names], who="[test]")

    async def withdraw(self, project: ProjectName) -> None:
        """Nobody here hears of it."""
