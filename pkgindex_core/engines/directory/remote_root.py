"""`RemoteRoot`, a `Root` at any fsspec URL, such as a bucket. It is listed at most every `list_seconds`; a file is downloaded to be read.

Object stores report no changes, and a listing of a large bucket takes many requests. So a new file appears within `list_seconds`, or at once when
the project is refreshed. All calls of fsspec run in workers.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import fsspec

from pkgindex_core.clock import Clock
from pkgindex_core.engines.directory.listing import Entry, RootListing, project_of
from pkgindex_core.engines.directory.root import Changed, FileMove, NewFile, Root
from pkgindex_core.engines.directory.walking import GRAIN_SECONDS, LEFTOVER
from pkgindex_core.errors import PkgIndexError, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.single_flight import Flight
from pkgindex_core.tools.tasks import Tasks
from pkgindex_core.tools.workers import in_worker

_NAMED: Final = ("ETag", "etag", "md5Hash", "content_settings")
_MODIFIED: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")

Value = TypeVar("Value")
_log = logging.getLogger(__name__)


class RemoteRoot:
    """One URL."""

    def __init__(
        self,
        name: str,
        *,
        workers: Executor,
        clock: Clock,
        scratch: Path,
        list_seconds: float,
        storage_options: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.listing = RootListing()
        self.is_listed = False
        self.grain = GRAIN_SECONDS
        self._workers = workers
        self._clock = clock
        self._scratch = scratch
        self._list_seconds = list_seconds
        self._storage_options = storage_options
        self._medium: Any = None
        self._base = ""
        self._listed: float | None = None
        self._tasks = Tasks()
        self._lock = asyncio.Lock()

    def is_current(self, project: ProjectName) -> bool:  # noqa: ARG002  # the role's signature
        return self._listed is not None and self._clock.monotonic() < self._listed + self._list_seconds

    async def update(self, project: ProjectName | None = None, *, again: bool = False) -> None:
        await Flight(self._tasks.start(lambda: self._update(project, again=again))).result()

    async def _update(self, project: ProjectName | None, *, again: bool) -> None:
        asked = self._clock.monotonic()
        async with self._lock:
            if self._listed is not None and (
                self._listed > asked or (not again and self.is_current(project or ProjectName("")))
            ):
                return
            self._listed = None
            now = self._clock.monotonic()
            found = await self._do("list", self._list)
            self.listing.become(found)
            self._listed, self.is_listed = now, True

    def _list(self) -> dict[str, Entry]:
        if self._medium is None:
            self._medium, self._base = fsspec.core.url_to_fs(self.name, **self._storage_options)
            # Object stores replace a file atomically and give it an ETag; other file systems have only times.
            self.grain = 0.0 if self._medium.async_impl or self.name.startswith("memory:") else GRAIN_SECONDS
        self._medium.invalidate_cache()
        entries: dict[str, Entry] = {}
        for path, info in self._medium.find(self._base, detail=True).items():
            below = path[len(self._base) :].strip("/")
            filename = below.rpartition("/")[2]
            project = project_of(filename)
            if project is None or any(part.startswith(".") for part in below.split("/")) or info.get("type") != "file":
                continue
            entries[path] = Entry(path, project, _mark(info), int(info.get("size") or 0), _modified(info))
        if not entries and not self._medium.exists(self._base) and not _is_bucket(self._medium, self._base):
            raise FileNotFoundError(self.name)
        return entries

    @asynccontextmanager
    async def reading(self, entry: Entry) -> AsyncIterator[Path]:
        self._scratch.mkdir(parents=True, exist_ok=True)
        beside = self._scratch / secrets.token_hex(8)
        try:
            await self._do("read a file of", lambda: self._medium.get_file(entry.path, str(beside)))
            if _mark(await self._do("look at", lambda: self._info(entry.path))) != entry.mark:
                raise Changed
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    def place(self, entry: Entry) -> None:  # the role's signature
        """None: no file is on a local disk."""

    async def put(self, new: NewFile, filename: str, *, replaces: Entry | None) -> FileMove:
        target = replaces.path if replaces is not None else f"{self._base}/{filename}"
        if replaces is None and await self._do("look at", lambda: self._medium.exists(target)):
            raise FileExistsError(target)
        self._scratch.mkdir(parents=True, exist_ok=True)
        local = self._scratch / secrets.token_hex(8)
        moved = RemoteMove(self, target, is_new=replaces is None)
        try:
            await new.write(local)
            failpoint("directory.written")
            if replaces is not None:
                await moved.hide()
            beside = f"{target.rpartition('/')[0]}/{LEFTOVER}{secrets.token_hex(8)}"
            await self._do("write to", lambda: self._medium.put_file(str(local), beside))
            await self._do("write to", lambda: self._medium.mv(beside, target))
        except BaseException:
            with suppress(PkgIndexError):
                await moved.undo()
            raise
        finally:
            local.unlink(missing_ok=True)
        failpoint("directory.placed")
        self._listed = None
        return moved

    async def remove(self, entry: Entry) -> FileMove:
        moved = RemoteMove(self, entry.path, is_new=False)
        await moved.hide()
        failpoint("directory.hidden")
        self._listed = None
        return moved

    def _info(self, path: str) -> Mapping[str, Any]:
        self._medium.invalidate_cache()
        info: Mapping[str, Any] = self._medium.info(path)
        return info

    async def _do(self, what: str, function: Callable[[], Value]) -> Value:
        try:
            return await in_worker(self._workers, function)
        except PkgIndexError:
            raise
        except Exception as error:  # each client library has its own errors
            _log.warning("cannot %s %s: %s", what, self.name, error)
            raise Unavailable(f"cannot {what} the directory of the index: {type(error).__name__}") from error

    async def close(self) -> None:
        await self._tasks.close(grace=1.0)


class RemoteMove:
    """An object that was put or hidden. The previous object has a hidden name until the move is kept or undone."""

    def __init__(self, root: RemoteRoot, target: str, *, is_new: bool) -> None:
        self._root = root
        self._target = target
        self._is_new = is_new
        self._before = ""

    async def hide(self) -> None:
        before = f"{self._target.rpartition('/')[0]}/{LEFTOVER}{secrets.token_hex(8)}"
        medium = self._root._medium
        await self._root._do("move a file of", partial(medium.mv, self._target, before))
        self._before = before

    async def keep(self) -> None:
        if self._before:
            await self._root._do("remove a file of", partial(self._root._medium.rm_file, self._before))

    async def undo(self) -> None:
        medium = self._root._medium
        if self._before:
            await self._root._do("move a file of", partial(medium.mv, self._before, self._target))
        elif self._is_new and await self._root._do("look at", partial(medium.exists, self._target)):
            await self._root._do("remove a file of", partial(medium.rm_file, self._target))


def _is_bucket(medium: Any, base: str) -> bool:
    """Whether the URL is a prefix in an existing bucket. A prefix is not a directory: it needs no objects to exist."""
    return bool(getattr(medium, "async_impl", False)) and medium.exists(base.partition("/")[0])


def _mark(info: Mapping[str, Any]) -> str:
    named = next((str(info[key]) for key in _NAMED if info.get(key)), "")
    return f"{info.get('size')}-{_modified(info)}-{named}"


def _modified(info: Mapping[str, Any]) -> float:
    """Seconds since the epoch; 0 when unknown."""
    for key in _MODIFIED:
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return 0.0


if TYPE_CHECKING:
    _: type[Root] = RemoteRoot
    _also: type[FileMove] = RemoteMove
