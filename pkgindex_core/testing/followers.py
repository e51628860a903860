"""The contract suite of `Follower`.

    class TestMyFollower(FollowerContract):
        async def begin(self): ...                     # what the follower acts on, with nothing done
        async def open_follower(self, context): return MyFollower(context)
        def done(self): ...                            # back door: the names of the files that it acted on, in order

The suite commits files to one index. The configuration that `begin` returns makes the follower act on that index.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pkgindex_core.changes import PutFile, PutIndex, PutUser
from pkgindex_core.clock import SystemClock
from pkgindex_core.engines.memory.blobs import MemoryBlobs
from pkgindex_core.engines.memory.index import MemoryIndex
from pkgindex_core.hookspecs import Context
from pkgindex_core.models import Event, IndexConfig, User
from pkgindex_core.protocols import Follower
from pkgindex_core.testing.index_cases.values import DEMO, DEV, START, hosted
from pkgindex_core.testing.needed import pytest, pytest_asyncio

_PATIENCE: Final = 20.0
"""Seconds in which a follower must notice a commit."""
_A_MOMENT: Final = 0.005
_A_WHILE: Final = 0.2
"""Seconds to wait for acts that must not come."""


@pytest.mark.asyncio
class FollowerContract:
    """Subclass, name it `Test…`, and provide the follower."""

    context: Context
    task: asyncio.Task[None]
    """The task of the running follower, or of the last one."""

    async def begin(self) -> IndexConfig:
        """Start what the follower acts on. Returns the configuration of the index `ann/dev`."""
        return IndexConfig(name=DEV)

    async def end(self) -> None:
        """Stop it. No follower runs by then."""

    async def open_follower(self, context: Context) -> Follower:
        """A follower over the store and the directory of the context, which an earlier one may have used."""
        raise NotImplementedError

    def done(self) -> Sequence[str]:
        """The names of the files that were acted on, in order and with repetitions, without asking the follower."""
        raise NotImplementedError

    @pytest_asyncio.fixture(autouse=True)
    async def _a_store(self, tmp_path: Path) -> AsyncIterator[None]:
        clock = SystemClock()
        self.store, blobs = MemoryIndex(clock), MemoryBlobs(clock=clock, spools=tmp_path / "staging")
        data = tmp_path / "data"
        data.mkdir(mode=0o700)
        with ThreadPoolExecutor(2) as workers:
            self.context = Context(data=data, clock=clock, workers=workers, index_store=self.store, blob_store=blobs)
            config = await self.begin()
            await self.store.apply([PutUser(User(name="ann")), PutIndex(config)], who="[test]")
            yield
            await self.end()
            await self.store.close()
            await blobs.close()

    async def upload(self, *filenames: str) -> None:
        """Commit files as uploads of ann, one commit each."""
        for filename in filenames:
            event = Event(what="upload", at=START, who="ann", target=DEV)
            file = replace(hosted(filename), version=filename.split("-")[1], history=(event,))
            await asyncio.wait_for(self.store.apply([PutFile(DEV, DEMO, file)], who="ann"), _PATIENCE)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Run a follower, as a process does."""
        follower = await self.open_follower(self.context)
        self.task = task = asyncio.create_task(follower.follow())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, _PATIENCE)
            await follower.close()

    async def acted_on(self, *filenames: str) -> None:
        """Wait until exactly these files were acted on."""
        for _ in range(int(_PATIENCE / _A_MOMENT)):
            if set(filenames) <= set(self.done()):
                break
            assert not self.task.done(), "a follower follows until it is cancelled"
            await asyncio.sleep(_A_MOMENT)
        assert set(self.done()) == set(filenames)

    async def begun(self) -> None:
        """Run a follower for the first time, until it has acted on a file and so has a place in the log."""
        async with self.following():
            await asyncio.sleep(_A_WHILE)
            await self.upload("demo-0-first.zip")
            await self.acted_on("demo-0-first.zip")
            await asyncio.sleep(_A_WHILE)

    async def test_what_is_committed_is_acted_on_in_order(self) -> None:
        async with self.following():
            await asyncio.sleep(_A_WHILE)
            names = [f"demo-{number}.zip" for number in range(30)]
            await self.upload(*names)
            await self.acted_on(*names)
            assert list(dict.fromkeys(self.done())) == names
            assert not self.task.done(), "a follower follows until it is cancelled"

    async def test_a_restart_leaves_nothing_out_and_does_not_repeat_everything(self) -> None:
        await self.begun()
        missed = [f"demo-{number}.zip" for number in range(5)]
        await self.upload(*missed)
        async with self.following():
            await self.acted_on("demo-0-first.zip", *missed)
            await asyncio.sleep(_A_WHILE)
        assert self.done().count("demo-0-first.zip") == 1
        async with self.following():
            await asyncio.sleep(_A_WHILE)
        assert sorted(self.done()) == sorted(["demo-0-first.zip", *missed])

    async def test_killed_at_any_moment_everything_is_done_at_least_once(self) -> None:
        await self.begun()
        names = [f"demo-{number}.zip" for number in range(20)]
        for name in names:
            async with self.following():
                await self.upload(name)
                for _ in range(len(name) + names.index(name)):
                    await asyncio.sleep(0)
        async with self.following():
            await self.acted_on("demo-0-first.zip", *names)

    async def test_following_ends_at_once_and_closing_twice_is_closing(self) -> None:
        follower = await self.open_follower(self.context)
        task = asyncio.create_task(follower.follow())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, _PATIENCE)
        await follower.close()
        await follower.close()
