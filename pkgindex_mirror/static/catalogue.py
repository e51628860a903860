"""The catalogue of a tree: what the tree has of each project. A run reads and writes the parts that its projects touch.

    .pkgindex/overview       a line for each project, and a digest of each of the other parts
    .pkgindex/projects/a7    the entries of some projects (`entries`)
    .pkgindex/changes/7      the files on page 7 of the changelog

A run writes the overview when it ends. After a killed run the overview may not fit the entries, so all entries are read. A part with another
digest than the overview says raises `DamagedTree`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate
from typing import Final

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Corrupt
from pkgindex_core.names import ProjectName
from pkgindex_core.tools.side_by_side import side_by_side
from pkgindex_mirror.static.entries import (
    SHARDS,
    CatalogueEntry,
    ListedChange,
    ProjectLine,
    read_shard,
    shard_of,
    write_shard,
)
from pkgindex_mirror.static.state import digest
from pkgindex_mirror.static.targets import Target

OVERVIEW: Final = ".pkgindex/overview"
CHANGES: Final = ".pkgindex/changes"
PACKAGES: Final = "packages.json"
_AT_ONCE: Final = 16
"""Number of parts that are read at the same time."""


class DamagedTree(Corrupt):
    """A part of the tree is missing, or is not what the last run wrote."""


class ChangePage(Struct, frozen=True, array_like=True):
    """A page of the changelog that is full, or the last one."""

    start: ListedChange
    """The oldest file on it."""
    digest: bytes
    """The digest of its part of the catalogue."""


class CatalogueParts(Struct, frozen=True, kw_only=True):
    """The parts of a new catalogue."""

    written: Mapping[str, bytes]
    """The parts that differ from those in the tree."""
    kept: frozenset[str]
    """The paths of all parts but the overview."""


class CatalogueOverview(Struct, frozen=True, array_like=True):
    """The first part of a catalogue, which names the others."""

    lines: tuple[ProjectLine, ...] = ()
    """By name."""
    shards: Mapping[str, bytes] = {}
    """Digests by path."""
    changes: tuple[ChangePage, ...] = ()
    frames: Mapping[str, bytes] = {}
    """The frames of pages for people by path. A page whose frame is kept needs no template."""
    packages: bytes = b""
    """The digest of `packages.json`."""


_encode = msgspec.msgpack.Encoder().encode
_overview_decoder = msgspec.msgpack.Decoder(CatalogueOverview)
_changes_decoder = msgspec.msgpack.Decoder(list[ListedChange])


class Catalogue:
    """The catalogue of one target, in one run. It is empty unless it is opened."""

    def __init__(self, target: Target) -> None:
        self.lines: dict[ProjectName, ProjectLine] = {}
        self.former = CatalogueOverview()
        self.changed: dict[ProjectName, CatalogueEntry | None] = {}
        """The former entries of all projects that were put or dropped."""
        self._target = target
        self._shards: dict[str, dict[ProjectName, CatalogueEntry]] = {}
        self._stored = b""

    async def open(self, *, finished: bool) -> None:
        """Read the overview. If the last run has not `finished`, read all entries instead."""
        if not finished:
            await self._read(await self._target.walk(SHARDS))
            found = [*(await self.load_all()).values()]
            self.former = CatalogueOverview(
                shards={path: digest(write_shard(each.values())) for path, each in self._shards.items()}
            )
            self.lines = {entry.line.name: entry.line for entry in found}
            return
        self._stored = await self._target.read(OVERVIEW) or b""
        try:
            self.former = _overview_decoder.decode(self._stored)
        except msgspec.DecodeError as error:
            raise DamagedTree("the overview of the tree cannot be read") from error
        self.lines = {line.name: line for line in self.former.lines}

    async def load(self, names: Iterable[ProjectName]) -> None:
        """Read the entries of some projects."""
        await self._read({shard_of(name) for name in names} & self.former.shards.keys())

    async def load_all(self) -> Mapping[ProjectName, CatalogueEntry]:
        """Read all entries, and return them by name."""
        await self._read(self.former.shards.keys())
        return {name: entry for shard in self._shards.values() for name, entry in shard.items()}

    def entry(self, name: ProjectName) -> CatalogueEntry | None:
        """The entry of a project that was loaded."""
        return self._shards.get(shard_of(name), {}).get(name)

    def put(self, name: ProjectName, entry: CatalogueEntry | None) -> None:
        """Give a project that was loaded an entry, or with None drop it."""
        shard = self._shards.setdefault(shard_of(name), {})
        self.changed.setdefault(name, shard.get(name))
        if entry is None:
            shard.pop(name, None)
            self.lines.pop(name, None)
        else:
            shard[name], self.lines[name] = entry, entry.line

    async def packages(self) -> dict[ProjectName, bytes]:
        """The lines of each project in `packages.json`. They are cut out of that file in the tree, if it is the one that was written."""
        data = await self._target.read(PACKAGES) or b""
        if not self.former.lines or digest(data) != self.former.packages:
            packages = {name: entry.packages for name, entry in (await self.load_all()).items()}
        else:
            ends = accumulate(line.size for line in self.former.lines)
            packages = {
                line.name: data[end - line.size : end] for line, end in zip(self.former.lines, ends, strict=True)
            }
        for name in self.changed:
            entry = self.entry(name)
            if entry is None:
                packages.pop(name, None)
            else:
                packages[name] = entry.packages
        return packages

    async def changes(self, first: int) -> list[ListedChange]:
        """The files on the former pages of the changelog, from page `first` on. Pages are counted from 0."""
        found: list[ListedChange] = []
        for number, page in enumerate(self.former.changes[first:], start=first + 1):
            path = f"{CHANGES}/{number}"
            found += _changes_decoder.decode(await self._part(path, page.digest))
        return found

    def parts(
        self, first: int, pages: Sequence[Sequence[ListedChange]], frames: Mapping[str, bytes], packages: bytes
    ) -> CatalogueParts:
        """Make the catalogue of the tree as it is now.

        `pages` are the pages of the changelog from page `first` on, and `packages` the digest of `packages.json`.
        """
        shards = dict(self.former.shards)
        written = {}
        for path in {shard_of(name) for name in self.changed}:
            if self._shards[path]:
                written[path] = write_shard(self._shards[path].values())
                shards[path] = digest(written[path])
            else:
                shards.pop(path, None)
        changes = [*self.former.changes[:first]]
        for page in pages:
            data = _encode(page)
            changes.append(ChangePage(page[0], digest(data)))
            written[f"{CHANGES}/{len(changes)}"] = data
        former = self._former_parts()
        written = {path: data for path, data in written.items() if digest(data) != former.get(path)}
        lines = tuple(self.lines[name] for name in sorted(self.lines))
        overview = _encode(CatalogueOverview(lines, dict(sorted(shards.items())), tuple(changes), frames, packages))
        if overview != self._stored:
            written[OVERVIEW] = overview
        kept = frozenset({*shards, *(f"{CHANGES}/{number}" for number in range(1, len(changes) + 1))})
        return CatalogueParts(written=written, kept=kept)

    async def there(self, *, trusted: bool) -> AbstractSet[str]:
        """The paths of the parts in the tree: those that the overview names, or if it is not `trusted` all that are found."""
        if trusted:
            return self._former_parts().keys()
        return await self._target.walk(SHARDS) | await self._target.walk(CHANGES)

    def _former_parts(self) -> dict[str, bytes]:
        """The digests of the former parts by path, without that of the overview."""
        pages = {f"{CHANGES}/{number}": page.digest for number, page in enumerate(self.former.changes, start=1)}
        return {**self.former.shards, **pages}

    async def _read(self, paths: Iterable[str]) -> None:
        await side_by_side(sorted({*paths} - self._shards.keys()), self._read_shard, at_once=_AT_ONCE)

    async def _read_shard(self, path: str) -> None:
        data = await self._part(path, self.former.shards.get(path))
        try:
            self._shards[path] = read_shard(data)
        except msgspec.DecodeError as error:
            raise DamagedTree(f"{path} of the tree cannot be read") from error

    async def _part(self, path: str, expected: bytes | None) -> bytes:
        data = await self._target.read(path) or b""
        if expected is not None and digest(data) != expected:
            raise DamagedTree(f"{path} of the tree is not what it was")
        return data
