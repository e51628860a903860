"""pypiserver over a directory of wheels, under waitress.

It lists the whole directory for every answer, so it runs twice: over all the files that the others have, and over a directory with
nothing but the project that is asked for, its best case. It has no JSON simple pages, no compression, no validators on pages.
It also watches the directory, and is woken by whoever opens a file in it: each gets links of its own to the files, so that nobody pays
for what another server reads.

Uploads go to an empty directory, with an htpasswd file of the kind that `htpasswd -c` makes and with no passwords at all, and to
one that has many files already.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.fixtures import Site, page_project
from benchmarks.peers import Server, Target, UploadTarget, environments

_PASSWORD = "benchmark"
_HASH = "from passlib.hash import apr_md5_crypt; print(apr_md5_crypt.hash('benchmark'))"


class _PypiServer(Server):
    name = "pypiserver"

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def _link(self, project: str, directory: Path) -> None:
        """Put the files of a project there."""
        directory.mkdir(parents=True, exist_ok=True)
        for path in (self.site.packages / project).iterdir():
            (directory / path.name).hardlink_to(path)

    def _run(self, directory: Path, *options: str) -> Sequence[str]:
        program = str(environments.program(self.name, "pypi-server"))
        return [program, "run", "-p", str(self.port), "-i", "127.0.0.1", "--disable-fallback", *options, str(directory)]


class PypiServer(_PypiServer):
    """Serving: everything, or (`project`) one project alone."""

    def __init__(self, site: Site, place: Path, *, project: str = "") -> None:
        super().__init__(site, place)
        self._project = project

    @property
    def label(self) -> str:
        return "pypiserver, that project alone" if self._project else "pypiserver"

    def prepare(self) -> None:
        for project in [self._project] if self._project else self.site.manifest.projects:
            self._link(project, self.place / "packages" / project)

    def command(self) -> Sequence[str]:
        return self._run(self.place / "packages", "-P", ".", "-a", ".")

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        project = page_project(size)
        if (form, coding) == ("html", "identity") and self._project in {"", project}:
            yield self.page_target(self.label, f"/simple/{project}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        if self._project in {"", project}:
            yield self.target(self.label, f"/packages/{project}/{entry.filename}")


class PypiServerBackend(_PypiServer):
    """Over a directory that somebody else fills, with one of its two backends: `simple-dir` or `cached-dir`."""

    def __init__(self, site: Site, place: Path, *, backend: str) -> None:
        super().__init__(site, place)
        self._backend = backend

    @property
    def label(self) -> str:
        return f"pypiserver, {self._backend}"

    def command(self) -> Sequence[str]:
        return self._run(self.place / "packages", "--backend", self._backend, "-P", ".", "-a", ".")


class PypiServerUploads(_PypiServer):
    """Taking uploads into an empty directory, or into one that has the files of the largest page."""

    def __init__(self, site: Site, place: Path, *, passwords: bool = True, among: int = 0) -> None:
        super().__init__(site, place)
        self._passwords = passwords
        self._among = among

    def prepare(self) -> None:
        uploads = self.place / "uploads"
        uploads.mkdir()
        if self._among:
            self._link(page_project(self._among), uploads)
        python = str(environments.program(self.name, "python"))
        hashed = subprocess.run([python, "-c", _HASH], capture_output=True, text=True, check=True).stdout.strip()
        (self.place / "htpasswd").write_text(f"root:{hashed}\n")

    def command(self) -> Sequence[str]:
        if self._passwords:
            return self._run(self.place / "uploads", "-P", str(self.place / "htpasswd"), "-a", "update")
        return self._run(self.place / "uploads", "-P", ".", "-a", ".")

    def uploads(self) -> Iterator[UploadTarget]:
        credentials = base64.b64encode(f"root:{_PASSWORD}".encode()).decode()
        among = f", into a directory of {self._among:,} files" if self._among else ""
        yield UploadTarget(
            label=f"pypiserver, {'htpasswd' if self._passwords else 'no passwords'}{among}",
            pid=self.pid,
            port=self.port,
            path="/",
            headers={"Authorization": f"Basic {credentials}"},
            project="upload-new",
            durable=False,
        )
