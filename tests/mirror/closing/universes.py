"""Small indexes in memory, and closures over them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from msgspec import Struct

from pkgindex_core.digests import sha256_of
from pkgindex_core.errors import Unavailable
from pkgindex_core.models import File
from pkgindex_core.names import ProjectName
from pkgindex_mirror.closing.closing import close_over
from pkgindex_mirror.closing.closure import Closure
from pkgindex_mirror.closing.inputs import read_name
from pkgindex_mirror.closing.install_targets import TargetSet, read_targets
from pkgindex_mirror.closing.metadata_source import MetadataSource
from pkgindex_mirror.closing.version_facts import VersionFacts

LINUX = read_targets(["3.11", "3.12"], ["linux"])
MIXED = read_targets(["3.11", "3.12"], ["linux", "windows"])


class Entry(Struct, frozen=True):
    """A file with its facts."""

    file: File
    facts: VersionFacts


class FakeIndex:
    """A source of metadata that counts its answers. `yields`: how often each answer lets other work go first."""

    def __init__(self, *, yields: Sequence[int] = (0,)) -> None:
        self.projects: dict[str, list[Entry]] = {}
        self.asked: list[str] = []
        self.is_down = False
        self._yields = yields

    def add(
        self,
        project: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        sdist: bool = False,
        builds: Iterable[str] = (),
        requires_python: str = "",
        says_python: str | None = None,
        yanked: bool | str = False,
        unknown: str = "",
        guessed: bool = False,
    ) -> None:
        """Add a file. `requires_python` is on the page, `says_python` in the metadata (None: the same)."""
        stem = f"{project.replace('-', '_')}-{version}"
        filename = f"{stem}.tar.gz" if sdist else f"{stem}-{tag}.whl"
        facts = VersionFacts(
            requires_dist=requires,
            requires_python=requires_python if says_python is None else says_python,
            build_requires=tuple(builds),
            unknown=unknown,
            guessed=guessed,
        )
        digest = sha256_of(filename.encode())
        file = File(
            filename=filename,
            version=version,
            digests={"sha256": digest},
            size=100,
            requires_python=requires_python,
            yanked=yanked,
            url=f"https://files.invalid/{filename}",
        )
        self.projects.setdefault(project, []).append(Entry(file, facts))

    def __repr__(self) -> str:
        """The files with what they say, for the report of a failing example."""
        lines = [
            f"{entry.file.filename} python={entry.file.requires_python!r} yanked={entry.file.yanked!r} {entry.facts}"
            for entries in self.projects.values()
            for entry in entries
        ]
        return "\n".join(["FakeIndex:", *lines])

    def only(self, closure: Closure) -> FakeIndex:
        """The part of the index that a closure has."""
        kept = {file.filename for project in closure.projects.values() for file in project.files}
        part = FakeIndex()
        part.projects = {
            name: [entry for entry in entries if entry.file.filename in kept] for name, entries in self.projects.items()
        }
        part.projects = {name: entries for name, entries in part.projects.items() if entries}
        return part

    async def page(self, project: ProjectName) -> Sequence[File] | None:
        await self._answer(project)
        entries = self.projects.get(project)
        return None if entries is None else [entry.file for entry in entries]

    async def facts(self, project: ProjectName, file: File) -> VersionFacts:
        await self._answer(file.filename)
        return next(entry.facts for entry in self.projects[project] if entry.file == file)

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        for _ in range(self._yields[len(self.asked) % len(self._yields)]):
            await asyncio.sleep(0)
        if self.is_down:
            raise Unavailable("the index is down")


_: type[MetadataSource] = FakeIndex


def closed(index: FakeIndex, *names: str, targets: TargetSet = LINUX, **options) -> Closure:
    """The closure of names."""
    return asyncio.run(close_over([read_name(name) for name in names], index, targets, **options))


def versions(closure: Closure) -> dict[str, list[str]]:
    return {name: [each.version for each in project.versions] for name, project in closure.projects.items()}


def filenames(closure: Closure) -> set[str]:
    return {file.filename for project in closure.projects.values() for file in project.files}
