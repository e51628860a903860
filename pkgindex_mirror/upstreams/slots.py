"""A number of slots, for which others wait in turn. It tells how many are in use, and how many wait."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Slots:
    """`async with slots:` waits for one."""

    def __init__(self, number: int) -> None:
        self._free = asyncio.Semaphore(number)
        self.used = 0
        self.waiting = 0

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.used += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.used -= 1
        self._free.release()
