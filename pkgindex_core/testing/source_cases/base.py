"""What every case has: a source over stores in memory, a clock, and back doors to what the content comes from.

The stores are those that an engine gives to sources: what was learned shows at once and is stored when the suite says `settle`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

import pytest
import pytest_asyncio

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
"""Seconds after which a source asks an upstream again that was in trouble."""
_NEVER = 600.0
"""Seconds for which nothing that was learned is stored by itself."""
_PATIENCE = 10.0
"""Seconds for which work may take to end once its source is closed."""

Value = TypeVar("Value")


@pytest.mark.asyncio
class SourceCases:
    """The part of the contract that a subclass fills in."""

    upstream: ClassVar[Literal["none", "there", "unreachable"]]
    """Where projects come from. `none`: what is stored is all there is. `there`: an upstream that can be asked and can be away.
    `unreachable`: one that the source can never ask; `publish` then stores, as whoever could ask it once did."""
    stays_current: ClassVar[bool] = True
    """Whether a project that was looked at is current for a while, and nobody is asked about it."""
    lists_names: ClassVar[bool] = True
    """Whether all projects are listed. Otherwise those that somebody asked for are, and the list says that it is partial."""
    fetches: ClassVar[bool] = False
    """Whether the bytes of a file, and its metadata, are elsewhere until somebody wants them."""
    streams: ClassVar[bool] = False
    """Whether bytes that are elsewhere can be read while they are on their way; otherwise `open` waits until they are here."""
    redirects: ClassVar[bool] = False
    """Whether clients are sent elsewhere for bytes that are not here."""
    takes_uploads: ClassVar[bool] = False
    """Whether `put` takes anything."""
    counts: ClassVar[bool] = False
    """Whether `asked` counts."""

    clock: ManualClock
    store: IndexBehind
    blobs: MemoryBlobs
    """The medium within the blob store of the context: what lies in it is stored."""
    context: Context
    """With both stores."""
    index: IndexConfig
    source: Source

    async def begin(self) -> IndexConfig:
        """Start what the content comes from, with nothing in it. Returns the configuration of the index `INDEX`."""
        raise NotImplementedError

    async def end(self) -> None:
        """Stop it; the source is closed."""

    async def open_source(self, context: Context) -> Source:
        raise NotImplementedError

    async def publish(self, project: ProjectName, *built: BuiltFile) -> None:
        """Add files to a project, past the source; without files a project is begun. A file without `metadata` announces none."""
        raise NotImplementedError

    async def withdraw(self, project: ProjectName) -> None:
        """Take a project away, past the source."""
        raise NotImplementedError

    async def go_away(self) -> None:
        """Have the upstream give no answer. Nothing to do without one."""

    async def come_back(self) -> None: ...

    def damage(self, built: BuiltFile, data: bytes | None) -> None:
        """Put other bytes in the place of a file that is there, or none. Where nothing is fetched the blob store has them."""
        if data is None:
            del self.blobs.blobs[built.sha256]
        else:
            self.blobs.blobs[built.sha256] = (data, 0.0)

    def asked(self) -> int:
        """How many questions the upstream got."""
        return 0

    @pytest_asyncio.fixture(autouse=True)
    async def _source(self, tmp_path: Path) -> AsyncIterator[None]:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(clock=self.clock, staging=tmp_path / "staging")
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
        """Fail on work that a closed source goes on with. What answers it at the other end may take a moment to notice."""
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        if left:
            _, going_on = await asyncio.wait(left, timeout=_PATIENCE)
            assert not going_on, "work goes on although the source is closed"

    # Shorthand.

    async def settle(self) -> None:
        """Wait until what was learned is stored."""
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
        """Refresh, and check what each outcome promises of the store."""
        freshness = await self.source.refresh(self.index, project, await self.standing(project), again=again)
        assert (await self.standing(project)).holds is (freshness.state != "absent")
        if freshness.state == "stale":
            assert freshness.reason
            assert not await self.is_current(project)
        await self.settle()
        assert (await self.standing(project)).holds is (freshness.state != "absent")
        return freshness

    async def outcome(self, project: ProjectName, *, again: bool = False) -> str:
        """The state after a refresh; `unknown` when nothing is stored and nothing can be said, and then nothing was stored of it."""
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
        """Publish a file, have the project refreshed, and return the file as the store has it."""
        await self.publish(project, built)
        await self.refreshed(project, again=True)
        return (await self.files(project))[built.filename]

    async def opened(self, file: File, project: ProjectName = DEMO) -> Opened:
        """Open a file whose bytes are wanted here."""
        return await self.source.open(self.index, project, file, elsewhere=False)

    async def receive(self, file: File, into: bytearray, project: ProjectName = DEMO) -> None:
        """Open a file and read it as a client would, whatever comes of it."""
        opened = await self.opened(file, project)
        match opened:
            case OnDisk(blob):
                assert file.size in {None, blob.size}
                assert file.sha256 in {None, blob.sha256}
                reading = self._behind.read(blob.sha256)
            case Arriving(arriving):
                reading = arriving.read()
            case other:
                raise AssertionError(f"the bytes were wanted here, and not {other}")
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
        """What is read under the blob that the source names, at once and once it is stored."""
        blob = await self.source.metadata(self.index, project, file)
        read = b"".join([chunk async for chunk in self._behind.read(blob.sha256)])
        await self.settle()
        data = self.blobs.blobs[blob.sha256][0]
        assert (sha256_of(data), len(data)) == (blob.sha256, blob.size)
        assert read == data
        return data

    async def cost(self, work: Awaitable[Value]) -> tuple[int, Value]:
        """How many questions the upstream got for it, and what came of it."""
        before = self.asked()
        value = await work
        return self.asked() - before, value


async def told(names: Names, after: str = "") -> list[ProjectName]:
    """The names behind a name, each once and in order."""
    rows = [row.name async for batch in names.read(after) for row in batch]
    assert rows == sorted(set(rows))
    assert all(row > after for row in rows)
    return rows


async def some_turns(turns: int) -> None:
    """Let the loop turn, so that work that was begun is under way."""
    for _ in range(turns):
        await asyncio.sleep(0)
