"""Named files in a local directory. A power cut leaves the old file or the new one.

A file is written beside its place, synchronised, renamed, and its directory synchronised. Directories are 0700 and files 0600.
A lock admits one process at a time, and ends with the process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pkgindex_core.engines.local.file_operations import FileOperations, in_worker
from pkgindex_core.errors import Conflict
from pkgindex_core.protocols.named_files import NamedFiles

Result = TypeVar("Result")

_LOCK: Final = ".lock"
_DRAFT: Final = ".draft"


class LocalNamedFiles:
    """`NamedFiles` below a directory. `subject` is what they are, for messages: "this backup"."""

    def __init__(self, root: Path, *, subject: str, workers: Executor) -> None:
        self._root = root
        self._subject = subject
        self._workers = workers
        self._operations = FileOperations()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        descriptor = await self._in_worker("opening the lock", self._locked)
        if descriptor is None:
            raise Conflict(f"another run works on {self._subject} now", hint="wait until it has ended")
        try:
            yield
        finally:
            self._operations.close(descriptor)

    async def names(self, directory: str = "") -> Sequence[str]:
        try:
            listed = await self._in_worker(
                "listing files", partial(self._operations.list_directory, self._root / directory)
            )
        except _Absent:
            return []
        return sorted(name for name, _ in listed if not name.startswith("."))

    async def read(self, path: str) -> bytes | None:
        try:
            return await self._in_worker("reading a file", (self._root / path).read_bytes)
        except _Absent:
            return None

    async def write(self, path: str, data: bytes) -> None:
        await self._in_worker("writing a file", partial(self._write, self._root / path, data))

    async def remove(self, path: str) -> None:
        with suppress(_Absent):
            await self._in_worker("removing a file", partial(self._remove, self._root / path))

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    async def _in_worker(self, doing: str, function: Callable[[], Result]) -> Result:
        def run() -> Result:
            try:
                return function()
            except FileNotFoundError as error:
                raise _Absent from error

        return await in_worker(self._workers, doing, run, place=self._subject)

    def _locked(self) -> int | None:
        self._make(self._root)
        with suppress(FileExistsError):
            self._operations.close(self._operations.create(self._root / _LOCK))
        descriptor = self._operations.open(self._root / _LOCK)
        if self._operations.lock(descriptor, wait=False):
            return descriptor
        self._operations.close(descriptor)
        return None

    def _write(self, target: Path, data: bytes) -> None:
        self._make(target.parent)
        draft = target.with_name(f"{_DRAFT}-{target.name}")
        with suppress(FileNotFoundError):  # a killed process has left it
            self._operations.unlink(draft)
        descriptor = self._operations.create(draft)
        try:
            self._operations.write(descriptor, data)
            self._operations.sync(descriptor)
        except BaseException:
            with suppress(OSError):
                self._operations.unlink(draft)
            raise
        finally:
            self._operations.close(descriptor)
        directory = self._operations.open_directory(target.parent)
        try:
            self._operations.rename(draft, target.name, directory)
            self._operations.sync_directory(directory)
        finally:
            self._operations.close(directory)

    def _remove(self, target: Path) -> None:
        self._operations.unlink(target)
        self._sync(target.parent)

    def _make(self, directory: Path) -> None:
        """Make a private directory with those above it, durably."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        self._operations.make_directory(directory)
        self._sync(directory.parent)

    def _sync(self, directory: Path) -> None:
        descriptor = self._operations.open_directory(directory)
        try:
            self._operations.sync_directory(descriptor)
        finally:
            self._operations.close(descriptor)


class _Absent(Exception):
    """A file or directory is not there. Not an OSError, which would be translated."""


if TYPE_CHECKING:
    _: type[NamedFiles] = LocalNamedFiles
