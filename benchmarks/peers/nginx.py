"""nginx, serving from disk the bytes that pkgindex serves: the limit that a server of files sets.

One worker, `sendfile` and `gzip_static` on, no access log, otherwise as Debian configures it (no open-file cache). It decides
nothing, knows no users, and somebody has to write its files: it is the yardstick, not a peer. A response compressed by
`gzip_static` was compressed beforehand, by us.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.fixtures import Site, page_project
from benchmarks.load import Request, fetch
from benchmarks.peers import ACCEPT, Server, Target

BEGINNING = """\
user {user};
daemon off;
worker_processes {workers};
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {place}/temporary;
    proxy_temp_path {place}/temporary;
    fastcgi_temp_path {place}/temporary;
    uwsgi_temp_path {place}/temporary;
    scgi_temp_path {place}/temporary;
"""
"""The beginning of every configuration. Temporary files are below `place`."""
_CONFIGURATION = (
    BEGINNING
    + """\
    keepalive_requests 1000000000;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port};
        location /html/ {{ root {place}/pages; default_type text/html; gzip_static on; }}
        location /json/ {{ root {place}/pages; default_type application/vnd.pypi.simple.v1+json; gzip_static on; }}
        location /files/ {{ alias {packages}/; }}
    }}
}}
"""
)


class Nginx(Server):
    name = "nginx"

    def __init__(
        self, site: Site, place: Path, *, page: Callable[[int, str, str], Request] | None = None, workers: int = 1
    ) -> None:
        super().__init__(site, place)
        self._page = page
        self._workers = workers

    def missing(self) -> str:
        return "" if _program() else "not installed; your system has it as the package nginx"

    def version(self) -> str:
        said = subprocess.run([_program(), "-v"], capture_output=True, text=True, check=False).stderr
        found = re.search(r"nginx/(\S+)", said)
        return found[1] if found else "unknown"

    def prepare(self) -> None:
        if self._page is None:
            return
        for size in self.site.sizes:
            for form in ACCEPT:
                directory = self.place / "pages" / form / page_project(size)
                directory.mkdir(parents=True)
                for coding, suffix in (("identity", ""), ("gzip", ".gz")):
                    answer = fetch(self._page(size, form, coding))
                    (directory / f"page{suffix}").write_bytes(answer.body)

    def command(self) -> Sequence[str]:
        return self.configured(_CONFIGURATION, packages=self.site.packages)

    def configured(self, text: str, **values: object) -> Sequence[str]:
        """The command that runs it with a configuration. Its worker is the same user, who can read the files."""
        configuration = self.place / "nginx.conf"
        values |= {"place": self.place, "port": self.port, "user": getpass.getuser(), "workers": self._workers}
        configuration.write_text(text.format(**values))
        return [_program(), "-c", str(configuration), "-p", str(self.place), "-e", str(self.place / "error.log")]

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        yield self.page_target("nginx", f"/{form}/{page_project(size)}/page", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        yield self.target("nginx", f"/files/{project}/{entry.filename}")


def _program() -> str:
    """Empty when it is not installed. The system's place for servers is not on the path of every user."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""
