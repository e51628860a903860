"""The static index that mirrors mirror (`benchmarks.upstream`), and the way to one that is far away. Started like any other server, never measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import machine
from benchmarks.fixtures import Site
from benchmarks.peers import ROOT, Server


class StaticUpstream(Server):
    name = "static upstream"

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return ""

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.upstream", str(self.site.root), str(self.port)]

    def pinned(self, command: Sequence[str]) -> Sequence[str]:
        """With those who send requests: elsewhere than the servers that ask it, as upstreams are."""
        return machine.driver_command(command)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class DistantUpstream(StaticUpstream):
    """Another upstream as it is from far away (`benchmarks.distance`)."""

    name = "distant upstream"

    def __init__(self, site: Site, place: Path, *, target: Server, milliseconds: float) -> None:
        """`milliseconds`: of a round trip."""
        super().__init__(site, place)
        self._target = target
        self._milliseconds = milliseconds

    def command(self) -> Sequence[str]:
        ports = [str(self.port), str(self._target.port)]
        return [sys.executable, "-m", "benchmarks.distance", *ports, str(self._milliseconds)]
