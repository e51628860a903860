"""Blobs from one store into another, a few side by side, each compared with its name before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from pkgindex_core.digests import Sha256
from pkgindex_core.errors import Corrupt
from pkgindex_core.protocols import BlobStore

T = TypeVar("T")

_AT_ONCE: Final = 4
"""Each waits for the disk twice."""


async def copy_blob(source: BlobStore, target: BlobStore, key: Sha256) -> int:
    """Copy one blob; return its size. `Missing` when the source does not have it, `Corrupt` when its bytes are others."""
    async with target.stage() as stage:
        async for chunk in source.read(key):
            await stage.write(chunk)
        if stage.hexdigest() != key:
            raise Corrupt(f"the blob {key} has other bytes than its name says")
        return (await stage.keep()).size


async def side_by_side(items: Iterable[T], each: Callable[[T], Awaitable[None]]) -> None:
    """Do something with each. After a failure nothing new is begun, and the first one is raised when all have ended."""
    turns = asyncio.Semaphore(_AT_ONCE)
    failures: list[Exception] = []

    async def one(item: T) -> None:
        try:
            await each(item)
        except Exception as error:
            failures.append(error)
        finally:
            turns.release()

    async with asyncio.TaskGroup() as tasks:
        for item in items:
            await turns.acquire()
            if failures:
                break
            tasks.create_task(one(item))
    if failures:
        raise failures[0]
