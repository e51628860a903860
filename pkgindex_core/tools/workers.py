"""Runs blocking work outside the event loop: disks, hashing, decoding, compression.

`loop.run_in_executor` chains two kinds of futures, which takes as long as the switch of threads itself. Here the worker hands its outcome to
the event loop directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import Any, TypeVar, TypeVarTuple

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


async def in_worker(workers: Executor, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
    """Run a blocking function in one of the engine's threads, and return its result.

    Cancelling the caller does not stop a function that has begun.
    """
    return await begun(workers, function, *arguments)


def begun(
    workers: Executor, function: Callable[[*Arguments], Result], *arguments: *Arguments
) -> asyncio.Future[Result]:
    """Begin the same, and return its future, which is cancelled if the workers close before its turn. Raises RuntimeError if they are closed."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    workers.submit(_run, loop, future, function, arguments).add_done_callback(partial(_dropped, loop, future))
    return future


def aside(function: Callable[[*Arguments], Result], *arguments: *Arguments) -> asyncio.Future[Result]:
    """Begin a blocking function that may never return. Its thread is its own, and neither the engine nor the end of the process waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    Thread(target=_run, args=(loop, future, function, arguments), name="pkgindex-aside", daemon=True).start()
    return future


def _run(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    if future.cancelled():  # before its turn came
        return
    result, error = None, None
    try:
        result = function(*arguments)
    except BaseException as raised:
        error = raised
    with suppress(RuntimeError):  # the loop is closed, and its tasks with it
        loop.call_soon_threadsafe(_settle, future, result, error)
    error = None  # its traceback refers to this frame


def _dropped(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], turn: Future[None]) -> None:
    if turn.cancelled():
        with suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(future.cancel)


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
