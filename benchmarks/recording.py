"""A part of a package registry, recorded once and replayed from disk, so that a compilation asks for the same bytes in every run.

    recording/requirements.txt                     what is compiled
    recording/compiled.txt                         what is installed: every version that the compilation chose
    recording/raw/jupyterlab.json                  a page as the registry sent it
    recording/packages/jupyterlab/…whl(.metadata)  files and sidecars that a client asked for
    recording/upstream/jupyterlab.json(.gz)        the page with links to the upstream of a run: `StaticUpstream` and `NginxUpstream` send it

A recorder is an index that fetches what it is asked for and does not have yet. uv compiles and installs through it, some times over, since the versions
that it looks at vary with the order of the answers. The registry is an option, and otherwise the one that pip is configured for.

`make_small` writes a recording of a few projects that depend on each other, without any registry.
"""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.installing import compile_with_uv, install_with_uv
from benchmarks.peers import JSON
from pkgindex_core.config import Settings
from pkgindex_core.digests import sha256_of
from pkgindex_core.names import parse_project_name
from pkgindex_core.testing.wheels import build_wheel

REQUIREMENTS = "jupyterlab\n"
"""Some 90 packages, with some of the largest pages of the registry."""
_TIMES = 3
_SECONDS = 60.0


class Recording(Struct, frozen=True, kw_only=True):
    """A recording on disk."""

    root: Path

    @property
    def requirements(self) -> Path:
        return self.root / "requirements.txt"

    @property
    def compiled(self) -> Path:
        return self.root / "compiled.txt"

    @property
    def projects(self) -> list[str]:
        return sorted(page.stem for page in (self.root / "raw").glob("*.json"))

    def page(self, project: str, base: str) -> bytes:
        """The page with links below `base`, in the form of PyPI's, which announces a sidecar for every wheel. Some registries leave that out."""
        page = msgspec.json.decode((self.root / "raw" / f"{project}.json").read_bytes())
        packages = self.root / "packages" / project
        for file in page["files"]:
            filename = file["filename"]
            file["url"] = f"{base}/files/{project}/{filename}"
            offered: object = False
            if filename.endswith(".whl"):
                sidecar = packages / f"{filename}.metadata"
                # Nobody asks for the others, so any digest will do.
                offered = {"sha256": sha256_of(sidecar.read_bytes() if sidecar.exists() else filename.encode())}
            file["core-metadata"] = file["data-dist-info-metadata"] = offered
        return msgspec.json.encode(page, order="sorted")

    def write_pages(self, base: str) -> None:
        """Write all pages, and the list of these projects, for an upstream at `base`; compressed too."""
        upstream = self.root / "upstream"
        upstream.mkdir(exist_ok=True)
        names = {"meta": {"api-version": "1.1"}, "projects": [{"name": project} for project in self.projects]}
        pages = [("index", msgspec.json.encode(names)), *((each, self.page(each, base)) for each in self.projects)]
        for name, body in pages:
            (upstream / f"{name}.json").write_bytes(body)
            (upstream / f"{name}.json.gz").write_bytes(gzip.compress(body, 6, mtime=0))


def recorded(root: Path, registry: str = "") -> Recording:
    """The recording in `root`, made from the registry if it is not there."""
    recording = Recording(root=root)
    if recording.compiled.exists():
        return recording
    (root / "raw").mkdir(parents=True, exist_ok=True)
    recording.requirements.write_text(REQUIREMENTS)
    with _recorder(recording, registry or configured_registry()) as index:
        for number in range(_TIMES):
            print(f"recording, {number + 1} of {_TIMES}", file=sys.stderr)
            compiled = compile_with_uv(index, recording.requirements, root / "work")
            names = root / "work" / "compiled.txt"
            names.write_text(compiled.output)
            install_with_uv(index, names, root / "work")
    names.replace(recording.compiled)
    return recording


def make_small(root: Path) -> Recording:
    """Three projects of four versions each, of which one requires the others."""
    recording = Recording(root=root)
    (root / "raw").mkdir(parents=True)
    names = ["bench-top", "bench-left", "bench-right"]
    for name in names:
        files = []
        for number in range(4):
            wants = names[1:] if name == names[0] else []
            built = build_wheel(name, f"1.{number}", requires_python=">=3.9", requires_dist=wants)
            packages = root / "packages" / name
            packages.mkdir(parents=True, exist_ok=True)
            (packages / built.filename).write_bytes(built.data)
            (packages / f"{built.filename}.metadata").write_bytes(built.metadata)
            files.append(
                {
                    "filename": built.filename,
                    "hashes": {"sha256": built.sha256},
                    "size": built.size,
                    "core-metadata": {"sha256": sha256_of(built.metadata)},
                    "url": "",
                }
            )
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files, "versions": ["1.0", "1.1", "1.2", "1.3"]}
        (root / "raw" / f"{name}.json").write_bytes(msgspec.json.encode(page))
    recording.requirements.write_text(f"{names[0]}\n")
    recording.compiled.write_text("".join(f"{name}==1.3\n" for name in sorted(names)))
    return recording


def write_large(recording: Recording, size: int) -> list[str]:
    """Two projects with a different wheel of about `size` bytes each. Returns their names."""
    projects = ["large-one", "large-two"]
    for project in projects:
        place = recording.root / "packages" / project / f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
        page = recording.root / "raw" / f"{project}.json"
        if page.exists() and abs(place.stat().st_size - size) < 1_000:
            continue
        noise = random.Random(project).randbytes(max(1, size - 1_000))
        built = build_wheel(project, "1.0", files={"noise.bin": noise}, stored=True)
        _keep(place, built.data)
        _keep(place.with_name(f"{place.name}.metadata"), built.metadata)
        file = {"filename": built.filename, "hashes": {"sha256": built.sha256}, "size": built.size, "url": ""}
        document = {"meta": {"api-version": "1.1"}, "name": project, "files": [file], "versions": ["1.0"]}
        _keep(page, msgspec.json.encode(document))
    return projects


def configured_registry() -> str:
    """The simple index that pip is configured for on this machine; without a configuration that of a new store."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return found or Settings(data=Path()).upstream


@contextmanager
def _recorder(recording: Recording, registry: str) -> Iterator[str]:
    """An index that records what it fetches."""

    class Handler(_Recorder):
        to = recording
        of = registry.rstrip("/")

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/simple/"
        finally:
            server.shutdown()
            thread.join()


class _Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    to: Recording
    of: str

    def do_GET(self) -> None:
        parts = [part for part in self.path.partition("?")[0].split("/") if part]
        try:
            kind, body = self._page(parts[1]) if parts[:1] == ["simple"] else self._file(*parts[1:])
        except urllib.error.HTTPError as error:
            self.send_error(error.code)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""

    def _page(self, project: str) -> tuple[str, bytes]:
        place = self.to.root / "raw" / f"{parse_project_name(project)}.json"
        if not place.exists():
            _keep(place, _fetched(f"{self.of}/{project}/", JSON))
        return JSON, _announcing(self.to.page(project, f"http://{self.headers['Host']}"))

    def _file(self, project: str, filename: str) -> tuple[str, bytes]:
        place = self.to.root / "packages" / project / filename
        if not place.exists() and filename.endswith(".metadata"):
            _, wheel = self._file(project, filename.removesuffix(".metadata"))
            _keep(place, _metadata_in(wheel))
        elif not place.exists():
            page = msgspec.json.decode((self.to.root / "raw" / f"{project}.json").read_bytes())
            _keep(place, _fetched({file["filename"]: file["url"] for file in page["files"]}[filename], "*/*"))
        return "application/octet-stream", place.read_bytes()


def _fetched(url: str, accept: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": accept, "Accept-Encoding": "identity"})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        body: bytes = answer.read()
    return body


def _announcing(page: bytes) -> bytes:
    """The page without digests of sidecars, which are not known while they are recorded."""
    decoded = msgspec.json.decode(page)
    for file in decoded["files"]:
        file["core-metadata"] = file["data-dist-info-metadata"] = file["filename"].endswith(".whl")
    return msgspec.json.encode(decoded)


def _metadata_in(wheel: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith(".dist-info/METADATA"))


def _keep(place: Path, body: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f"{place.name}.{threading.get_ident()}")
    beside.write_bytes(body)
    beside.replace(place)


if __name__ == "__main__":
    recorded(Path(sys.argv[1]), *sys.argv[2:3])
