"""A package registry that is made up, for mirrors: its list, pages, documents, sidecars and files, as static files that nginx sends.

    projects/alpha-00007     a link to the state that is shown
    states/alpha-00007@20000042/page.json, page.html, document.json
    list                     a link to the list that is shown
    lists/0@20000042/page.json(.gz), page.html(.gz)
    files/alpha_00007-1.0-py3-none-any.whl(.metadata)

A serial is part of the name of a directory, from which nginx makes the header `X-PyPI-Last-Serial`. Times of files are made of serials, so that an
ETag belongs to a content. A change makes a new state and moves a link, and moving it back undoes the change.

Everything is the same every time. Names are in the order of PyPI's list; every third is not spelled in its normal form. Files are tiny, but real.
`padding` adds names to the list that have no page: a list as long as PyPI's costs seconds. `faults.py` has the changes.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import string
from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path

import msgspec
from isal import igzip

from benchmarks import made_pages
from benchmarks.made_pages import MadeFile, MadeProject
from pkgindex_core.names import parse_project_name
from pkgindex_core.testing.wheels import build_sdist, build_wheel

FIRST_SERIAL = 20_000_000
_EPOCH = 1_600_000_000
"""The time of a file is its serial after this."""
_WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "kappa", "lambda", "omega", "sigma", "tau")
_PADDING_CHARACTERS = 13

Undo = Callable[[], None]


class MadeRegistry:
    """The registry on disk below `root`, whose links begin with `url`."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = root
        self.url = url
        self.projects: dict[str, MadeProject] = {}
        """All projects by their normal name, those that are not listed included."""
        self.unlisted: set[str] = set()
        self.serial = FIRST_SERIAL
        """The serial of the last change that is shown."""
        self._last = FIRST_SERIAL
        self._faults: dict[str, str] = {}
        self._padding: tuple[str, ...] = ()

    def fill(self, projects: int, files: int, *, padding: int = 0) -> None:
        """Make everything: `files` is the number of files of all projects together."""
        for directory in ("projects", "states", "lists", "files", "cuts", "cut"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        self._padding = tuple(_padding(padding))
        for number in range(projects):
            count = files * (number + 1) // projects - files * number // projects
            self.put(self._made(number, count))
        self.write_list()

    def next_serial(self) -> int:
        """A serial that nothing had before; not even what was undone."""
        self._last += 1
        self.serial = self._last
        return self._last

    def put(self, project: MadeProject, *, fault: str = "") -> None:
        """Show a state of a project. `fault`: `unavailable` (503), `broken` (half of each page), `stale` (older than the list says), or empty."""
        serial = project.serial - (fault == "stale")
        state = self.root / "states" / f"{project.name}@{serial}{fault and f'-{fault}'}"
        if not state.exists():
            self._write_state(state, msgspec.structs.replace(project, serial=serial), fault)
        self.projects[project.name] = project
        self._faults[project.name] = fault
        _point(self.root / "projects" / project.name, state)

    def withdraw(self, name: str) -> None:
        """Have no page of a project, and do not list it."""
        (self.root / "projects" / name).unlink()
        del self.projects[name]
        self._faults.pop(name, None)

    def write_list(self) -> None:
        """Show the list of the projects as they are now."""
        listed = [
            (each.name, each.raw, each.serial) for each in self.projects.values() if each.name not in self.unlisted
        ]
        listed += [(name, name, FIRST_SERIAL) for name in self._padding]
        listed.sort()
        place = self.root / "lists" / f"{len(list((self.root / 'lists').iterdir()))}@{self.serial}"
        place.mkdir()
        for form, data in (("json", _list_json(listed, self.serial)), ("html", _list_html(listed))):
            self._write(place / f"page.{form}", data, self.serial)
            self._write(place / f"page.{form}.gz", igzip.compress(data, 1, mtime=0), self.serial)
        _point(self.root / "list", place)

    def remember(self) -> Undo:
        """The function that shows everything as it is now; contents of files excepted, which `faults` puts back itself."""
        projects, faults, unlisted = dict(self.projects), dict(self._faults), set(self.unlisted)
        serial, shown = self.serial, (self.root / "list").resolve()

        def undo() -> None:
            for name in self.projects.keys() - projects.keys():
                self.withdraw(name)
            for name, project in projects.items():
                if self.projects.get(name) is not project or self._faults.get(name) != faults[name]:
                    self.put(project, fault=faults[name])
            self.unlisted, self.serial = set(unlisted), serial
            _point(self.root / "list", shown)

        return undo

    def add_file(self, project: MadeProject, number: int, *, noise: int = 0) -> MadeFile:
        """Make the file of that number of a project, and have it at its URL. `noise`: bytes that make it larger."""
        version = f"1.{number}"
        is_sdist = number % 4 == 3
        requires = (">=3.8", "", ">=3.9,<4")[number % 3]
        built = (
            build_sdist(project.raw, f"1.{number - 1}", requires_python=requires)
            if is_sdist
            else build_wheel(project.raw, version, requires_python=requires, files=_noise(number, noise))
        )
        at = FIRST_SERIAL + 60 * number
        self._write(self.root / "files" / built.filename, built.data, at)
        if not is_sdist:
            self._write(self.root / "files" / f"{built.filename}.metadata", built.metadata, at)
        return MadeFile(
            filename=built.filename,
            version=f"1.{number - 1}" if is_sdist else version,
            sha256=built.sha256,
            blake2b=hashlib.blake2b(built.data, digest_size=32).hexdigest(),
            md5=hashlib.md5(built.data, usedforsecurity=False).hexdigest(),
            size=len(built.data),
            metadata_sha256="" if is_sdist else hashlib.sha256(built.metadata).hexdigest(),
            requires_python=requires,
            uploaded=(_EPOCH + at) * 1_000_000 + 7 * number + 1,
            yanked="broken by accident" if number % 50 == 49 else "",
        )

    def file_place(self, filename: str) -> Path:
        """The place of the bytes of a file."""
        return self.root / "files" / filename

    def replace_bytes(self, filename: str, data: bytes) -> Undo:
        """Have other bytes at the URL of a file. The function that is returned puts the old ones back."""
        place = self.file_place(filename)
        kept = place.with_name(f"{filename}.kept")
        moment = place.stat().st_mtime
        place.rename(kept)
        place.write_bytes(data)
        os.utime(place, (moment, moment))

        def undo() -> None:
            kept.replace(place)

        return undo

    def remove(self) -> None:
        """Remove everything from disk."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _made(self, number: int, files: int) -> MadeProject:
        word = _WORDS[number % len(_WORDS)]
        raw = f"{word.title()}.{number:05d}" if number % 3 == 0 else f"{word}-{number:05d}"
        project = MadeProject(name=parse_project_name(raw), raw=raw, serial=self.next_serial())
        return msgspec.structs.replace(project, files=tuple(self.add_file(project, at) for at in range(files)))

    def _write_state(self, state: Path, project: MadeProject, fault: str) -> None:
        state.mkdir()
        if fault == "unavailable":
            (state / "unavailable").touch()
        contents = {
            "page.json": made_pages.simple_json(project, self.url),
            "page.html": made_pages.simple_html(project, self.url),
            "document.json": made_pages.document(project, self.url),
        }
        for name, data in contents.items():
            self._write(state / name, data[: len(data) // 2] if fault == "broken" else data, project.serial)

    @staticmethod
    def _write(place: Path, data: bytes, serial: int) -> None:
        place.write_bytes(data)
        os.utime(place, (_EPOCH + serial, _EPOCH + serial))


def _noise(seed: int, count: int) -> dict[str, bytes] | None:
    return {"noise.bin": random.Random(seed).randbytes(count)} if count else None


def _padding(count: int) -> Iterator[str]:
    chance = random.Random(count)
    for number in range(count):
        letters = "".join(chance.choices(string.ascii_lowercase, k=_PADDING_CHARACTERS - 6))
        yield f"{letters}{number:06d}"


def _list_json(listed: Iterable[tuple[str, str, int]], serial: int) -> bytes:
    entries = ",".join([f'{{"_last-serial":{at},"name":"{raw}"}}' for _, raw, at in listed])
    return f'{{"meta":{{"_last-serial":{serial},"api-version":"1.4"}},"projects":[{entries}]}}'.encode()


def _list_html(listed: Iterable[tuple[str, str, int]]) -> bytes:
    anchors = "".join([f'<a href="/simple/{name}/">{escape(raw)}</a>\n' for name, raw, _ in listed])
    return made_pages.html_page("Simple index", anchors)


def _point(link: Path, at: Path) -> None:
    """Have a link point elsewhere, without a moment in which it is not there."""
    new = link.with_name(f"{link.name}.new")
    new.symlink_to(at)
    new.replace(link)
