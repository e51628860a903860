"""The one thread that writes, and group commit.

    apply ─────┐                    BEGIN IMMEDIATE
    apply ─────┼─► queue ─► thread:   one caller's list or notes   … for each that waits
    put_note ──┘                    COMMIT  (one fsync for all)  ─► every caller gets its answer

Each list has its own serial. A list is refused before anything of it is written, so a refusal does not affect the others. A caller that
fails later, for which no savepoint is kept, makes the transaction start again with each caller alone. Callers are answered after COMMIT
has returned. Refusals wait for it too, because a refusal may depend on another caller's change that is not durable yet.

When the medium fails, the transaction is rolled back. If the disk was full, each caller is tried again alone, so that one huge list
that fills it does not fail the small ones. A failed COMMIT may leave complete frames in the WAL, which SQLite would apply after a crash.
So before the next write, a probe transaction overwrites them and proves that the medium works again. Until the probe succeeds every write
is refused, and reads go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import apsw
from msgspec import Struct

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.engines.sqlite.database import UNREADABLE, closed, open_writer, os_translation, translation
from pkgindex_core.engines.sqlite.tables import Tables
from pkgindex_core.errors import PkgIndexError, StorageFull, Unavailable
from pkgindex_core.failpoints import failpoint

if TYPE_CHECKING:
    from pkgindex_core.engines.sqlite.applying import Applying

GROUP_LIMIT: Final = 128
"""Most callers in one transaction."""

_Value = TypeVar("_Value")
_Outcome = object
"""The value of a caller's write, or the exception that it raised."""


class Request(Struct, eq=False):
    """One waiting caller."""

    make: Callable[[], object]
    """Writes, and returns the value for the caller: the last commit, or a value of notes. May be called again after a rollback."""
    is_logged: bool
    """Whether `make` makes commits."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class _MediumFailed(Exception):
    """The transaction was lost; `error` is the answer to its callers."""

    def __init__(self, error: PkgIndexError) -> None:
        super().__init__(str(error))
        self.error = error

    def told(self) -> PkgIndexError:
        """The error with its cause set, since it is handed to another thread without being raised here."""
        self.error.__cause__ = self.__cause__
        return self.error


class _HalfWritten(Exception):
    """A caller of several failed after it had written something. The transaction was rolled back."""


class Writer:
    """Takes lists of changes, and notes, from any number of tasks and commits them in groups."""

    def __init__(
        self, path: Path, clock: Clock, *, made: Callable[[Commit], None], committed: Callable[[], None]
    ) -> None:
        """`made` is called in the writer's thread with what each caller committed, as soon as it is durable.

        `committed` is called in the caller's loop after each group, before its callers go on.
        """
        self._path = Path(path.name)  # for messages, which clients see: without the directory
        self._clock = clock
        self._made_known = made
        self._committed = committed
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._doubtful = False
        self._closing = False
        self._connection = open_writer(path)
        self._tables = Tables(self._connection)
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, changes: Sequence[Change], who: str, require: Sequence[Requirement]) -> Commit:
        """Commit a list, and wait for the answer."""
        return await self._made(lambda: self._applying.commit(changes, who, require), is_logged=True)

    async def replay(self, commits: Sequence[Commit]) -> None:
        """Make commits that another store made, all or none."""
        await self._made(lambda: self._applying.replay(commits), is_logged=True)

    async def write(self, make: Callable[[Tables], _Value]) -> _Value:
        """Write outside of the log, wait until it is durable, and return the value of `make`, which runs in the writer's thread."""
        return await self._made(lambda: make(self._tables), is_logged=False)

    async def _made(self, make: Callable[[], _Value], *, is_logged: bool) -> _Value:
        """Wait for the answer. A cancelled caller leaves the queue if its turn has not come."""
        if self._closing:
            raise closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Value] = loop.create_future()
        self._queue.put(Request(make, is_logged, loop, future))
        return await future

    def refuse_more(self) -> None:
        """Refuse further writes. Called in the callers' thread, so that nothing is queued after the end mark."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    def finish(self) -> None:
        """Wait until all queued writes are answered; blocks."""
        self._thread.join()

    def release(self) -> None:
        self._connection.close()

    @cached_property
    def _applying(self) -> Applying:
        """Made in the writer's thread by the first commit, which loads the rules of changes there."""
        from pkgindex_core.engines.sqlite.applying import Applying

        return Applying(self._tables, self._clock)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group, stopping = self._next_group()
            if group:
                _answer(list(zip(group, self._write(group), strict=True)), self._committed)

    def _next_group(self) -> tuple[list[Request], bool]:
        """Wait for a request, and take the other waiting ones with it."""
        group: list[Request] = []
        stopping = False
        item = self._queue.get()
        while True:
            if item is None:
                stopping = True
            elif not item.future.cancelled():
                group.append(item)
            if len(group) >= GROUP_LIMIT:
                return group, stopping
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, stopping

    def _write(self, group: Sequence[Request]) -> Sequence[_Outcome]:
        try:
            self._prove_medium()
            return self._transaction(group)
        except _HalfWritten:
            return self._write_each(group)
        except _MediumFailed as failure:
            if len(group) > 1 and isinstance(failure.error, StorageFull):
                return self._write_each(group)
            with contextlib.suppress(_MediumFailed):
                self._prove_medium()  # now, because a crash may come before the next write
            return [failure.told()] * len(group)
        except BaseException as error:  # the thread goes on, and its callers get the error
            self._roll_back()
            return [error] * len(group)

    def _write_each(self, group: Sequence[Request]) -> Sequence[_Outcome]:
        return [outcome for request in group for outcome in self._write([request])]

    def _transaction(self, group: Sequence[Request]) -> Sequence[_Outcome]:
        is_logged = any(request.is_logged for request in group)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._tables.begin()
            if is_logged:
                failpoint("commit.begun")
            outcomes = [self._one(request, is_alone=len(group) == 1) for request in group]
            if all(isinstance(outcome, BaseException) for outcome in outcomes):
                self._roll_back()
                return outcomes
            if is_logged:
                failpoint("commit.written")
            else:
                failpoint("notes.written")
            self._end_transaction()
            for outcome in outcomes:
                if isinstance(outcome, Commit):
                    self._made_known(outcome)
        except apsw.Error as error:
            self._roll_back()
            raise _MediumFailed(translation(error, self._path)) from error
        except OSError as error:
            self._roll_back()
            raise _MediumFailed(os_translation(error, self._path)) from error
        try:
            if is_logged:
                failpoint("commit.committed")
            else:
                failpoint("notes.committed")
        except OSError as error:  # after COMMIT: not tried again
            failure = os_translation(error, self._path)
            failure.__cause__ = error
            return [failure] * len(group)
        return outcomes

    def _end_transaction(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except apsw.Error:
            self._doubtful = True
            raise

    def _one(self, request: Request, *, is_alone: bool) -> _Outcome:
        """Make one caller's writes. Raises `_HalfWritten` if they fail in the middle, unless the caller is alone."""
        written = self._connection.total_changes()
        try:
            return request.make()
        except (apsw.ConstraintError, apsw.TooBigError, *UNREADABLE) as error:
            outcome: _Outcome = translation(error, self._path)
        except apsw.Error:
            raise
        except Exception as error:  # a refusal or a defect, which only this caller gets
            outcome = error
        if not is_alone and self._connection.total_changes() != written:
            self._roll_back()
            raise _HalfWritten
        return outcome

    def _prove_medium(self) -> None:
        if not self._doubtful:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            # The row has to change: otherwise SQLite writes no page.
            self._connection.execute("UPDATE medium SET probes = probes + 1")
            self._connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise _MediumFailed(translation(error, self._path)) from error
        except apsw.Error as error:
            self._roll_back()
            raise _MediumFailed(
                Unavailable(
                    f"the index database {self._path} refuses writes since a commit failed: {error}",
                    hint="check the disk; writes succeed again as soon as it works, without a restart",
                )
            ) from error
        self._doubtful = False

    def _roll_back(self) -> None:
        self._tables.forget()
        # After some errors SQLite has rolled back already, and on a broken disk this fails too.
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _answer(outcomes: Sequence[tuple[Request, _Outcome]], committed: Callable[[], None]) -> None:
    """Hand every outcome to its caller's event loop, with one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, _Outcome]]] = {}
    for request, outcome in outcomes:
        by_loop.setdefault(request.loop, []).append((request, outcome))
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_resolve, answers, committed)


def _resolve(answers: Sequence[tuple[Request, _Outcome]], committed: Callable[[], None]) -> None:
    committed()
    for request, outcome in answers:
        if request.future.done():  # cancelled
            continue
        if isinstance(outcome, BaseException):
            request.future.set_exception(outcome)
        else:
            request.future.set_result(outcome)
