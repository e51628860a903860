"""Works on the snapshots of an index, over an engine of its own, for a command that is not asynchronous itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

from pkgindex_core.commands.stores import opened
from pkgindex_core.errors import Refused
from pkgindex_mirror.commands.mirror_orders import IndexPlace
from pkgindex_mirror.commands.snapshot_work import SnapshotWork, Work
from pkgindex_mirror.engine_target.index_snapshots import IndexSnapshot, IndexSnapshots
from pkgindex_mirror.engine_target.opening import index_snapshots
from pkgindex_mirror.engine_target.promoted_indexes import PromotedIndexes
from pkgindex_mirror.snapshots.listings import FileChange, SnapshotFile

_Each = TypeVar("_Each")


class IndexWorkedOn:
    """A `SnapshotWork`. `runner` has the loop of the engine."""

    def __init__(self, runner: asyncio.Runner, snapshots: IndexSnapshots, names: PromotedIndexes) -> None:
        self._run = runner.run
        self._snapshots = snapshots
        self._names = names

    def current(self) -> dict[str, int]:
        return self._run(self._names.current())

    def numbers(self) -> Sequence[int]:
        return [each.number for each in self.heads()]

    def heads(self) -> Sequence[IndexSnapshot]:
        return self._run(self._snapshots.kept())

    def head(self, number: int) -> IndexSnapshot:
        return self._run(self._snapshots.snapshot(number))

    def number_of(self, word: str) -> int:
        names = self.current()
        index = str(self._names.name_of(word)) if "/" in word else word
        return self._run(self._snapshots.number_of(index.removeprefix(self._names.prefix), names))

    def files(self, number: int) -> Iterator[SnapshotFile]:
        return self._each(self._snapshots.files(self.head(number))) if number else iter(())

    def changes(self, old: int, new: int) -> Iterator[FileChange]:
        return self._each(self._snapshots.changes(self.head(old), self.head(new)))

    def take(self, name: str, *, serial: int | None) -> IndexSnapshot:
        if serial is not None:
            raise Refused("an index knows its serial", hint="leave --serial out")
        return self._run(self._snapshots.take(name))

    def needed(self) -> dict[int, str]:
        return dict.fromkeys(self._run(self._names.needed()), "an index shows it, or goes back to it")

    def drop(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._run(self._snapshots.drop(numbers))

    def promote(self, number: int, name: str) -> str:
        return self._run(self._names.promote(number, name))

    def roll_back(self, name: str) -> int:
        return self._run(self._names.roll_back(name))

    def withdraw(self, name: str) -> None:
        self._run(self._names.withdraw(name))

    def _each(self, items: AsyncIterator[_Each]) -> Iterator[_Each]:
        async def following() -> _Each | None:
            return await anext(items, None)

        while (item := self._run(following())) is not None:
            yield item


@contextmanager
def working_on_index(place: IndexPlace, work: Work) -> Iterator[SnapshotWork]:
    """Hold the turn for the work, and finish what a command left that died. Reading needs none."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> IndexWorkedOn:
            engine = await stack.enter_async_context(opened(place.settings, mirrors=True))
            snapshots = index_snapshots(engine, place.index)
            names = PromotedIndexes(engine, snapshots)
            if work != "read":
                await stack.enter_async_context(names.turn())
                await names.recover()
            if work in {"take", "drop"}:
                await stack.enter_async_context(snapshots.turn.held())
            return IndexWorkedOn(runner, snapshots, names)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())
