"""Background work that pauses between its looks, made step by step in a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Pause = Callable[[float], Awaitable[None]]


@asynccontextmanager
async def steps(work: Callable[[Pause], Coroutine[Any, Any, None]]) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Start the work with a pause of the test's own. Each call lets the work end one pause, and waits for its next one."""
    waiting: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def pause(_: float) -> None:
        step = asyncio.Event()
        waiting.put_nowait(step)
        await step.wait()

    task = asyncio.create_task(work(pause))
    present = await waiting.get()

    async def look() -> None:
        nonlocal present
        present.set()
        async with asyncio.timeout(60):
            present = await waiting.get()

    try:
        yield look
    finally:
        task.cancel()
        await asyncio.wait({task})
