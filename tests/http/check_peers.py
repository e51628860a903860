"""Runs `pkgindex-serve check` on this server and on six others, and prints one table.

    .venv/bin/python -m benchmarks setup
    pip download --no-deps -d /tmp/files typing-extensions==4.15.0
    pip download --no-deps -d /tmp/files --no-binary :all: typing-extensions==4.15.0
    .venv/bin/python -m tests.http.check_peers /tmp/files

Each server starts empty, as the benchmarks start it. Those that take uploads get the files from twine and are checked with `--upload`; the caches have
this server as their upstream. What a failing row means is printed below the table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from packaging.utils import canonicalize_name

from benchmarks.fixtures import Manifest, Site
from benchmarks.load import ROOT
from benchmarks.peers import Server
from benchmarks.peers.caches import DevpiCache, Peryx, PkgIndexCache, ProxpiCache
from benchmarks.peers.pkgindex import HOSTED
from benchmarks.peers.pypiron import USER, PypIronServer
from benchmarks.peers.pypiserver import PypiServerUploads
from benchmarks.peers.simple_repository import SimpleRepository
from benchmarks.peers.stages import Stages

_STAGE = {"type": "stage", "volatile": "False", "bases": ""}
_MARKS = {"passes": "ok", "fails": "FAILS", "advised": "advice", "skipped": "-"}
_SECRET = "benchmark"
_NOWHERE = "http://127.0.0.1:9"


class Hosting(PkgIndexCache):
    """This server, with an index that has no mirror as its base."""

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "PKGINDEX_ROOT_PASSWORD": _SECRET}

    def stages(self) -> Stages:
        return Stages(self, _SECRET)

    def fill(self) -> None:
        self.stages().send("PATCH", f"/{HOSTED}", _STAGE)


class HostingDevpi(DevpiCache):
    """With an index of its own, in which files stay what they are."""

    def fill(self) -> None:
        self.stages().send("PUT", f"/{HOSTED}", _STAGE)


class HostingPeryx(Peryx):
    """With a hosted index in place of the cached one."""

    def command(self) -> Sequence[str]:
        command = super().command()
        (self.place / "peryx.toml").write_text(
            '[[index]]\nname = "pypi"\nhosted = true\nvolatile = false\n'
            f'[[index.access_token]]\nname = "check"\nsecret = "{_SECRET}"\nactions = ["read", "write"]\n'
        )
        return command


class Subject(Struct, frozen=True, kw_only=True):
    """A running server, and where it is asked."""

    server: Server
    index: str
    """The path of its simple index."""
    uploads: str = ""
    """The path where it takes uploads; empty where it takes none."""
    user: str = ""
    password: str = ""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.port}{path}"


@contextmanager
def running(files: Sequence[Path], place: Path) -> Iterator[list[Subject]]:
    """Start all servers, one after another, and give them the files."""
    packages = place / "site" / "packages"
    project = packages / canonicalize_name(files[0].name.split("-")[0])
    project.mkdir(parents=True)
    for file in files:
        (project / file.name).write_bytes(file.read_bytes())
    site = Site(root=place / "site", manifest=Manifest(recipe=0, sizes=(0,), large_bytes=0, projects={}))
    with ExitStack() as stack:

        def start(server: Server, **where: str) -> Subject:
            if why := server.missing():
                raise SystemExit(f"{server.name}: {why}")
            stack.callback(server.stop)
            server.start()
            subject = Subject(server=server, **where)
            if subject.uploads:
                _give(subject, files)
            return subject

        ours = Hosting(site, place / "pkgindex", upstream=_NOWHERE)
        root = {"user": "root", "password": _SECRET}
        subjects = [start(ours, index="/simple/", uploads="/legacy/", **root)]
        upstream = f"http://127.0.0.1:{ours.port}"
        devpi = HostingDevpi(site, place / "devpi", upstream=_NOWHERE)
        subjects.append(start(devpi, index=f"/{HOSTED}/+simple/", uploads=f"/{HOSTED}/", **root))
        subjects.append(start(PypiServerUploads(site, place / "pypiserver"), index="/simple/", uploads="/", **root))
        pypiron = PypIronServer(place / "pypiron")
        subjects.append(start(pypiron, index="/simple/", uploads="/legacy/", user=USER[1], password=USER[3]))
        peryx = HostingPeryx(site, place / "peryx", upstream=_NOWHERE)
        token = {"user": "__token__", "password": _SECRET}
        subjects.append(start(peryx, index="/pypi/simple/", uploads="/pypi/", **token))
        subjects.append(start(ProxpiCache(site, place / "proxpi", upstream=upstream), index="/index/"))
        subjects.append(start(SimpleRepository(site, place / "simple"), index="/simple/"))
        yield subjects


def _give(subject: Subject, files: Sequence[Path]) -> None:
    """Publish the files as an author would."""
    login = ["-u", subject.user, "-p", subject.password]
    command = [sys.executable, "-m", "twine", "upload", "--disable-progress-bar", *login]
    command += ["--repository-url", subject.url(subject.uploads), *map(str, files)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def checked(subject: Subject, project: str) -> Mapping[str, Any]:
    """The report of the command."""
    command = [sys.executable, "-m", "pkgindex_http", "check", subject.url(subject.index), "--project", project, "--json"]  # fmt: skip
    if subject.uploads:
        command += ["--upload", "--index", subject.url(subject.uploads), "--user", subject.user]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PKGINDEX_CHECK_PASSWORD": subject.password}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in {0, 1}:
        raise SystemExit(f"{subject.server.name}: {done.stderr}")
    report: dict[str, Any] = msgspec.json.decode(done.stdout)
    return report


def main() -> None:
    """Print the table, then each failure."""
    if len(sys.argv) != 2 or not (files := sorted(Path(sys.argv[1]).iterdir())):
        raise SystemExit("usage: python -m tests.http.check_peers DIRECTORY-WITH-A-WHEEL-AND-AN-SDIST")
    project = canonicalize_name(files[0].name.split("-")[0])
    with tempfile.TemporaryDirectory() as place, running(files, Path(place)) as subjects:
        reports = [checked(subject, project) for subject in subjects]
    names = [f"{each.server.name} {each.server.version()}" for each in subjects]
    print(f"| row | requirement | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for row in reports[0]["rows"]:
        found = [{each["row"]: each["verdict"] for each in report["rows"]}.get(row["row"], "skipped") for report in reports]  # fmt: skip
        print(f"| {row['row']} | {row['title']} | {' | '.join(_MARKS[each] for each in found)} |")
    print(f"| | rows that give advice | {' | '.join(str(report['advised']) for report in reports)} |")
    print(f"| | rows that fail | {' | '.join(str(report['failed']) for report in reports)} |\n")
    for name, report in zip(names, reports, strict=True):
        for row in report["rows"]:
            if row["verdict"] != "passes":
                print(f"{name}, {row['row']} {_MARKS[row['verdict']]}: {row['problem']}")


if __name__ == "__main__":
    main()
