"""Work that is done while a lease is held: by one at a time, and by another one when that one is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pkgindex_core.engines.memory.notes import MemoryNotes
from pkgindex_core.errors import StorageFull
from pkgindex_core.testing.index_cases.values import ManualClock
from pkgindex_core.tools import leases

NAME = "work"
SHORT = 0.03
"""Seconds, of the event loop: renewed every hundredth."""


class World:
    """Notes, and workers that work until they are told to end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.notes = MemoryNotes(self.clock)
        self.working: list[str] = []
        self.end = asyncio.Event()
        self.pauses = 0

    async def work(self, holder: str) -> None:
        self.working.append(holder)
        try:
            await self.end.wait()
        finally:
            self.working.remove(holder)

    async def pause(self) -> None:
        self.pauses += 1
        await asyncio.sleep(0)

    def start(self, holder: str, *, seconds: float = 60.0) -> asyncio.Task[None]:
        return asyncio.create_task(
            leases.while_held(self.notes, NAME, holder, lambda _: self.work(holder), seconds=seconds, pause=self.pause)
        )

    async def until_working(self, *holders: str) -> None:
        async with asyncio.timeout(30):
            while self.working != [*holders]:
                await asyncio.sleep(0)


@pytest.fixture
async def world() -> World:
    return World()


async def test_one_works_and_another_one_waits_until_it_has_ended(world: World) -> None:
    first, second = world.start("a"), world.start("b")
    await world.until_working("a")
    while world.pauses < 3:
        await asyncio.sleep(0)
    assert world.working == ["a"]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await world.until_working("b")
    world.end.set()
    await second
    assert await world.notes.note(leases.KIND, NAME) is None


async def test_a_lease_is_renewed_while_work_goes_on(world: World) -> None:
    task = world.start("a", seconds=SHORT)
    await world.until_working("a")
    first = await world.notes.note(leases.KIND, NAME)
    assert first is not None
    async with asyncio.timeout(30):
        while (note := await world.notes.note(leases.KIND, NAME)) is None or note.version < first.version + 3:
            await asyncio.sleep(SHORT / 10)
    assert world.working == ["a"]
    world.end.set()
    await task


async def test_work_ends_when_the_lease_was_lost(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """As for a machine that slept: by the clock of the store the lease has ended, and another process has it."""
    task = world.start("a", seconds=SHORT)
    await world.until_working("a")
    world.clock.advance(1)
    other = await leases.acquire(world.notes, NAME, "b", seconds=60)
    assert other is not None
    await asyncio.wait_for(task, 30)
    assert world.working == []
    assert "was lost" in caplog.text
    assert await leases.renew(world.notes, other, seconds=60) is not None, "what another one holds is not released"


async def test_work_ends_in_time_when_the_lease_cannot_be_renewed(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    task = world.start("a", seconds=SHORT)
    await world.until_working("a")

    async def full(*_: object, **__: object) -> None:
        raise StorageFull("no room")

    monkeypatch.setattr(world.notes, "put_note", full)
    await asyncio.wait_for(task, 30)
    assert world.working == []
    assert "cannot be renewed now: no room" in caplog.text


async def test_work_ends_in_time_when_the_store_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that hangs: by then another process may have the lease."""
    task = world.start("a", seconds=SHORT)
    await world.until_working("a")

    async def hangs(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    for name in ("put_note", "drop_note"):
        monkeypatch.setattr(world.notes, name, hangs)
    await asyncio.wait_for(task, 30)
    assert world.working == []
    assert "was not renewed in time" in caplog.text


async def test_a_lease_counts_from_before_it_was_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store may have written it long before its answer came."""
    original = world.notes.put_note
    moments: list[float] = []

    async def late(*args: Any, **rest: Any) -> int | None:
        if moments:
            raise StorageFull("no room")
        moments.append(asyncio.get_running_loop().time())
        version = await original(*args, **rest)
        await asyncio.sleep(0.8)
        return version

    monkeypatch.setattr(world.notes, "put_note", late)
    await asyncio.wait_for(world.start("a", seconds=1.0), 30)
    assert asyncio.get_running_loop().time() - moments[0] < 1.1


async def test_what_the_work_raises_is_raised_and_the_lease_is_free(world: World) -> None:
    async def work(_: leases.HeldLease) -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await leases.while_held(world.notes, NAME, "a", work, seconds=60, pause=world.pause)
    assert await leases.acquire(world.notes, NAME, "b", seconds=60) is not None
