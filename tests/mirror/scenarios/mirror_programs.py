"""Mirrors as the scenarios see them: a program that brings a tree up to date with a registry, and ends."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from tests.clients.running import clean_environment

ROOT = Path(__file__).parents[3]
JSON = "application/vnd.pypi.simple.v1+json"
CLEAN, PARTIAL = 0, 3


class Outcome(Struct, frozen=True):
    """The end of a run."""

    status: int
    output: str


class MirrorProgram(Protocol):
    """A mirror. Exit status 0: all was done; 3: what failed is left as it was, and the rest was done."""

    def run(self, directory: Path, url: str, *, force: bool = False, failpoints: str = "") -> Outcome:
        """Bring a tree up to date. `force`: try again at once what failed."""
        ...


class OwnMirror:
    """`pkgindex-mirror mirror`, with a configuration of bandersnatch's."""

    def run(self, directory: Path, url: str, *, force: bool = False, failpoints: str = "") -> Outcome:
        directory.mkdir(exist_ok=True)
        configuration = directory.with_name(f"{directory.name}.conf")
        configuration.write_text(
            f"[mirror]\ndirectory = {directory}\nmaster = {url}\nallow-non-https = true\njson = true\n"
            "workers = 3\nhash-index = false\nstop-on-error = false\nremoved = delete\n"
        )
        command = [sys.executable, "-m", "pkgindex_mirror", "mirror", "-c", str(configuration)]
        process = subprocess.Popen(
            [*command, "--force-check"] if force else command,
            env={
                **clean_environment(),
                "PYTHONPATH": str(ROOT),
                "PYTHONFAULTHANDLER": "1",
                "PKGINDEX_FAILPOINTS": failpoints,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # tells where it hangs
            output, _ = process.communicate()
        return Outcome(process.returncode, output)


class FakeMirror:
    """A mirror as simple as can be, within this process. It proves that the scenarios can be passed."""

    goes_on = True
    guards = True
    asks_for_news = True

    def run(self, directory: Path, url: str, *, force: bool = False, failpoints: str = "") -> Outcome:
        web = directory / "web"
        (web / "simple").mkdir(parents=True, exist_ok=True)
        (web / "packages").mkdir(exist_ok=True)
        state = directory / "state.json"
        known: dict[str, Any] = json.loads(state.read_text()) if state.exists() else {"etag": "", "serials": {}}
        headers, body = self._get(f"{url}/simple/", known["etag"] if self.asks_for_news else "")
        if body is None:
            return Outcome(CLEAN, "")
        serials: dict[str, int] = known["serials"]
        listed = {each["name"].lower().replace(".", "-"): each for each in json.loads(body)["projects"]}
        gone = sorted(serials.keys() - listed.keys())
        shrank = failed = self.guards and len(gone) * 2 >= len(serials) > 0
        for name in () if shrank else gone:
            serials.pop(name)
            self._remove(web, name)
        for name, each in listed.items():
            if force or serials.get(name) != each["_last-serial"]:
                try:
                    self._mirror(web, url, name, each["_last-serial"])
                    serials[name] = each["_last-serial"]
                except (ValueError, OSError) as error:
                    failed = True
                    print(name, error)
                    if not self.goes_on:
                        break
        self._finish(web, {name: listed[name]["name"] for name in serials if name in listed}, removes=not shrank)
        known["etag"] = "" if failed else headers["ETag"]
        state.write_text(json.dumps(known))
        return Outcome(PARTIAL if failed else CLEAN, "")

    def _mirror(self, web: Path, url: str, name: str, serial: int) -> None:
        headers, body = self._get(f"{url}/simple/{name}/")
        if int(headers["X-PyPI-Last-Serial"]) < serial:
            raise ValueError("it is stale")
        page = self._read(body or b"")
        for file in page["files"]:
            self._file(web, file["url"], file["hashes"]["sha256"])
            if file["core-metadata"]:
                self._file(web, f"{file['url']}.metadata", file["core-metadata"]["sha256"])
            file["url"] = f"../..{urlsplit(file['url']).path}"
        directory = web / "simple" / name
        directory.mkdir(exist_ok=True)
        anchors = "".join(
            f'<a href="{file["url"]}#sha256={file["hashes"]["sha256"]}">{file["filename"]}</a>'
            for file in page["files"]
        )
        for form in ("index.html", "index.v1_html"):
            (directory / form).write_text(anchors)
        (directory / "index.v1_json").write_text(json.dumps(page))

    def _file(self, web: Path, url: str, sha256: str) -> None:
        place = web / urlsplit(url).path[1:]
        if place.exists():
            return
        _, data = self._get(url)
        if data is None or not self._is_right(data, sha256):
            raise ValueError(f"{url} has other bytes")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        os.utime(place, (0, 0))

    def _finish(self, web: Path, listed: dict[str, str], *, removes: bool) -> None:
        found = [path.parent.name for path in sorted((web / "simple").glob("*/index.v1_json"))]
        names = {name: {"name": listed.get(name, name)} for name in found}
        (web / "simple/index.v1_json").write_text(json.dumps({"projects": list(names.values())}))
        used = set()
        for name in names:
            for file in json.loads((web / "simple" / name / "index.v1_json").read_text())["files"]:
                used.add(file["url"].removeprefix("../../"))
        for path in (web / "packages").rglob("*") if removes else ():
            if path.is_file() and path.relative_to(web).as_posix().removesuffix(".metadata") not in used:
                path.unlink()

    def _read(self, body: bytes) -> Any:
        return json.loads(body)

    def _is_right(self, data: bytes, sha256: str) -> bool:
        return hashlib.sha256(data).hexdigest() == sha256

    def _remove(self, web: Path, name: str) -> None:
        shutil.rmtree(web / "simple" / name)

    def _get(self, url: str, etag: str = "") -> tuple[Any, bytes | None]:
        request = urllib.request.Request(url, headers={"Accept": JSON, **({"If-None-Match": etag} if etag else {})})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.headers, response.read()
        except http.client.IncompleteRead as error:
            rest = urllib.request.Request(url, headers={"Range": f"bytes={len(error.partial)}-"})
            with urllib.request.urlopen(rest, timeout=20) as response:
                return response.headers, error.partial + response.read()
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return error.headers, None
            raise
