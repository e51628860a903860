"""Connections that read: one for the event loop's thread, and one for each of a few threads.

Reading one row takes less time than a thread switch, so bounded reads run in the event loop's thread, on a connection of its own. Reads
that may return many rows run in a small pool of threads that nothing else uses.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import apsw

from pkgindex_core.engines.sqlite.database import (
    POINT_CACHE_KIB,
    SCAN_CACHE_KIB,
    UNREADABLE,
    closed,
    open_reader,
    translated,
    translation,
)
from pkgindex_core.engines.sqlite.queries import Reader

THREADS: Final = 3

_Result = TypeVar("_Result")


class Readers:
    def __init__(self, path: Path) -> None:
        self._path = Path(path.name)  # for messages, which clients see: without the directory
        self._here = Reader(open_reader(path, cache_kib=POINT_CACHE_KIB))
        self._idle: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        for _ in range(THREADS):
            self._idle.put(Reader(open_reader(path, cache_kib=SCAN_CACHE_KIB)))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sqlite-reader")
        self._closed = False

    def here(self, read: Callable[[Reader], _Result]) -> _Result:
        """Run a short, bounded read in the event loop's thread."""
        if self._closed:
            raise closed()
        try:
            return read(self._here)
        except (apsw.Error, *UNREADABLE) as error:
            raise translation(error, self._path) from error

    async def in_thread(self, read: Callable[[Reader], _Result]) -> _Result:
        """Run a read that may be long."""
        if self._closed:
            raise closed()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._with_idle, read)

    def _with_idle(self, read: Callable[[Reader], _Result]) -> _Result:
        reader = self._idle.get()  # never waits: there are as many connections as threads
        try:
            with translated(self._path):
                return read(reader)
        finally:
            self._idle.put(reader)

    def close(self) -> None:
        """Wait for running reads, then close every connection; blocks."""
        self._closed = True
        self._threads.shutdown(wait=True)
        self._here.close()
        for _ in range(THREADS):
            self._idle.get().close()
