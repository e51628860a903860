"""Finds the releases of a page on which filters may rule, so that only these are judged, and few files decoded.

    columns of all files -> each filter names the versions that it suspects -> all spellings of these -> their files

A filter that can glance says for whole columns where it may rule, which costs little for each file. With any other filter the page is judged
file by file (`filtering`). The rulings are the same. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import Protocol, runtime_checkable

from pkgindex_core.formats.columns import Columns
from pkgindex_core.formats.kept_pages import KeptEntries
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, decode_file
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build, MergedPage, PageEntry


@runtime_checkable
class Glances(Protocol):
    """A page filter that can say beforehand where it may rule."""

    @property
    def by_release(self) -> bool:
        """As filters say it: whether a decision looks at the other files of a release."""
        ...

    @property
    def by_version(self) -> bool:
        """Whether it rules alike on all files of a release that spell the version alike. Unless it is `by_release`, it reads nothing else of a file."""
        ...

    def suspects(self, origin: IndexName, columns: Columns, build: Build) -> Collection[str] | None:
        """Spellings of versions such that it rules on no file of a release without one of them; None: it may rule on any."""
        ...


class Glance:
    """The files of a page by their places in it."""

    def __init__(self, merged: MergedPage) -> None:
        self._merged = merged
        self._kept = merged.entries if isinstance(merged.entries, KeptEntries) else None
        self._entries: Sequence[PageEntry] = () if self._kept is not None else tuple(merged.entries)
        self._columns = (
            _columns(self._entries) if self._kept is None else self._kept.rows.columns(lambda: self._kept.pieces[1:])  # type: ignore[union-attr]  # checked here
        )

    @property
    def spelled(self) -> Sequence[str]:
        """The version of each file."""
        return self._columns.versions

    @property
    def distinct(self) -> Collection[str]:
        """Each spelling of a version once."""
        return self._columns.distinct

    @property
    def is_plain(self) -> bool:
        """Whether the page is a kept one whose versions all have files."""
        return self._kept is not None and self._merged.versions is self._kept.rows.versions()

    @property
    def _spells_once(self) -> bool:
        """Whether no release is spelled in two ways by its files: the page lists each release of its files once, and no others."""
        return len(self._merged.versions) == len(self.distinct)

    def versions_without(self, hidden: Collection[int], judged: Iterable[int]) -> tuple[str, ...]:
        """The versions that the page lists, without those of which all files are hidden. `judged` are all files of these, and perhaps others."""
        spelled, listed = self.spelled, self._merged.versions
        gone = {spelled[place] for place in hidden}
        shown = {spelled[place] for place in {*judged}.difference(hidden)}
        if self._spells_once and gone.issubset(listed):
            gone -= shown
            return tuple([each for each in listed if each not in gone])
        gone = {*map(canonical_version, gone)} - {*map(canonical_version, shown)}
        return tuple(each for each in listed if canonical_version(each) not in gone) if gone else listed

    def origin(self, place: int) -> IndexName:
        return self._kept.origin if self._kept is not None else self._entries[place].origin

    def suspected(self, filters: Mapping[str, Glances], builds: Mapping[str, Build]) -> Mapping[str, Collection[str]]:
        """For each filter the spellings of the versions whose files it judges, in any layer. The page has no versions without files."""
        found: dict[str, Collection[str]] = {}
        for origin, columns in self._layers():
            for name, each in filters.items():
                versions = each.suspects(origin, columns, builds[name])
                if versions is None:
                    found[name] = self.distinct
                elif versions:
                    found[name] = {*found.get(name, ()), *versions}
        return {name: self._spellings(found[name]) for name in filters if name in found}

    def files(self, places: Sequence[int], *, whole: Collection[str]) -> dict[int, File]:
        """The files at some places, in this order. Those of the versions `whole` are whole, others have a name and a version."""
        spelled = self.spelled
        wanted = [place for place in places if spelled[place] in whole]
        if self._kept is not None:
            found = self._kept.rows.at(wanted, self._kept.pieces) if wanted else {}
        else:
            found = {place: decode_file(self._entries[place].row.body) for place in wanted}
        return {
            place: found.get(place) or File(filename=self._filename(place), version=spelled[place]) for place in places
        }

    def without(self, hidden: Collection[int]) -> Collection[PageEntry]:
        """The entries of the page without the files at some places."""
        if self._kept is not None:
            return self._kept.without(frozenset(hidden))
        shown = bytearray(b"\1") * len(self._entries)
        for place in hidden:
            shown[place] = 0
        return tuple(compress(self._entries, shown))

    def _filename(self, place: int) -> str:
        return self._kept.filename(place) if self._kept is not None else self._entries[place].row.filename

    def _spellings(self, versions: Collection[str]) -> Collection[str]:
        """All spellings of the releases of some spellings."""
        if self._spells_once:
            return versions
        wanted = {canonical_version(version) for version in versions}
        return {each for each in self.distinct if canonical_version(each) in wanted}

    def _layers(self) -> Iterable[tuple[IndexName, Columns]]:
        """The layers with the columns of their files."""
        if self._kept is not None:
            return [(self._kept.origin, self._columns)]
        origins = {entry.origin for entry in self._entries}
        if len(origins) == 1:
            return [(origin, self._columns) for origin in origins]
        return [(each, _columns([entry for entry in self._entries if entry.origin == each])) for each in origins]


def _columns(entries: Sequence[PageEntry]) -> Columns:
    return Columns(
        lambda: [each.row.fragment for each in entries],
        lambda: b"".join([each.row.fragment for each in entries]),
        lambda: [each.row.version for each in entries],
    )
