"""What tests of static trees share: an engine with packages in it, and what a tree consists of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from pkgindex_core.changes import Change, PutFile, PutRelease
from pkgindex_core.clock import Timestamp
from pkgindex_core.config import Settings
from pkgindex_core.engine import Engine
from pkgindex_core.models import Event, File, Release
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.testing.wheels import BuiltFile, build_wheel
from pkgindex_mirror.static.publishing import Order, publish_from
from pkgindex_mirror.static.reports import PublishReport

DEV = IndexName("root/dev")
NOON = 1_700_000_000_000_000


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Engine]:
    """An engine over SQLite and local files, prepared."""
    async with Engine.open(Settings(data=data), mirrors=False) as engine:
        await engine.prepare()
        yield engine


async def put(
    engine: Engine,
    built: BuiltFile,
    project: str,
    version: str,
    *,
    index: IndexName = DEV,
    summary: str = "",
    minute: int = 0,
) -> File:
    """Have a wheel in an index, with what an upload would keep of it."""
    await engine.blobs.put(built.data)
    sidecar = await engine.blobs.put(built.metadata)
    moment = Timestamp(NOON + minute * 60_000_000)
    file = File(
        filename=built.filename,
        version=version,
        digests={"sha256": built.sha256},
        size=len(built.data),
        upload_time=moment,
        requires_python=">=3.9",
        metadata_sha256=sidecar.sha256,
        history=(Event(what="upload", at=moment, who="anna"),),
    )
    release = Release(version=version, metadata=msgspec.json.encode({"name": project, "summary": summary}))
    name = ProjectName(project)
    await apply(engine, PutFile(index, name, file), PutRelease(index, name, release))
    return file


async def apply(engine: Engine, *changes: Change) -> None:
    await engine.store.apply(changes, who="anna")


async def publish(engine: Engine, tree: Path | str, **order: object) -> PublishReport:
    return await publish_from(engine, Order(index=DEV, target=str(tree), **order))  # type: ignore[arg-type]  # the tests' own words


def contents(tree: Path) -> dict[str, bytes]:
    """Everything in a tree by path, but the lock and the place for what is being written."""
    return {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.relative_to(tree).parts[:2] not in {(".pkgindex", "lock"), (".pkgindex", "new")}
    }


def wheel(project: str, version: str, *, text: str = "") -> BuiltFile:
    return build_wheel(project, version, description=text)
