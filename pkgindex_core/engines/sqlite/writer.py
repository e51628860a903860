"""The one thread that writes, and group commit.

    apply ──┐                    BEGIN IMMEDIATE
    apply ──┼─► queue ─► thread:   SAVEPOINT, one caller's list, RELEASE   … for each that waits
    apply ──┘                    COMMIT  (one fsync for all)  ─► every caller gets its answer

Each list has its own savepoint and serial, so a list that does not fit takes nobody with it. Nobody is answered before
COMMIT returned, not even with a refusal, because a refusal may rest on a neighbour's change that was not durable yet.

When the medium fails, the transaction is rolled back. If several callers shared it, each is tried again by itself: one huge
list that fills the disk must not fail its small neighbours. A COMMIT that failed may have left complete frames in the WAL,
which a crash would bring to life; before anything else is written, a probe transaction overwrites them and proves that the
medium works again. Until it succeeds every write is refused, and reads go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from pkgindex_core.changes import Change, Commit, Requirement
from pkgindex_core.clock import Clock
from pkgindex_core.engines.sqlite.applying import Applying
from pkgindex_core.engines.sqlite.database import UNREADABLE, closed, open_writer, os_translation, translation
from pkgindex_core.errors import PkgIndexError, StorageFull, Unavailable
from pkgindex_core.failpoints import failpoint
from pkgindex_core.rules import change_rules

GROUP_LIMIT: Final = 128
"""Callers in one transaction at most."""

_Outcome = Commit | BaseException


class Request(Struct, eq=False):
    """One caller that waits."""

    make: Callable[[Applying], Commit]
    """Makes the commits, inside the caller's savepoint, and returns the last."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Commit]


class _MediumFailed(Exception):
    """The transaction is gone, with everything in it; `error` is what to tell."""

    def __init__(self, error: PkgIndexError) -> None:
        super().__init__(str(error))
        self.error = error

    def told(self) -> PkgIndexError:
        """The error with its cause, which travels to another thread without being raised in this one."""
        self.error.__cause__ = self.__cause__
        return self.error


class Writer:
    """Takes lists of changes from any number of tasks and commits them in groups."""

    def __init__(
        self, path: Path, clock: Clock, *, made: Callable[[Commit], None], committed: Callable[[], None]
    ) -> None:
        """`made` is called in the writer's thread with what each caller committed, as soon as it is durable.

        `committed` is called in the caller's loop after each group, before its callers go on.
        """
        self._path = Path(path.name)  # for messages: clients read them, and are not told where it lies
        self._clock = clock
        self._made_known = made
        self._committed = committed
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._doubtful = False
        self._closing = False
        self._connection = open_writer(path)
        self._applying = Applying(self._connection, clock)
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def submit(self, changes: Sequence[Change], who: str, require: Sequence[Requirement]) -> Commit:
        """Commit a list, and wait for the answer."""
        return await self._made(
            lambda applying: applying.commit(changes, change_rules.encoded_changes(changes), who, require)
        )

    async def replay(self, commits: Sequence[Commit]) -> None:
        """Make commits of another store again, all or none."""
        await self._made(lambda applying: applying.replay(commits))

    async def _made(self, make: Callable[[Applying], Commit]) -> Commit:
        """Wait for the answer. A caller that is cancelled leaves the queue if its turn has not come, and harms nobody."""
        if self._closing:
            raise closed()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Commit] = loop.create_future()
        self._queue.put(Request(make, loop, future))
        return await future

    def refuse_more(self) -> None:
        """Take nothing from now on. Called in the callers' thread, so that nothing is queued behind the end mark."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    def finish(self) -> None:
        """Wait until everything that was taken is answered; blocks."""
        self._thread.join()

    def release(self) -> None:
        self._connection.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            group, stopping = self._next_group()
            if group:
                _answer(list(zip(group, self._write(group), strict=True)), self._committed)

    def _next_group(self) -> tuple[list[Request], bool]:
        """Wait for the first, take all that wait with it."""
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
        except _MediumFailed as failure:
            if len(group) > 1 and isinstance(failure.error, StorageFull):
                return [outcome for request in group for outcome in self._write([request])]
            with contextlib.suppress(_MediumFailed):
                self._prove_medium()  # now, rather than with the next write: a crash may come first
            return [failure.told()] * len(group)
        except BaseException as error:  # the thread outlives everything, and nobody waits for ever
            self._roll_back()
            return [error] * len(group)

    def _transaction(self, group: Sequence[Request]) -> Sequence[_Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            failpoint("commit.begun")
            outcomes = [self._one(request) for request in group]
            if not any(isinstance(outcome, Commit) for outcome in outcomes):
                self._roll_back()
                return outcomes
            failpoint("commit.written")
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
            failpoint("commit.committed")
        except OSError as error:  # it is in, but the answer is lost; never tried again
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

    def _one(self, request: Request) -> _Outcome:
        """One caller's list in its savepoint: committed with the others, or as if it had never been there."""
        try:
            self._connection.execute("SAVEPOINT caller")
            try:
                commit = request.make(self._applying)
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK TO caller")
                    self._connection.execute("RELEASE caller")
                raise
            self._connection.execute("RELEASE caller")
        except (apsw.ConstraintError, apsw.TooBigError, *UNREADABLE) as error:
            return translation(error, self._path)
        except apsw.Error:
            raise
        except Exception as error:  # a refusal, or a defect that its caller must see and others must not
            return error
        return commit

    def _prove_medium(self) -> None:
        if not self._doubtful:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            # It has to change something: SQLite does not write a page for an update that leaves a row as it was.
            self._connection.execute("UPDATE medium SET probes = probes + 1")
            self._connection.execute("COMMIT")
        except apsw.FullError as error:
            self._roll_back()
            raise _MediumFailed(translation(error, self._path)) from error
        except apsw.Error as error:
            self._roll_back()
            raise _MediumFailed(
                Unavailable(
                    f"the index database {self._path} takes no writes since a commit failed: {error}",
                    hint="see to the disk; writing goes on by itself as soon as it works again",
                )
            ) from error
        self._doubtful = False

    def _roll_back(self) -> None:
        # SQLite has already rolled back by itself after some errors, and a broken disk may refuse even this.
        with contextlib.suppress(apsw.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _answer(outcomes: Sequence[tuple[Request, _Outcome]], committed: Callable[[], None]) -> None:
    """Hand every outcome to its caller's loop; one wake-up per loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, _Outcome]]] = {}
    for request, outcome in outcomes:
        by_loop.setdefault(request.loop, []).append((request, outcome))
    for loop, answers in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed; nobody waits
            loop.call_soon_threadsafe(_resolve, answers, committed)


def _resolve(answers: Sequence[tuple[Request, _Outcome]], committed: Callable[[], None]) -> None:
    committed()
    for request, outcome in answers:
        if request.future.done():  # cancelled meanwhile
            continue
        if isinstance(outcome, Commit):
            request.future.set_result(outcome)
        else:
            request.future.set_exception(outcome)
