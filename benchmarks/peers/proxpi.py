"""proxpi under gunicorn, one process of 8 threads, mirroring the static upstream. It takes no uploads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.fixtures import Site, page_project
from benchmarks.peers import Server, Target, environments

_DAY = "86400"


class Proxpi(Server):
    name = "proxpi"

    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place)
        self._upstream = upstream

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def environment(self) -> Mapping[str, str]:
        return {
            "PROXPI_INDEX_URL": f"{self._upstream}/simple/",
            "PROXPI_INDEX_TTL": _DAY,
            "PROXPI_CACHE_DIR": str(self.place / "cache"),
            # It sends a client to the upstream when a file takes longer than this; warm files are what is measured.
            "PROXPI_DOWNLOAD_TIMEOUT": "60",
            "PROXPI_LOGGING_LEVEL": "WARNING",
        }

    def command(self) -> Sequence[str]:
        program = str(environments.program(self.name, "gunicorn"))
        options = ["--preload", "--threads", "8", "--keep-alive", "75", "-b", f"127.0.0.1:{self.port}"]
        return [program, *options, "proxpi.server:app"]

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        yield self.page_target(self.name, f"/index/{page_project(size)}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        yield self.target(self.name, f"/index/{project}/{entry.filename}")
