"""A fake of a mirror on disk, which changes as a sync changes one: files first, pages replaced by rename, deletions last."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pkgindex_core.clock import SystemClock
from pkgindex_mirror.cli import main
from pkgindex_mirror.snapshots.publishing import PublishedNames
from pkgindex_mirror.snapshots.taking import Snapshots
from tests.crash.processes import clean_environment

ROOT = Path(__file__).parents[3]


class FakeMirror:
    """A tree in bandersnatch's layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.projects: dict[str, dict[str, bytes]] = {}
        self.serial = 0
        (root / "web/simple").mkdir(parents=True, exist_ok=True)
        (root / ".lock").touch()
        self.write("generation", b"5")

    def put(self, project: str, filename: str, data: bytes) -> Path:
        """Add a file to a project. Returns its path in the tree."""
        self.projects.setdefault(project, {})[filename] = data
        place = self.write(self.path_of(filename, data), data)
        self.finish(project)
        return place

    def remove(self, project: str, filename: str) -> None:
        data = self.projects[project].pop(filename)
        self.finish(project)
        (self.root / self.path_of(filename, data)).unlink()

    def remove_project(self, project: str) -> None:
        files = self.projects.pop(project)
        for below in ("simple", "pypi"):
            shutil.rmtree(self.root / "web" / below / project)
        (self.root / "web/json" / project).unlink()
        for filename, data in files.items():
            (self.root / self.path_of(filename, data)).unlink()
        self._lists()

    def finish(self, project: str) -> None:
        """Write the pages of a project, then those of all."""
        files = self.projects[project]
        links = [
            {
                "filename": name,
                "url": f"../../{self.path_of(name, data).removeprefix('web/')}",
                "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                "size": len(data),
            }
            for name, data in sorted(files.items())
        ]
        html = "".join(f'<a href="{x["url"]}#sha256={x["hashes"]["sha256"]}">{x["filename"]}</a>\n' for x in links)  # type: ignore[index]  # a dict of several types
        for page in ("index.html", "index.v1_html"):
            self.write(f"web/simple/{project}/{page}", html.encode())
        self.write(f"web/simple/{project}/index.v1_json", json.dumps({"name": project, "files": links}).encode())
        for document in (f"web/json/{project}", f"web/pypi/{project}/json"):
            self.write(document, json.dumps({"info": {"name": project}, "urls": links}, indent=4).encode())
        self._lists()

    def write(self, path: str, data: bytes) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}.new")
        new.write_bytes(data)
        new.replace(place)
        return place

    def path_of(self, filename: str, data: bytes) -> str:
        digits = hashlib.blake2b(filename.encode() + data, digest_size=32).hexdigest()
        return f"web/packages/{digits[:2]}/{digits[2:4]}/{digits[4:]}/{filename}"

    def _lists(self) -> None:
        self.serial += 1
        names = sorted(self.projects)
        self.write("web/simple/index.html", "".join(f'<a href="{name}/">{name}</a>\n' for name in names).encode())
        self.write("web/simple/index.v1_json", json.dumps({"projects": names}).encode())
        (self.root / "status").write_text(str(self.serial))  # in place, as bandersnatch writes it

    def settle(self) -> None:
        """Make all files look as if they were written long ago, so that stamps count."""
        for place in self.root.rglob("*"):
            if ".pkgindex" not in place.parts and place.is_file():
                os.utime(place, (1_700_000_000, 1_700_000_000))


def sample(root: Path, *, seed: int = 1) -> FakeMirror:
    """A small mirror: three projects, files of several sizes."""
    mirror = FakeMirror(root)
    chance = random.Random(seed)
    for number, size in enumerate((0, 10, 3_000, 40_000, 200_000)):
        mirror.put("demo", f"demo-{number}.0-py3-none-any.whl", chance.randbytes(size))
    mirror.put("other", "other-1.0.tar.gz", chance.randbytes(9_000))
    mirror.put("gone", "gone-1.0.tar.gz", chance.randbytes(5_000))
    return mirror


def change(mirror: FakeMirror, *, seed: int = 2) -> None:
    """A sync later: a file, a project and a removal of each kind."""
    chance = random.Random(seed)
    mirror.put("demo", f"demo-{seed}.9-py3-none-any.whl", chance.randbytes(70_000))
    mirror.put(f"new-{seed}", f"new_{seed}-1.0.tar.gz", chance.randbytes(2_000))
    if "demo-1.0-py3-none-any.whl" in mirror.projects["demo"]:
        mirror.remove("demo", "demo-1.0-py3-none-any.whl")
    if "gone" in mirror.projects:
        mirror.remove_project("gone")


def contents(root: Path) -> dict[str, bytes]:
    """The bytes of all files of a tree, without hidden ones."""
    return {
        place.relative_to(root).as_posix(): place.read_bytes()
        for place in root.rglob("*")
        if place.is_file() and not any(piece.startswith(".") for piece in place.relative_to(root).parts)
    }


def kept(snapshots: Snapshots, number: int) -> dict[str, bytes]:
    """The bytes of all files of a snapshot."""
    return {file.path: b"".join(snapshots.objects.read(file)) for file in snapshots.files(number)}


def take(root: Path, name: str = "") -> int:
    snapshots = Snapshots(root, SystemClock())
    with snapshots.places.locked(tree=True):
        snapshots.recover()
        return snapshots.take(name).number


def opened(root: Path) -> tuple[Snapshots, PublishedNames]:
    snapshots = Snapshots(root, SystemClock())
    return snapshots, PublishedNames(snapshots)


def run(*words: str | Path | int) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def ran(*words: str | Path | int) -> str:
    done = run(*words)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*words: str | Path | int) -> Any:
    return json.loads(ran(*words, "--json"))


def run_armed(failpoints: str, *words: str | Path | int, limit: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, with failpoints. `limit`: the most bytes of a file that it may write."""
    command = [sys.executable, "-m", "pkgindex_mirror", *map(str, words)]
    if limit:
        code = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)"
        code += "; sys.argv[:2] = ['pkgindex-mirror']; runpy.run_module('pkgindex_mirror', run_name='__main__')"
        command = [sys.executable, "-c", code, str(limit), *map(str, words)]
    environment = clean_environment() | {"PKGINDEX_FAILPOINTS": failpoints, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)
