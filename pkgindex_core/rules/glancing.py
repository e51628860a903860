"""Finds the files of a page on which filters may rule, so that only their releases are decoded and judged.

    columns of all files -> each filter names its suspects -> the files of their releases

A filter that can glance says for whole columns where it may rule, which costs little for each file. With any other filter, and if many
files are suspects, the page is judged file by file (`filtering`). The rulings are the same. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

from pkgindex_core.formats.columns import Columns
from pkgindex_core.formats.kept_pages import KeptEntries
from pkgindex_core.formats.versions import canonical_version
from pkgindex_core.models import File, decode_file
from pkgindex_core.names import IndexName
from pkgindex_core.protocols.policies import Build, PageEntry

_FEW = 4
"""A page is judged file by file if more than one in so many of its files are in suspected releases."""


@runtime_checkable
class Glances(Protocol):
    """A page filter that can say beforehand where it may rule."""

    def suspects(
        self, origin: IndexName, columns: Columns, spelled: Callable[[], Sequence[str]], build: Build
    ) -> Collection[int] | None:
        """The places of files such that it rules on no file of a release without one; None: it cannot say. `spelled` reads their versions."""
        ...


class Glance:
    """The files of a page by their places in it."""

    def __init__(self, entries: Collection[PageEntry]) -> None:
        self.kept = entries if isinstance(entries, KeptEntries) else None
        self.entries: Sequence[PageEntry] = () if self.kept is not None else tuple(entries)

    @cached_property
    def spelled(self) -> Sequence[str]:
        """The version of each file."""
        return self.kept.rows.spelled() if self.kept is not None else [each.row.version for each in self.entries]

    def origin(self, place: int) -> IndexName:
        return self.kept.origin if self.kept is not None else self.entries[place].origin

    def suspected(self, filters: Mapping[str, object], builds: Mapping[str, Build]) -> dict[int, File] | None:
        """The files of all releases with suspects, by their places; None: judge file by file."""
        found: set[int] = set()
        for origin, places, columns, spelled in self._layers():
            for name, each in filters.items():
                there = each.suspects(origin, columns, spelled, builds[name]) if isinstance(each, Glances) else None
                if there is None or len(there) * _FEW > len(columns):
                    return None
                found.update(there if places is None else [places[at] for at in there])
        if not found:
            return {}
        canonical = {version: canonical_version(version) for version in {*self.spelled}}
        wanted = {canonical[self.spelled[place]] for place in found}
        whole = [place for place, version in enumerate(self.spelled) if canonical[version] in wanted]
        if len(whole) * _FEW > len(self.spelled):
            return None
        if self.kept is not None:
            return self.kept.rows.at(whole)
        return {place: decode_file(self.entries[place].row.body) for place in whole}

    def without(self, hidden: Collection[int], versions: Sequence[str]) -> Collection[PageEntry]:
        """The entries of the page without the files at some places; the page lists these versions."""
        if self.kept is not None:
            rows = self.kept.rows.without(frozenset(hidden), versions)
            return KeptEntries(self.kept.prefix, self.kept.origin, rows)
        return tuple(entry for place, entry in enumerate(self.entries) if place not in hidden)

    def _layers(
        self,
    ) -> Iterable[tuple[IndexName, Sequence[int] | None, Columns, Callable[[], Sequence[str]]]]:
        """For each layer its name, the places of its files (None: all), their columns, and their versions."""
        if self.kept is not None:
            yield self.kept.origin, None, self.kept.rows.columns(), lambda: self.spelled
            return
        layers: dict[IndexName, list[int]] = {}
        for place, entry in enumerate(self.entries):
            layers.setdefault(entry.origin, []).append(place)
        for origin, places in layers.items():
            columns = Columns([self.entries[place].row.fragment for place in places])
            yield origin, places, columns, lambda places=places: [self.spelled[place] for place in places]  # type: ignore[misc]  # a default binds the loop's value
