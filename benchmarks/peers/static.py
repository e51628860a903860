"""The static index that mirrors mirror (`benchmarks.upstream`), started like any other server and never measured."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from benchmarks import machine
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
