"""Keeps the workers of a server running: processes that accept connections on the same sockets, over the same store.

    supervisor ─ forks ─► worker ─ "ready" ─► supervisor            each worker has a pipe of its own for that
    supervisor ─ holds ─► a pipe that the workers watch: when it closes, the supervisor is gone and they stop

    SIGTERM, SIGINT   every worker answers the requests under way and ends; a second signal ends them at once
    SIGHUP            settings are read again; each worker is replaced by one with the new settings, one after the other. The old one ends
                      when the new one is ready, so that no connection is refused. If a new one does not start, the old ones stay
    a worker dies     it is started again, at once at first, and later with growing pauses

The supervisor opens no store, runs no event loop and has no threads, so a fork copies nothing that is in use. Its modules are loaded
before the first fork, and the workers share their memory.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Final, NoReturn

from msgspec import Struct

from pkgindex_core.commands.telling import talk
from pkgindex_core.errors import PkgIndexError
from pkgindex_http.commands.notifying import notify, notify_reloading, watchdog_seconds
from pkgindex_http.settings import ServerSettings

_log = logging.getLogger("pkgindex.http")

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_SOUND_SECONDS: Final = 60.0
"""A worker that lived longer is started again at once."""
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 30.0
_READY: Final = b"r"


class WorkerLink(Struct, frozen=True, kw_only=True):
    """The connection of a worker to its supervisor."""

    number: int
    """1 for the first worker. No later worker has the number of an earlier one."""
    ready: int
    """The descriptor to write to."""
    life: int
    """A descriptor that is readable when the supervisor is gone."""

    def tell_ready(self) -> None:
        """Tell that the worker answers requests."""
        with suppress(OSError):  # the supervisor is gone, which `life` tells
            os.write(self.ready, _READY)
            os.close(self.ready)


class _Worker(Struct, kw_only=True, eq=False):
    pid: int
    ready_pipe: int
    """-1 when the worker was heard."""
    settings: ServerSettings
    began: float
    is_ready: bool = False
    is_leaving: bool = False
    replaces: _Worker | None = None


class Supervisor:
    """Runs the workers of one server until a signal ends it."""

    def __init__(
        self,
        settings: ServerSettings,
        work: Callable[[ServerSettings, WorkerLink], None],
        read_settings: Callable[[], ServerSettings],
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """`work` serves in a process of its own until SIGTERM. `read_settings` reads the settings again, and raises `PkgIndexError`.

        `sockets`: those on which the workers accept connections.
        """
        self._settings = settings
        self._sockets = sockets
        self._work = work
        self._read_settings = read_settings
        self._workers: list[_Worker] = []
        self._numbers = 0
        self._failures = 0
        self._resume_at = 0.0
        """No worker is started before this time (`time.monotonic`); 0: at once."""
        self._began = self._stopping = self._reloading = False
        self._status = 0
        self._pending: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._life = os.pipe()
        self._wake = os.pipe()

    def run(self) -> int:
        """Serve until a signal. Returns the exit status: 0, or that of a first worker that did not start."""
        for end in self._wake:
            os.set_blocking(end, False)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        for number in _SIGNALS:
            signal.signal(number, self._note)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        self._start()  # alone: it may have to begin a store
        watchdog = watchdog_seconds()
        while self._workers or (self._began and not self._stopping):
            if watchdog:
                notify("WATCHDOG=1")
            self._wait(watchdog)
            while self._pending:
                self._heed(self._pending.pop(0))
            self._reap()
            if self._began and not self._stopping and time.monotonic() >= self._resume_at:
                self._resume_at = 0.0
                self._start_missing()
                self._replace_next()
        return self._status

    def _note(self, number: int, _frame: object) -> None:
        self._pending.append(number)

    def _wait(self, watchdog: float | None) -> None:
        limits = [watchdog] if watchdog else []
        if self._resume_at:
            limits.append(max(0.0, self._resume_at - time.monotonic()))
        for key, _ in self._selector.select(min(limits, default=None)):
            if key.fd == self._wake[0]:
                with suppress(BlockingIOError):
                    while os.read(key.fd, 512):
                        pass
            else:
                self._hear(next(each for each in self._workers if each.ready_pipe == key.fd))

    def _heed(self, number: int) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                if not self._stopping:
                    self._stopping = True
                    self._resume_at = 0.0
                    notify("STOPPING=1")
                    for listening in self._sockets:  # the kernel would go on taking connections, which nothing accepts
                        listening.close()
                    # In a thread, since standard error may be a pipe that nothing reads any more. There are no more forks.
                    Thread(target=talk, args=("stopping",), daemon=True).start()
                for worker in self._workers:
                    self._send(worker, signal.SIGTERM)
            case signal.SIGHUP if self._began and not self._stopping:
                self._reload()

    def _reload(self) -> None:
        notify_reloading()
        self._reloading = True
        try:
            settings = self._read_settings()
        except PkgIndexError as error:
            problems = "; ".join(getattr(error, "problems", (error.message,)))
            _log.error("the old settings stay in use: %s", problems)
            return
        if (settings.host, settings.port) != (self._settings.host, self._settings.port):
            _log.warning("the host and the port stay as they are until a restart")
        self._settings = settings
        self._failures = 0
        self._resume_at = 0.0

    def _start_missing(self) -> None:
        staying = sum(not each.is_leaving and each.replaces is None for each in self._workers)
        for _ in range(self._settings.workers - staying):
            self._start()

    def _replace_next(self) -> None:
        """Start the successor of one worker with older settings, or end one for which there is no place any more."""
        if any(each.replaces is not None for each in self._workers):
            return
        staying = [each for each in self._workers if not each.is_leaving]
        older = [each for each in staying if each.settings is not self._settings]
        if older and len(staying) > self._settings.workers:
            self._let_go(older[0])
            self._replace_next()
        elif older:
            self._start(replaces=older[0])
        elif self._reloading:
            self._reloading = False
            notify("READY=1")

    def _start(self, *, replaces: _Worker | None = None) -> None:
        self._numbers += 1
        hearing, telling = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # none may reach the worker before it has its own handlers
        pid = os.fork()
        if pid == 0:
            self._be_worker(WorkerLink(number=self._numbers, ready=telling, life=self._life[0]))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(telling)
        self._selector.register(hearing, selectors.EVENT_READ)
        self._workers.append(
            _Worker(pid=pid, ready_pipe=hearing, settings=self._settings, began=time.monotonic(), replaces=replaces)
        )

    def _be_worker(self, link: WorkerLink) -> NoReturn:
        """The life of a worker in its new process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor heeds it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            os.setpgid(0, 0)  # Ctrl-C is for the supervisor, which tells the workers
            self._selector.close()
            for descriptor in (self._life[1], *self._wake, *(each.ready_pipe for each in self._workers)):
                if descriptor >= 0:
                    os.close(descriptor)
            self._work(self._settings, link)
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
                logging.shutdown()
            os._exit(status)

    def _hear(self, worker: _Worker) -> None:
        worker.is_ready = os.read(worker.ready_pipe, 1) == _READY
        self._close(worker)
        if not worker.is_ready:
            return  # it died, and `_reap` finds it
        if worker.replaces is not None:
            self._let_go(worker.replaces)
            worker.replaces = None
        if not self._began:
            self._began = self._reloading = True  # ready when all are there

    def _close(self, worker: _Worker) -> None:
        if worker.ready_pipe >= 0:
            self._selector.unregister(worker.ready_pipe)
            os.close(worker.ready_pipe)
            worker.ready_pipe = -1

    def _let_go(self, worker: _Worker) -> None:
        worker.is_leaving = True
        self._send(worker, signal.SIGTERM)

    def _send(self, worker: _Worker, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, number)

    def _reap(self) -> None:
        """Take note of the workers that ended."""
        for worker in [*self._workers]:
            pid, ended = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._workers.remove(worker)
                self._close(worker)
                for other in self._workers:
                    if other.replaces is worker:
                        other.replaces = None
                if not worker.is_leaving and not self._stopping:
                    self._lost(worker, os.waitstatus_to_exitcode(ended))

    def _lost(self, worker: _Worker, code: int) -> None:
        cause = f"signal {-code}" if code < 0 else f"status {code}"
        if not self._began:
            self._status = code if code > 0 else 1
            if code < 0:
                _log.error("the first worker ended (%s)", cause)
            return
        if worker.replaces is not None and not any(
            each.is_ready and each.settings is worker.settings for each in self._workers
        ):
            _log.error("a worker with the new settings does not start (%s), and the old ones stay in use", cause)
            self._settings = worker.replaces.settings
            return
        lived = time.monotonic() - worker.began
        self._failures = self._failures + 1 if lived < _SOUND_SECONDS else 0
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._failures) if self._failures else 0.0
        self._resume_at = time.monotonic() + pause
        _log.error("worker %d ended (%s), and another one starts in %.1f s", worker.pid, cause, pause)
