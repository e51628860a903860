"""What documents of large projects cost in memory: `VERSIONS` versions with descriptions of 20 kB, in SQLite."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from pkgindex_core.changes import PutFile, PutIndex, PutRelease
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.formats.version_documents import encode_metadata
from pkgindex_core.models import File, IndexConfig, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.plugins import load_plugins
from pkgindex_core.protocols import Principal

BIG = ProjectName("big")
INDEX = IndexName("root/big")
VERSIONS: Final = 600
DESCRIPTION: Final = 20_000
WHOLE: Final = VERSIONS * DESCRIPTION


@asynccontextmanager
async def large_project(data: Path) -> AsyncIterator[Engine]:
    async with Engine.open(Settings(data=data), plugins=load_plugins(settings={})) as engine:
        await engine.prepare()
        await engine.store.apply([PutIndex(IndexConfig(name=INDEX))], who="[test]")
        for first in range(0, VERSIONS, 100):
            changes = []
            for number in range(first, first + 100):
                version = f"1.{number}"
                file = File(
                    filename=f"big-{version}.tar.gz", version=version, digests={"sha256": f"{number:064x}"}, size=1
                )
                said = encode_metadata({"name": "big", "version": version, "description": "x" * DESCRIPTION})
                changes += [PutFile(INDEX, BIG, file), PutRelease(INDEX, BIG, Release(version=version, metadata=said))]
            await engine.store.apply(changes, who="[test]")
        yield engine


async def asked(engine: Engine) -> AsyncGenerator[bytes, None]:
    return (await engine.versions.project(INDEX, BIG, principal=Principal(), root="http://host")).pieces


async def test_a_document_is_never_held_whole_whoever_reads_it_how(tmp_path: Path) -> None:
    async with large_project(tmp_path) as engine:
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            read = sum([len(piece) async for piece in await asked(engine)])
            peak = tracemalloc.get_traced_memory()[1] - before
            assert read > WHOLE
            assert peak < WHOLE / 3, f"{peak:,} bytes at most for a document of {read:,}"
            # Twenty who have read a beginning and no more.
            before = tracemalloc.get_traced_memory()[0]
            documents = await asyncio.gather(*(asked(engine) for _ in range(20)))
            assert all([len(await anext(document)) < 200_000 for document in documents])
            held = (tracemalloc.get_traced_memory()[0] - before) / len(documents)
            assert held < 400_000, f"{held:,} bytes for each who reads slowly"
            for document in documents:
                await document.aclose()
        finally:
            tracemalloc.stop()


async def test_a_document_is_as_of_one_commit_however_slowly_it_is_read(tmp_path: Path) -> None:
    async with large_project(tmp_path) as engine:
        document = await asked(engine)
        pieces = [await anext(document)]
        await engine.releases.delete_project(INDEX, BIG, principal=Principal(name="root"))
        pieces += [piece async for piece in document]
        assert b"".join(pieces).count(b"x" * DESCRIPTION) == VERSIONS
