"""The base class of all cases: a source over stores in memory, a clock, and back doors to the content of the source.

The stores are those that an engine gives to sources: what was learned is shown at once, and stored when the suite calls `settle`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

from pkgindex_core.changes import PutIndex, PutUser
from pkgindex_core.digests import sha256_of
from pkgindex_core.engines.behind import BlobsBehind, IndexBehind
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.errors import Unavailable
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import File, IndexConfig, Serial, Standing, User, decode_file
from pkgindex_core.names import IndexName, ProjectName, owner
from pkgindex_core.protocols import Arriving, Freshness, Names, OnDisk, Opened, Source
from pkgindex_core.testing.index_cases.values import DEMO, ManualClock
from pkgindex_core.testing.needed import pytest, pytest_asyncio
from pkgindex_core.testing.wheels import BuiltFile, build_sdist, build_wheel, zip_of

INDEX: Final = IndexName("ann/index")
ABSENT: Final = ProjectName("nobody-has-this")
WHEEL: Final = build_wheel("demo", "1.0")
SDIST: Final = build_sdist("demo", "1.0")
OTHER_WHEEL: Final = build_wheel("other", "1.0")
BARE_WHEEL: Final = BuiltFile(
    filename="demo-3.0-py3-none-any.whl",
    data=zip_of({"demo.py": b""}),
    metadata=b"",
    sha256=sha256_of(zip_of({"demo.py": b""})),
)
"""A wheel without core metadata."""
HOUR: Final = 3600.0
"""Seconds after which a source asks a failing upstream again."""
_NEVER = 600.0
"""Seconds in which the stores do not store learned things by themselves."""
_PATIENCE = 10.0
"""Seconds in which work must end once its source is closed."""

Value = TypeVar("Value")


@pytest.mark.asyncio
class SourceCases:
    """The part of the contract that a subclass fills in."""

    upstream: ClassVar[Literal["none", "there", "unreachable"]]
    """Where projects come from. `none`: from the store only. `there`: from an upstream that may be away. `unreachable`: from an upstream
    that the source cannot ask; `publish` then puts projects into the store."""
    stays_current: ClassVar[bool] = True
    """Whether `is_current` is True after a refresh, until some time passed, and `refresh` then asks no upstream. False for a source that asks
    its upstream each time. A source with the upstream `none` is always current."""
    lists_names: ClassVar[bool] = True
    """Whether `names` has all projects of the upstream. False: it has only those that a client has asked for, and `Names.is_partial` is True."""
    fetches: ClassVar[bool] = False
    """Whether the first `open` and `metadata` of a file fetch its bytes into the blob store. False: the bytes are there, or at a place of the
    source, as soon as the project is known."""
    streams: ClassVar[bool] = False
    """Whether `open` returns `Arriving` for a file that is not stored, so that clients read it while it is fetched. False: `open` returns
    `OnDisk` when the file is stored."""
    redirects: ClassVar[bool] = False
    """Whether `open` returns `Redirect` for a file that is not stored, unless `elsewhere` is False."""
    takes_uploads: ClassVar[bool] = False
    """Whether `put` commits uploads. False: it raises `ReadOnly`."""
    counts: ClassVar[bool] = False
    """Whether `asked` counts requests. The suite then checks that several calls for one thing share one request."""

    clock: ManualClock
    store: IndexBehind
    blobs: MemoryBlobs
    """The inner blob store of the context, which has only stored blobs."""
    context: Context
    """Has both stores."""
    index: IndexConfig
    source: Source

    async def begin(self) -> IndexConfig:
        """Start the origin of the content, empty. Returns the configuration of the index `INDEX`."""
        raise NotImplementedError

    async def end(self) -> None:
        """Stop it. The source is closed by then."""

    async def open_source(self, context: Context) -> Source:
        raise NotImplementedError

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        """Add files to a project, not through the source; without files, add the project. A file without `metadata` announces no sidecar."""
        raise NotImplementedError

    async def withdraw(self, project: ProjectName) -> None:
        """Remove a project, not through the source."""
        raise NotImplementedError

    async def go_away(self) -> None:
        """Make the upstream give no answer. Does nothing if there is none."""

    async def come_back(self) -> None: ...

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        """Replace the bytes of a file, or remove them for None. If nothing is fetched, they are in the blob store."""
        if data is None:
            del self.blobs.blobs[built.sha256]
        else:
            self.blobs.blobs[built.sha256] = (data, 0.0)

    def asked(self) -> int:
        """The number of requests that the upstream got."""
        return 0

    @pytest_asyncio.fixture(autouse=True)
    async def _source(self, tmp_path: Path) -> AsyncIterator[None]:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(clock=self.clock, spools=tmp_path / "staging")
        self._behind = BlobsBehind(self.blobs, clock=self.clock, linger=_NEVER)
        self.store = IndexBehind(MemoryIndex(self.clock), blobs=self._behind, linger=_NEVER)
        with ThreadPoolExecutor(2) as workers:
            self.context = Context(
                data=tmp_path, clock=self.clock, workers=workers, index_store=self.store, blob_store=self._behind
            )
            self.index = await self.begin()
            assert self.index.name == INDEX
            await self.store.apply([PutUser(User(name=owner(INDEX))), PutIndex(self.index)], who="[test]")
            before = asyncio.all_tasks()
            self.source = await self.open_source(self.context)
            yield
            await self.source.close()
            await self.store.close()
            await self._behind.close()
            await self._ended(before)
            await self.end()

    async def _ended(self, before: set[asyncio.Task[object]]) -> None:
        """Fail if work of a closed source goes on. Tasks of the upstream may need a moment to end."""
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if left:
            _, going_on = await asyncio.wait(left, timeout=_PATIENCE)
            assert not going_on, "the work of a closed source must end"

    # Shorthand.

    async def settle(self) -> None:
        """Store what was learned."""
        await self.store.settle()
        await self._behind.settle()

    async def head(self) -> Serial:
        """The last commit, once everything is stored."""
        await self.settle()
        return await self.store.head()

    async def standing(self, project: ProjectName = DEMO) -> Standing:
        (standing,) = await self.store.standings(project, [INDEX])
        return standing

    async def is_current(self, project: ProjectName = DEMO) -> bool:
        return self.source.is_current(self.index, project, await self.standing(project))

    async def refreshed(self, project: ProjectName = DEMO, *, again: bool = False) -> Freshness:
        """Refresh, and check that the store is as the outcome says."""
        freshness = await self.source.refresh(self.index, project, await self.standing(project), again=again)
        assert (await self.standing(project)).holds is (freshness.state != "absent")
        if freshness.state == "stale":
            assert freshness.reason
            assert not await self.is_current(project)
        await self.settle()
        assert (await self.standing(project)).holds is (freshness.state != "absent")
        return freshness

    async def outcome(self, project: ProjectName, *, again: bool = False) -> str:
        """The state after a refresh; `unknown` if it raised `Unavailable`. Checks that nothing is stored then."""
        head = await self.head()
        try:
            return (await self.refreshed(project, again=again)).state
        except Unavailable:
            assert not (await self.standing(project)).holds
            assert await self.head() == head
            return "unknown"

    async def files(self, project: ProjectName = DEMO) -> dict[str, File]:
        page = await self.store.page(INDEX, project)
        assert page is not None
        return {row.filename: decode_file(row.body) for row in page.rows}

    async def published(self, built: BuiltFile, project: ProjectName = DEMO) -> File:
        """Publish a file, refresh the project, and return the file as stored."""
        await self.publish(project, built)
        await self.refreshed(project, again=True)
        return (await self.files(project))[built.filename]

    async def opened(self, file: File, project: ProjectName = DEMO) -> Opened:
        """Open a file without being redirected."""
        return await self.source.open(self.index, project, file, elsewhere=False)

    async def receive(self, file: File, into: bytearray, project: ProjectName = DEMO) -> None:
        """Open a file and read it into `into`, as a client would."""
        opened = await self.opened(file, project)
        match opened:
            case OnDisk(blob):
                assert file.size in {None, blob.size}
                assert file.sha256 in {None, blob.sha256}
                reading = self._behind.read(blob.sha256)
            case Arriving(arriving):
                reading = arriving.read()
            case other:
                raise AssertionError(f"`open` with `elsewhere=False` must give bytes, and gave {other}")
        async for chunk in reading:
            into += chunk
        if isinstance(opened, Arriving):
            await opened.file.finished()
        await self.settle()

    async def bytes_of(self, file: File, project: ProjectName = DEMO) -> bytes:
        received = bytearray()
        await self.receive(file, received, project)
        return bytes(received)

    async def metadata_of(self, file: File, project: ProjectName = DEMO) -> bytes:
        """The metadata that the source names, read at once and again after it is stored."""
        blob = await self.source.metadata(self.index, project, file)
        read = b"".join([chunk async for chunk in self._behind.read(blob.sha256)])
        await self.settle()
        data = self.blobs.blobs[blob.sha256][0]
        assert (sha256_of(data), len(data)) == (blob.sha256, blob.size)
        assert read == data
        return data

    async def cost(self, work: Awaitable[Value]) -> tuple[int, Value]:
        """The number of requests that the upstream got for some work, and the result of the work."""
        before = self.asked()
        value = await work
        return self.asked() - before, value


async def told(names: Names, after: str = "") -> list[ProjectName]:
    """The names after a name. Checks that each comes once and in order."""
    rows = [row.name async for batch in names.read(after) for row in batch]
    assert rows == sorted(set(rows))
    assert all(row > after for row in rows)
    return rows


async def some_turns(turns: int) -> None:
    """Let the event loop turn, so that work begins."""
    for _ in range(turns):
        await asyncio.sleep(0)
