"""Runs blocking work outside the event loop: disks, hashing, decoding, compression."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


async def in_worker(workers: Executor, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Run a blocking function in one of the engine's threads, and return its result.

    Cancelling the caller does not stop a function that has begun.
    """
    return await asyncio.get_running_loop().run_in_executor(workers, function, *arguments)
