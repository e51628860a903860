"""pypiron as a server of its own packages: its checks against advisories, which ask the network, are off, and so is its wait of 7 days."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.fixtures import Manifest, Site
from benchmarks.peers import Server, UploadTarget, environments

_NAME, _PASSWORD = "admin", "benchmark-password"
USER = ("--admin-user", _NAME, "--admin-pass", _PASSWORD)


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
        yield UploadTarget(
            label=self.name,
            pid=self.pid,
            port=self.port,
            path="/legacy/",
            headers={"Authorization": "Basic " + base64.b64encode(f"{_NAME}:{_PASSWORD}".encode()).decode()},
            project="upload-new",
            durable=False,
        )
