"""simple-repository-server over a directory of wheels. It reads metadata out of wheels and takes no uploads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.fixtures import page_project
from benchmarks.peers import Server, Target, environments


class SimpleRepository(Server):
    name = "simple-repository-server"

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def command(self) -> Sequence[str]:
        program = str(environments.program(self.name, "simple-repository-server"))
        return [program, "--host", "127.0.0.1", "--port", str(self.port), str(self.site.packages)]

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        if coding == "identity":  # it compresses nothing
            yield self.page_target(self.name, f"/simple/{page_project(size)}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        yield self.target(self.name, f"/resources/{project}/{entry.filename}")
