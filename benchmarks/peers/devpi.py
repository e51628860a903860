"""devpi-server, without devpi-web.

Pages come from a mirror index over the static upstream: in a stage each upload costs more than the one before, so 10,000 files do
not go in in reasonable time. Files and uploads go to a stage without bases. An upload is measured twice: with the password,
which is what twine and uv send, and with the token that `devpi login` would have got.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.fixtures import Site, page_project
from benchmarks.peers import Server, Target, UploadTarget, environments
from benchmarks.peers.stages import Stages
from pkgindex_core.digests import Sha256
from pkgindex_core.testing.wheels import BuiltFile

_PASSWORD = "benchmark"
_DAY = "86400"


class Devpi(Server):
    name = "devpi-server"

    def __init__(self, site: Site, place: Path, *, upstream: str, empty: bool = False) -> None:
        super().__init__(site, place)
        self._empty = empty
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
        if self._empty:
            return
        stages = self.stages()
        self._token = stages.token
        mirror = {"type": "mirror", "volatile": False, "mirror_url": f"{self._upstream}/simple/"}
        stages.send("PUT", "/root/mirror", mirror)
        stages.make_index("root/stage")
        for project in ("file-small", "file-large"):
            entry, path = self.site.file(project)
            built = BuiltFile(
                filename=entry.filename, data=path.read_bytes(), metadata=b"", sha256=Sha256(entry.sha256)
            )
            stages.upload("root/stage", project, [built])

    def stages(self) -> Stages:
        """Its indexes."""
        return Stages(self, _PASSWORD)

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


def _pair(name: str, secret: str) -> str:
    return base64.b64encode(f"{name}:{secret}".encode()).decode()
