"""pypiron as a server of its own packages: its checks against advisories, which ask the network, are off, and so is its wait of 7 days."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fixtures import Manifest, Site, page_project, upload_form
from benchmarks.load import Connection, Failed
from benchmarks.peers import Server, Target, UploadTarget, environments
from pkgindex_core.digests import Sha256
from pkgindex_core.testing.wheels import BuiltFile

_NAME, _PASSWORD = "admin", "benchmark-password"
USER = ("--admin-user", _NAME, "--admin-pass", _PASSWORD)
_CREDENTIALS = "Basic " + base64.b64encode(f"{_NAME}:{_PASSWORD}".encode()).decode()
_CLIENTS = 4


class PypIronServer(Server):
    """An empty one."""

    name = "pypiron"

    def __init__(self, place: Path) -> None:
        super().__init__(Site(root=place, manifest=Manifest(recipe=0, sizes=(), large_bytes=0, projects={})), place)

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def command(self) -> Sequence[str]:
        options = ["--data-dir", str(self.place / "data"), "--bind-addr", f"127.0.0.1:{self.port}", *USER]
        unchecked = ["--advisory-feed", "", "--malware-block", "false", "--exclude-newer", ""]
        return [str(environments.program(self.name, self.name)), "serve", *options, *unchecked]

    def uploads(self) -> Iterator[UploadTarget]:
        yield self._into("upload-new")

    def _into(self, project: str, *, suffix: str = "") -> UploadTarget:
        return UploadTarget(
            label=f"{self.name}{suffix}",
            pid=self.pid,
            port=self.port,
            path="/legacy/",
            headers={"Authorization": _CREDENTIALS},
            project=project,
            durable=False,
        )


class PypIronHosted(PypIronServer):
    """One that has the packages of the site, which were uploaded. Of many uploads at once its worker leaves some out of the page, so pages are written anew
    by `rebuild-index`. One node may keep its pages in memory for as long as it likes (`--index-cache-ttl-secs`).
    """

    def __init__(self, site: Site, place: Path) -> None:
        super().__init__(place)
        self.site = site

    def fill(self) -> None:
        projects = self.site.manifest.projects
        work = [(project, entry.filename, entry.sha256) for project, files in projects.items() for entry in files]
        with ThreadPoolExecutor(_CLIENTS) as threads:
            list(threads.map(self._upload, (work[lane::_CLIENTS] for lane in range(_CLIENTS))))
        self.stop()
        program = str(environments.program(self.name, self.name))
        rebuilding = [program, "rebuild-index", "--data-dir", str(self.place / "data")]
        subprocess.run(rebuilding, check=True, capture_output=True)
        largest = max(projects, key=lambda project: len(projects[project]))
        _, page = self.start_again(
            lambda: self.page_target(self.name, f"/simple/{largest}/", "json", "identity").request
        )
        if page.body.count(b'"filename"') < len(projects[largest]):
            raise Failed(f"{self.name} does not show all files of {largest}")

    def command(self) -> Sequence[str]:
        return [*super().command(), "--index-cache-ttl-secs", "3600"]

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        yield self.page_target(self.name, f"/simple/{page_project(size)}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        yield self.linked_target(self.name, f"/simple/{project}/", entry.filename)

    def uploads(self) -> Iterator[UploadTarget]:
        yield from super().uploads()
        for size in self.site.sizes[-2:]:
            yield self._into(page_project(size), suffix=f", into a project of {size:,} files")

    def _upload(self, work: Sequence[tuple[str, str, str]]) -> None:
        with Connection(self.port) as connection:
            for project, filename, sha256 in work:
                data = (self.site.packages / project / filename).read_bytes()
                built = BuiltFile(filename=filename, data=data, metadata=b"", sha256=Sha256(sha256))
                kind, body = upload_form(built, project)
                head = (
                    f"POST /legacy/ HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nAuthorization: {_CREDENTIALS}\r\n\r\n"
                )
                answer = connection.send(head.encode() + body, "POST")
                if answer.status != 200:
                    raise Failed(f"{self.name}: {answer.status} {answer.body[:400]!r}")
