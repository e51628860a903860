"""devpi-server, without devpi-web.

Pages come from a mirror index over the static upstream: in a stage each upload costs more than the one before, so 10,000 files do
not go in in reasonable time. Files and uploads go to a stage without bases. An upload is measured twice: with the password,
which is what twine and uv send, and with the token that `devpi login` would have got.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmarks.fixtures import Site, page_project, upload_form
from benchmarks.load import Answer, Connection, Failed
from benchmarks.peers import Server, Target, UploadTarget, environments
from pkgindex_core.digests import Sha256
from pkgindex_core.testing.wheels import BuiltFile

_PASSWORD = "benchmark"
_DAY = "86400"


class Devpi(Server):
    name = "devpi-server"

    def __init__(self, site: Site, place: Path, *, upstream: str) -> None:
        super().__init__(site, place)
        self._upstream = upstream
        self._token = ""

    def missing(self) -> str:
        return environments.missing(self.name)

    def version(self) -> str:
        return environments.version(self.name)

    def prepare(self) -> None:
        init = str(environments.program(self.name, "devpi-init"))
        options = ["--serverdir", str(self.place / "server"), "--root-passwd", _PASSWORD, "--no-root-pypi"]
        subprocess.run([init, *options], capture_output=True, check=True)

    def command(self) -> Sequence[str]:
        serve = str(environments.program(self.name, "devpi-server"))
        options = ["--serverdir", str(self.place / "server"), "--host", "127.0.0.1", "--port", str(self.port)]
        return [serve, *options, "--mirror-cache-expiry", _DAY]

    def fill(self) -> None:
        login = self._call("POST", "/+login", {"user": "root", "password": _PASSWORD})
        password = msgspec.json.decode(login.body)["result"]["password"]
        self._token = _pair("root", password)
        mirror = {"type": "mirror", "volatile": False, "mirror_url": f"{self._upstream}/simple/"}
        self._call("PUT", "/root/mirror", mirror)
        self._call("PUT", "/root/stage", {"type": "stage", "volatile": True, "bases": []})
        for project in ("file-small", "file-large"):
            entry, path = self.site.file(project)
            built = BuiltFile(
                filename=entry.filename, data=path.read_bytes(), metadata=b"", sha256=Sha256(entry.sha256)
            )
            kind, body = upload_form(built, project)
            self._send("POST", "/root/stage/", body, {"Content-Type": kind, "X-Devpi-Auth": self._token})

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        if coding == "identity":  # it compresses nothing
            yield self.page_target(self.name, f"/root/mirror/+simple/{page_project(size)}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        digest = entry.sha256
        yield self.target(self.name, f"/root/stage/+f/{digest[:3]}/{digest[3:16]}/{entry.filename}")

    def uploads(self) -> Iterator[UploadTarget]:
        for label, headers in (
            ("devpi-server, password", {"Authorization": f"Basic {_pair('root', _PASSWORD)}"}),
            ("devpi-server, login token", {"X-Devpi-Auth": self._token}),
        ):
            yield UploadTarget(
                label=label,
                pid=self.pid,
                port=self.port,
                path="/root/stage/",
                headers=headers,
                project=f"upload-{label.rpartition(' ')[2]}",
                durable=False,
            )

    def _call(self, method: str, path: str, document: Mapping[str, object]) -> Answer:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["X-Devpi-Auth"] = self._token
        return self._send(method, path, msgspec.json.encode(document), headers)

    def _send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        with Connection(self.port) as connection:
            answer = connection.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        if answer.status not in {200, 201}:
            raise Failed(f"devpi-server: {method} {path}: {answer.status} {answer.body[:400]!r}")
        return answer


def _pair(name: str, secret: str) -> str:
    return base64.b64encode(f"{name}:{secret}".encode()).decode()
