"""Mirrors, each with its own command and configuration, which run to their end.

pkgindex       `pkgindex-mirror mirror -c bandersnatch.conf`, into a tree for web servers
bandersnatch   the same configuration
pypiron        `pypiron sync` of the same names into a `pypiron serve` of its own, without checks against advisories and without its wait of
               7 days for new files. Time ends when the server shows the last project; memory and CPU time are those of both processes
bare aiohttp   `bare_mirror.py`
"""

from __future__ import annotations

import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace

from benchmarks import machine
from benchmarks.load import Failed, Request, fetch
from benchmarks.made_registry import MadeRegistry
from benchmarks.peers import JSON, environments
from benchmarks.peers.pypiron import USER, PypIronServer
from benchmarks.running import Cost, run

_NOWHERE = "https://127.0.0.1:9"
_SETTLE_SECONDS = 1.0
_WAIT_SECONDS = 120.0


class Mirror(ABC):
    """A mirror of a registry in a directory of its own."""

    name: ClassVar[str]
    repeats: ClassVar[bool] = True
    """Whether it knows what it has, so that another run is a question."""
    reads_list: ClassVar[bool] = False
    """Whether it finds out by the list of all projects what is new."""

    def __init__(self, place: Path, registry: MadeRegistry) -> None:
        self.place = place
        """Where it mirrors to now."""
        self.registry = registry
        self._whole = place
        self._begun = 0

    def missing(self) -> str:
        """Why it cannot run here and what to do about it; empty when it can."""
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def start_empty(self) -> None:
        """Have nothing mirrored, and the configuration written.

        What was mirrored before stays until the end. For minutes after a removal ext4 avoids the inodes that are free again, and a new
        file takes several times as long.
        """
        self.stop()
        self._begun += 1
        self.place = self._whole / str(self._begun)
        self.place.mkdir(parents=True)

    @abstractmethod
    def mirror(self) -> Cost: ...

    def verify(self) -> Cost | None:
        """Compare every file with its digest; None when it cannot."""
        return None

    @abstractmethod
    def mirrored(self) -> int:
        """The number of its files, sidecars excepted."""

    def stop(self) -> None:  # noqa: B027 - most run only while they mirror
        """End what runs."""

    def remove(self) -> None:
        """Leave nothing behind."""
        self.stop()
        shutil.rmtree(self._whole, ignore_errors=True)


class _Tree(Mirror):
    """A mirror with bandersnatch's configuration, which leaves a tree for web servers."""

    reads_list = True

    def start_empty(self) -> None:
        super().start_empty()
        # A list that is longer than what it is about: only these names.
        names = "".join(f"    {name}\n" for name in sorted(self.registry.projects))
        for word, master in (("mirror", self.registry.url), ("verify", _NOWHERE)):
            (self.place / f"{word}.conf").write_text(
                f"[mirror]\ndirectory = {self.place / 'tree'}\nmaster = {master}\nallow-non-https = true\n"
                "json = true\nworkers = 3\nhash-index = false\nstop-on-error = false\napi-method = simple\n"
                f"[plugins]\nenabled =\n    allowlist_project\n[allowlist]\npackages =\n{names}"
            )

    def mirror(self) -> Cost:
        return run(self.words("mirror"), place=self.place)

    def verify(self) -> Cost | None:
        """Without a registry: bandersnatch's `verify` does not take one without TLS, and has nothing to ask of one."""
        return run(self.words("verify"), place=self.place)

    def mirrored(self) -> int:
        return _files(self.place / "tree" / "web" / "packages")

    @abstractmethod
    def words(self, word: str) -> Sequence[str]: ...


class PkgIndexMirror(_Tree):
    name = "pkgindex"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return metadata.version("pkgindex")

    def words(self, word: str) -> Sequence[str]:
        return [sys.executable, "-m", "pkgindex_mirror", word, "-c", str(self.place / f"{word}.conf")]


class Bandersnatch(_Tree):
    name = "bandersnatch"

    def words(self, word: str) -> Sequence[str]:
        return [str(environments.program(self.name, self.name)), "-c", str(self.place / f"{word}.conf"), word]


class BareMirror(Mirror):
    name = "bare aiohttp"
    repeats = False

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return ""

    def mirror(self) -> Cost:
        command = [sys.executable, "-m", "benchmarks.bare_mirror", self.registry.url, str(self.place / "tree")]
        return run(command, place=self.place)

    def mirrored(self) -> int:
        return _files(self.place / "tree" / "packages")


class PypIron(Mirror):
    name = "pypiron"

    def __init__(self, place: Path, registry: MadeRegistry) -> None:
        super().__init__(place, registry)
        self._server = PypIronServer(place / "server")

    def start_empty(self) -> None:
        super().start_empty()
        self._server = PypIronServer(self.place / "server")
        (self.place / "names").write_text("".join(f"{name}\n" for name in sorted(self.registry.projects)))
        self._server.start()

    def mirror(self) -> Cost:
        before = machine.cpu_seconds(self._server.pid) or 0.0
        begun = time.perf_counter()
        whole = ["--include-packages-from", str(self.place / "names"), "--exclude-newer", "", "--include-yanked"]
        target = ["--to", f"http://127.0.0.1:{self._server.port}", *USER, "--advisory-feed", "", "--no-progress"]
        program = str(environments.program(self.name, self.name))
        cost = run([program, "sync", "--from", self.registry.url, *target, *whole], place=self.place)
        self._wait()
        seconds = time.perf_counter() - begun
        time.sleep(_SETTLE_SECONDS)
        behind = (machine.cpu_seconds(self._server.pid) or 0.0) - before
        memory = machine.memory_mib(self._server.pid) or 0.0
        return replace(
            cost, seconds=seconds, cpu_seconds=cost.cpu_seconds + behind, memory_mib=cost.memory_mib + memory
        )

    def mirrored(self) -> int:
        return sum(1 for name in self.registry.projects for _ in self._links(name))

    def stop(self) -> None:
        self._server.stop()

    def _wait(self) -> None:
        """Until the last page has all its files."""
        last = max(self.registry.projects)
        deadline = time.monotonic() + _WAIT_SECONDS
        while len(self._links(last)) < len(self.registry.projects[last].files):
            if time.monotonic() > deadline:
                raise Failed("pypiron does not show what it has mirrored")
            time.sleep(0.05)

    def _links(self, name: str) -> list[bytes]:
        with suppress(OSError, Failed):
            page = fetch(Request(port=self._server.port, path=f"/simple/{name}/", headers={"Accept": JSON}))
            return page.body.split(b'"filename"')[1:]
        return []


def _files(directory: Path) -> int:
    return sum(1 for path in directory.rglob("*") if path.is_file() and path.suffix != ".metadata")


MIRRORS = (PkgIndexMirror, Bandersnatch, PypIron, BareMirror)
