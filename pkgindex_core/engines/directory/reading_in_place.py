"""Reads a file where it lies on a local disk, if it still has its mark."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path

from pkgindex_core.engines.directory.listing import Entry
from pkgindex_core.engines.directory.root import Changed
from pkgindex_core.errors import Unavailable
from pkgindex_core.protocols.sources import mark_of
from pkgindex_core.tools.workers import in_worker

_log = logging.getLogger(__name__)


@asynccontextmanager
async def reading_in_place(workers: Executor, entry: Entry) -> AsyncIterator[Path]:
    """The path of an entry, as `Root.reading` promises it."""
    path = Path(entry.path)
    try:
        await in_worker(workers, _check, path, entry.mark)
        yield path
        await in_worker(workers, _check, path, entry.mark)
    except FileNotFoundError as gone:  # it was removed while it was read
        raise Changed from gone
    except OSError as error:
        _log.warning("%s cannot be read: %s", path, error)
        raise Unavailable(f"{entry.filename} cannot be read: {os.strerror(error.errno or 0)}") from error


def _check(path: Path, mark: str) -> None:
    try:
        found = mark_of(os.lstat(path))
    except FileNotFoundError:
        found = ""
    if found != mark:
        raise Changed
