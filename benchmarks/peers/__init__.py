"""Starts each server with the same data, and knows its URLs.

A peer is installed from the package registry into an environment of its own (`environments`), started by its own command line as
its documentation shows, and asked for the same things. What it cannot do (JSON pages, compression, validators) it does not
offer, and the tables show a dash. One that is not installed is named and left out, never silently.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct

from benchmarks import machine
from benchmarks.fixtures import Site
from benchmarks.load import ROOT, Answer, Failed, Request, fetch

START_SECONDS = 180.0
STOP_SECONDS = 15.0
JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = {"html": "text/html", "json": JSON}


class Target(Struct, frozen=True, kw_only=True):
    """One row of a table: what to ask for, and whose CPU time it costs."""

    label: str
    pid: int
    request: Request


class UploadTarget(Struct, frozen=True, kw_only=True):
    """Where uploads go, and with which credentials."""

    label: str
    pid: int
    port: int
    path: str
    headers: Mapping[str, str]
    project: str
    durable: bool
    """Whether what was acknowledged survives a power cut, as far as its source says."""


class Server(ABC):
    """One program under test. `start` returns when it answers; `stop` leaves nothing behind."""

    name: ClassVar[str]

    def __init__(self, site: Site, place: Path) -> None:
        self.site = site
        self.place = place
        """A directory of its own, empty at first."""
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def missing(self) -> str:
        """Why it cannot run here and what to do about it; empty when it can."""

    @abstractmethod
    def version(self) -> str: ...

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command that runs it in the foreground on `port`."""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to do here
        """Lay out its data, before it starts."""

    def fill(self) -> None:  # noqa: B027 - most have nothing to do here
        """Give it its data through its own interface, after it started."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        """The command, on the CPU where it belongs."""
        return machine.server_command(command)

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        """The page of the project with that many files. `form` is html or json, `coding` identity or gzip."""
        return iter(())

    def files(self, project: str) -> Iterator[Target]:
        """The file of a project of one file."""
        return iter(())

    def uploads(self) -> Iterator[UploadTarget]:
        return iter(())

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it for the first time, and fill it."""
        self.place.mkdir(parents=True)
        self.prepare()
        self.port = free_port()
        log = self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self.port):
            if self._over(deadline):
                raise Failed(f"{self.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        self.fill()

    def start_again(self, request: Callable[[], Request]) -> tuple[float, Answer]:
        """Start it over the data that it has; how long it was until it had answered a request rightly.

        It keeps its port, as a restarted server does: what is kept may depend on its URL.
        """
        self.port = self.port or free_port()
        begun = time.perf_counter()
        log = self._launch()
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError, Failed):
                answer = fetch(request())
                return time.perf_counter() - begun, answer
            if self._over(deadline):
                raise Failed(f"{self.name} did not start again:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.005)

    def _over(self, deadline: float) -> bool:
        return self._process is None or self._process.poll() is not None or time.monotonic() > deadline

    def _launch(self) -> Path:
        log = self.place / "log"
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                self.pinned(self.command()),
                # An installed program need not compile its modules at every start, whatever this shell is set to.
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self.place,
                start_new_session=True,
            )
        return log

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # Its own session: everything that it started goes with it, and nothing else does.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def target(self, label: str, path: str, headers: Mapping[str, str] | None = None) -> Target:
        return Target(label=label, pid=self.pid, request=Request(port=self.port, path=path, headers=headers or {}))

    def page_target(self, label: str, path: str, form: str, coding: str) -> Target:
        return self.target(label, path, {"Accept": ACCEPT[form], "Accept-Encoding": coding})

    def linked_target(self, label: str, page: str, filename: str) -> Target:
        """The file to which a project's page links. The page gives its URL, which another server chooses."""
        document = fetch(self.page_target(label, page, "json", "identity").request).body
        files = msgspec.json.decode(document, type=_Linked).files
        url = next(each.url for each in files if each.filename == filename)
        return self.target(label, urlsplit(urljoin(page, url)).path)


class _Link(Struct, frozen=True):
    filename: str
    url: str


class _Linked(Struct, frozen=True):
    files: list[_Link]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


__all__ = ["ACCEPT", "JSON", "ROOT", "Server", "Target", "UploadTarget", "free_port"]
