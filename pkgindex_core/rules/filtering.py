"""Hiding files from a page, and saying why.

Filters look at a merged page, so hiding a file never uncovers another file of the same name in a lower layer. The same
decision for one file (`why_hidden`) guards that file's own URL.

A filter is known by the name of its provider. It gets the time rounded as its `rounding` says, or 0, so that no decision
depends on more than the ETag does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.versions import version_ranks
from pkgindex_core.models import File, Standing, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import (
    AdmissionPolicy,
    Build,
    MergedPage,
    PageEntry,
    PageFilter,
    Verdict,
)


class HiddenFile(Struct, frozen=True):
    """A file that one filter hides. A file that several filters hide has an entry for each."""

    filename: str
    origin: IndexName
    filter: str
    """The name of the filter's provider."""
    reason: str


def applying(filters: Mapping[str, PageFilter], tree: Tree, start: IndexName) -> dict[str, PageFilter]:
    """The filters that can hide anything in pages of an index."""
    return {name: filter_ for name, filter_ in filters.items() if filter_.applies(tree, start)}


def withheld(
    filters: Mapping[str, PageFilter], tree: Tree, start: IndexName, origin: IndexName
) -> Callable[[ProjectName], bool] | None:
    """A predicate for the projects that filters hide as a whole in a layer; None when there are no filters. `filters` are those that apply."""
    if not filters:
        return None
    return lambda project: any(each.withheld(tree, start, origin, project) is not None for each in filters.values())


class Withholding:
    """An admission policy, and filters that may then remove joining layers. The first index of an order is the start.

    Callers that have only this policy cannot forget the filters. Its fingerprint is that of the inner policy, since the fingerprints
    of filters are in every ETag already.
    """

    def __init__(self, policy: AdmissionPolicy, filters: Mapping[str, PageFilter]) -> None:
        self._policy = policy
        self._filters = filters

    @property
    def fingerprint(self) -> str:
        return self._policy.fingerprint

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        """The policy's verdicts, without the layers that filters remove."""
        verdicts = self._policy.admit(tree, order, standings, project)
        active = applying(self._filters, tree, order[0]) if order else {}
        return tuple(_withheld(each, active, tree, order[0], project) for each in verdicts) if active else verdicts

    def settle(
        self,
        tree: Tree,
        order: Sequence[IndexName],
        standings: Sequence[Standing],
        verdicts: Sequence[Verdict],
        project: ProjectName,
        unknown: Collection[IndexName],
    ) -> tuple[Verdict, ...]:
        """The policy's final verdicts: a removed layer has no standing and cannot return."""
        return self._policy.settle(tree, order, standings, verdicts, project, unknown)


def _withheld(
    verdict: Verdict, filters: Mapping[str, PageFilter], tree: Tree, start: IndexName, project: ProjectName
) -> Verdict:
    for name, filter_ in filters.items():
        reason = filter_.withheld(tree, start, verdict.index, project) if verdict.joins else None
        if reason is not None:
            return Verdict(index=verdict.index, joins=False, reason=f"{name}: {reason}")
    return verdict


def cut_off(filter_: PageFilter, moment: Timestamp) -> Timestamp:
    """The moment for a filter: rounded down, or 0 when the filter does not depend on the time."""
    step = filter_.rounding * 1_000_000
    return Timestamp(moment - moment % step) if step > 0 else Timestamp(0)


def fingerprints(filters: Mapping[str, PageFilter], moment: Timestamp) -> tuple[tuple[str, str, Timestamp], ...]:
    """The dependencies of filters' decisions besides the files. They are part of the key of every filtered result."""
    return tuple((name, each.fingerprint, cut_off(each, moment)) for name, each in filters.items())


def why_hidden(
    origin: IndexName, file: File, filters: Mapping[str, PageFilter], build: Build
) -> tuple[HiddenFile, ...]:
    """Every reason that hides one file; empty when it is shown. `filters` are those that apply."""
    return _reasons(origin, file, filters, _builds(filters, build))


def apply_filters(
    merged: MergedPage, filters: Mapping[str, PageFilter], build: Build
) -> tuple[MergedPage, tuple[HiddenFile, ...]]:
    """Remove hidden files from a page, and return them in the page's order. `build.moment` is not rounded.

    Versions of which all files are hidden are removed, and so are versions without files that the index itself hides.
    If no filter applies, the page is returned unchanged, and nothing is decoded.
    """
    active = applying(filters, build.tree, build.start)
    if not active:
        return merged, ()
    builds = _builds(active, build)
    shown: list[PageEntry] = []
    hidden: list[HiddenFile] = []
    emptied: set[str] = set()
    for entry in merged.entries:
        reasons = _reasons(entry.origin, decode_file(entry.row.body), active, builds)
        if reasons:
            hidden.extend(reasons)
            emptied.add(entry.row.version)
        else:
            shown.append(entry)
    kept = {entry.row.version for entry in shown}
    bare = {
        version
        for version in _bare(merged)
        if _reasons(build.start, File(filename="", version=version), active, builds)
    }
    if not hidden and not bare:
        return merged, ()
    versions = _remaining(merged.versions, emptied | bare, kept)
    head = msgspec.structs.replace(merged.head, versions=versions)
    return msgspec.structs.replace(merged, head=head, versions=versions, entries=tuple(shown)), tuple(hidden)


def _bare(merged: MergedPage) -> set[str]:
    """The listed versions of a page that have no files."""
    ranks = version_ranks({*merged.versions, *(entry.row.version for entry in merged.entries)})
    filed = {ranks[entry.row.version] for entry in merged.entries}
    return {version for version in merged.versions if ranks[version] not in filed}


def _builds(filters: Mapping[str, PageFilter], build: Build) -> dict[str, Build]:
    return {
        name: msgspec.structs.replace(build, moment=cut_off(filter_, build.moment)) for name, filter_ in filters.items()
    }


def _reasons(
    origin: IndexName, file: File, filters: Mapping[str, PageFilter], builds: Mapping[str, Build]
) -> tuple[HiddenFile, ...]:
    reasons: list[HiddenFile] = []
    for name, filter_ in filters.items():
        reason = filter_.hidden(origin, file, builds[name])
        if reason is not None:
            reasons.append(HiddenFile(file.filename, origin, name, reason))
    return tuple(reasons)


def _remaining(versions: tuple[str, ...], emptied: set[str], shown: set[str]) -> tuple[str, ...]:
    ranks = version_ranks({*versions, *emptied, *shown})
    gone = {ranks[version] for version in emptied} - {ranks[version] for version in shown}
    return tuple(version for version in versions if ranks[version] not in gone)


if TYPE_CHECKING:
    _: type[AdmissionPolicy] = Withholding
