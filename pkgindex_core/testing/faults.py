"""File operations that fail on purpose: at the n-th call, once or from then on.

    operations = FaultyFileOperations(errno.EIO, at=7)
    store = LocalBlobs(root, clock=clock, workers=workers, operations=operations)

Run a scenario once with `at=0` to learn from `calls` how many calls it makes, then once for each. A failing call
does what the real one may have done before it failed: a write stores half, a close closes. With `late=True` it
does everything, and then says that it failed, as a network file system does that loses an answer.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

from pkgindex_core.engines.local.file_operations import FileOperations

OPERATIONS: Final = tuple(name for name in vars(FileOperations) if not name.startswith("_"))
"""Every operation there is; a new one is injected into without anybody remembering to."""


class Killed(BaseException):
    """The process died here: nothing cleans up after it, whatever it catches."""


class UnsyncedFileOperations(FileOperations):
    """Everything but waiting for the disk: for tests that no real power cut follows, and that make thousands of calls."""

    def sync(self, descriptor: int) -> None:
        os.fstat(descriptor)  # a descriptor that is not open is still an error

    def sync_directory(self, descriptor: int) -> None:
        os.fstat(descriptor)


class FaultyFileOperations(UnsyncedFileOperations):
    """Fails with an errno, or dies, at call number `at` (from 1), and at all later ones if `lasting`."""

    def __init__(self, failure: int | type[Killed], *, at: int = 0, lasting: bool = False, late: bool = False) -> None:
        self.calls = 0
        self.failed: list[str] = []
        """The operations that were made to fail."""
        self._failure = failure
        self._at = at
        self._lasting = lasting
        self._late = late
        self._lock = threading.Lock()

    def fail_at(self, at: int, failure: int | type[Killed] | None = None, *, lasting: bool | None = None) -> None:
        """Count from here, and fail at the `at`-th call; in another way, if said."""
        self.calls, self._at = 0, at
        self._failure = self._failure if failure is None else failure
        self._lasting = self._lasting if lasting is None else lasting
        self.failed.clear()

    def heal(self) -> None:
        """Fail no more; the calls go on being counted."""
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
    """What the kernel may have done when it reports an error."""
    match name:
        case "close":  # Linux has released the descriptor whatever close() says
            FileOperations.close(operations, *arguments)
        case "write" if not late:
            descriptor, data = arguments
            FileOperations.write(operations, descriptor, bytes(data)[: len(data) // 2])
        case "create" | "open" | "open_directory" if late:  # a descriptor that nobody was told of does not exist
            os.close(getattr(FileOperations, name)(operations, *arguments, **options))
        case _ if late:
            getattr(FileOperations, name)(operations, *arguments, **options)
        case _:
            return


def everything_under(root: Path) -> dict[str, bytes]:
    """Every file below a directory, by its path relative to it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
