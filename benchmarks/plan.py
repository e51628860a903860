"""What the questions share: the data, the driver, how often and how long, and servers that start and stop together."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from benchmarks import machine
from benchmarks.fixtures import LARGE_BYTES, Site
from benchmarks.load import Driver
from benchmarks.peers import Server
from benchmarks.peers.environments import CACHE
from benchmarks.rounds import Cell, Series, measure
from benchmarks.tables import Report


class Plan(Struct, kw_only=True):
    """One run of one question."""

    site: Site
    place: Path
    """Where servers keep their data; emptied before and after."""
    driver: Driver
    rounds: int
    seconds: float
    peers: bool
    """Whether anybody but us takes part."""
    uploads: int = 500
    """The most uploads of a client in a round."""
    projects: int = 300
    """Projects of an index that is listed."""
    versions_of_one: int = 200
    """Versions of a project that grows, is listed, or is inherited."""
    wheels: int = 10_000
    """Files of a directory that is an index."""
    first_pages: int = 100
    """Mirrored projects that are asked for the first time, a round."""
    published_files: int = 20_000
    """Files of an index that is published as static files."""
    mirrored_projects: int = 1_000
    """Projects of a registry that is mirrored as a whole."""
    mirrored_files: int = 7_900
    """Their files."""
    listed_names: int = 886_000
    """Names in a list of which few are mirrored."""
    many_projects: int = 100_000
    """Projects of a stage that only we have."""
    recordings: Path = CACHE / "recording"
    """Where the recorded part of a registry is, or is put."""
    registry: str = ""
    """The simple index of a real registry, asked in place of the recording."""
    large_bytes: int = LARGE_BYTES
    """Bytes of a file that caches fetch."""
    trees: tuple[Path, ...] = ()
    """Other checkouts that are measured beside this one, by the questions that can."""
    left_out: dict[str, str] = {}
    versions: dict[str, str] = {}

    def directory(self, name: str) -> Path:
        return self.place / name

    @contextmanager
    def started(self, *servers: Server) -> Iterator[list[Server]]:
        """Start the servers in this order, without those that cannot run here. The end of the context stops all of them."""
        taking_part = []
        with ExitStack() as stack:
            for server in servers:
                missing = server.missing()
                if missing:
                    if server.name not in self.left_out:
                        print(f"skipped: {server.name}: {missing}", file=sys.stderr)
                    self.left_out[server.name] = missing
                    continue
                shutil.rmtree(server.place, ignore_errors=True)
                stack.callback(shutil.rmtree, server.place, ignore_errors=True)
                stack.callback(server.stop)
                server.start()
                if server.version():
                    self.versions[server.name] = server.version()
                taking_part.append(server)
            yield taking_part

    def report(self, question: str, cells: Sequence[Cell]) -> Report:
        """Measure the cells."""
        where = machine.describe()
        series = measure(cells, self.driver, rounds=self.rounds, seconds=self.seconds)
        return self.made_of(question, where, series, driver=self.driver.name)

    def made_of(self, question: str, where: machine.Machine, series: list[Series], *, driver: str) -> Report:
        return Report(
            question=question,
            machine=where,
            driver=driver,
            rounds=self.rounds,
            seconds=self.seconds,
            versions=self.versions,
            left_out=self.left_out,
            series=series,
        )
