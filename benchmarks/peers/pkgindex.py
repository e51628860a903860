"""Ourselves: `pkgindex-serve run` from this source tree, one process.

Hosted pages go into `root/dev` by the back door, `root/pypi` mirrors the static index that the other mirrors mirror, and the files
to download are put into the blob store as an upload would. Nothing is tuned; the access log is off, as it is for nginx, and a
second server with the log on tells what it costs. A third one answers every request anew (`replay_bytes`).
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.fixtures import REQUIRES_PYTHON, UPLOADED, Entry, Site, page_project
from benchmarks.peers import ROOT, Server, Target, UploadTarget
from benchmarks.peers.stages import Stages
from pkgindex_core.changes import PutFile
from pkgindex_core.clock import from_rfc3339
from pkgindex_core.config import Settings
from pkgindex_core.digests import Sha256
from pkgindex_core.engine import Engine
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, parse_project_name

HOSTED = IndexName("root/dev")
MIRROR = IndexName("root/pypi")
_BATCH = 1_000
_UPLOADED = from_rfc3339(UPLOADED)
NEW_PROJECT = "upload-new"


class PkgIndex(Server):
    name = "pkgindex"

    def __init__(
        self,
        site: Site,
        place: Path,
        *,
        upstream: str,
        access_log: bool = False,
        repeats: bool = True,
        empty: bool = False,
        store: str = "",
        workers: int = 1,
    ) -> None:
        super().__init__(site, place)
        self._store = store
        self._workers = workers
        self._empty = empty
        self._upstream = upstream
        self._access_log = access_log
        self._repeats = repeats

    @property
    def _suffix(self) -> str:
        return (", access log on" if self._access_log else "") + ("" if self._repeats else ", nothing repeated")

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def blobs(self) -> str:
        """The URL of its blob store; empty for a directory in its data."""
        return ""

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            version = installed("pkgindex")
        except PackageNotFoundError:
            version = "this source tree"
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return f"{version} at {commit}" if commit else version

    def prepare(self) -> None:
        asyncio.run(self._put_files())

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT), **({} if self._repeats else {"PKGINDEX_REPLAY_BYTES": "0"})}

    def command(self) -> Sequence[str]:
        log = "--access-log" if self._access_log else "--no-access-log"
        options = ["--data", str(self.data), "-p", str(self.port), "--upstream", f"{self._upstream}/simple/", log]
        if self._store:
            options += ["--store", self._store]
        if self._workers > 1:
            options += ["--workers", str(self._workers)]
        return [sys.executable, "-m", "pkgindex_http", "run", *options]

    def pages(self, size: int, form: str, coding: str) -> Iterator[Target]:
        project = page_project(size)
        yield self.page_target(f"pkgindex{self._suffix}", f"/{HOSTED}/+simple/{project}/", form, coding)
        if not self._suffix:
            yield self.page_target("pkgindex, mirrored", f"/{MIRROR}/+simple/{project}/", form, coding)

    def files(self, project: str) -> Iterator[Target]:
        entry, _ = self.site.file(project)
        digest = entry.sha256
        yield self.target("pkgindex", f"/{HOSTED}/+f/{digest[:3]}/{digest[3:16]}/{entry.filename}")

    def uploads(self) -> Iterator[UploadTarget]:
        credentials = base64.b64encode(f"root:{self._password}".encode()).decode()
        into = [("", NEW_PROJECT)]
        into += [(f", into a project of {size:,} files", page_project(size)) for size in self.site.sizes[-2:]]
        for suffix, project in into:
            yield UploadTarget(
                label=f"pkgindex{suffix}",
                pid=self.pid,
                port=self.port,
                path="/legacy/",
                headers={"Authorization": f"Basic {credentials}"},
                project=project,
                durable=True,
            )

    def stages(self) -> Stages:
        """Its indexes, over devpi's protocol."""
        return Stages(self, self._password)

    @property
    def _password(self) -> str:
        return (self.data / "root-password").read_text().strip()

    async def _put_files(self) -> None:
        settings = Settings(
            data=self.data,
            store=self._store,
            upstream=f"{self._upstream}/simple/",
            blobs=self.blobs,
        )
        async with Engine.open(settings, mirrors=False) as engine:
            await engine.prepare()
            for project, entries in ({} if self._empty else self.site.manifest.projects).items():
                if project.startswith("file-"):
                    await engine.blobs.put((self.site.packages / project / entries[0].filename).read_bytes())
                name = parse_project_name(project)
                changes = [PutFile(HOSTED, name, _file(entry), project) for entry in entries]
                for start in range(0, len(changes), _BATCH):
                    await engine.store.apply(changes[start : start + _BATCH], who="[benchmark]")


def _file(entry: Entry) -> File:
    return File(
        filename=entry.filename,
        version=entry.version,
        digests={"sha256": entry.sha256},
        size=entry.size,
        upload_time=_UPLOADED,
        requires_python=REQUIRES_PYTHON,
        metadata_sha256=Sha256(entry.metadata_sha256),
    )
