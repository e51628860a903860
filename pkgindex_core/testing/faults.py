"""File operations that fail on purpose at the n-th call, once or from then on.

    operations = FaultyFileOperations(errno.EIO, at=7)
    store = LocalBlobs(root, clock=clock, workers=workers, operations=operations)

Run a scenario once with `at=0` to learn from `calls` how many calls it makes, then once for each. A failing call
does what a real one may do before it fails: a write stores half, a close closes. With `late=True` it does all of its
work and then fails, like a network file system that loses an answer.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

from pkgindex_core.engines.local.file_operations import FileOperations

OPERATIONS: Final = tuple(name for name in vars(FileOperations) if not name.startswith("_"))
"""The names of all operations, new ones included."""


class Killed(BaseException):
    """The process died here. A `BaseException`, so that `except Exception` does not catch it."""


class UnsyncedFileOperations(FileOperations):
    """File operations that do not wait for the disk, for tests with thousands of calls and no power cut."""

    def sync(self, descriptor: int) -> None:
        os.fstat(descriptor)  # a closed descriptor is still an error

    def sync_directory(self, descriptor: int) -> None:
        os.fstat(descriptor)


class FaultyFileOperations(UnsyncedFileOperations):
    """Fails with an errno, or dies, at call number `at` (from 1), and at all later ones if `lasting`."""

    def __init__(self, failure: int | type[Killed], *, at: int = 0, lasting: bool = False, late: bool = False) -> None:
        self.calls = 0
        self.failed: list[str] = []
        """The names of the operations that failed."""
        self._failure = failure
        self._at = at
        self._lasting = lasting
        self._late = late
        self._lock = threading.Lock()

    def fail_at(self, at: int, failure: int | type[Killed] | None = None, *, lasting: bool | None = None) -> None:
        """Count from here, and fail at the `at`-th call, with other settings if given."""
        self.calls, self._at = 0, at
        self._failure = self._failure if failure is None else failure
        self._lasting = self._lasting if lasting is None else lasting
        self.failed.clear()

    def heal(self) -> None:
        """Stop failing, and go on counting calls."""
        self._at = 0

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in OPERATIONS:
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            if not self._is_due(name):
                return found(*arguments, **options)
            _do_in_part(self, name, arguments, options, late=self._late)
            if isinstance(self._failure, int):
                raise OSError(self._failure, os.strerror(self._failure))
            raise self._failure

        return call

    def _is_due(self, name: str) -> bool:
        with self._lock:
            self.calls += 1
            due = bool(self._at) and (self.calls >= self._at if self._lasting else self.calls == self._at)
            if due:
                self.failed.append(name)
            return due


def _do_in_part(
    operations: FileOperations, name: str, arguments: tuple[Any, ...], options: dict[str, Any], *, late: bool
) -> None:
    """Do what the kernel may have done when it reports an error."""
    match name:
        case "close":  # Linux has released the descriptor whatever close() says
            FileOperations.close(operations, *arguments)
        case "write" if not late:
            descriptor, data = arguments
            FileOperations.write(operations, descriptor, bytes(data)[: len(data) // 2])
        case "create" | "open" | "open_directory" if late:  # the caller does not get the descriptor, so it is closed
            os.close(getattr(FileOperations, name)(operations, *arguments, **options))
        case _ if late:
            getattr(FileOperations, name)(operations, *arguments, **options)
        case _:
            return


def everything_under(root: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path relative to it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
