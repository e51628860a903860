"""Hiding files from a page, and saying why.

Filters look at a merged page, so hiding a file never uncovers another file of the same name in a lower layer. The same
decision for one file (`judged`) guards that file's own URL.

A filter is known by the name of its provider. It gets the time as its `cut_off` rounds it, so that no decision depends on more than
the ETag does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_core.formats.versions import canonical_version, version_ranks
from pkgindex_core.models import File, Standing, Tree, decode_file
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import (
    AdmissionPolicy,
    Build,
    MergedPage,
    PageEntry,
    PageFilter,
    Ruling,
    Verdict,
    alone,
)
from pkgindex_core.rules.glancing import Glance, Glances

_WARNINGS: Final = 5
Fingerprints = tuple[tuple[str, str, Timestamp], ...]
"""For each filter its name, its fingerprint and its rounded time."""


class Judgement(Struct, frozen=True, gc=False):
    """A ruling of one filter on one file. A file on which several filters rule has an entry for each."""

    filename: str
    """Empty for a version without files."""
    version: str
    origin: IndexName
    filter: str
    """The name of the filter's provider."""
    ruling: Ruling

    @property
    def hides(self) -> bool:
        return self.ruling.hides

    @property
    def rule(self) -> str:
        return self.ruling.rule or self.filter

    @property
    def said(self) -> str:
        """The rule, the reason, and until when."""
        until = "" if self.ruling.until is None else f" (until {to_rfc3339(self.ruling.until)[:19]}Z)"
        return f"{self.rule}: {self.ruling.reason}{until}"


def applying(filters: Mapping[str, PageFilter], tree: Tree, start: IndexName) -> dict[str, PageFilter]:
    """The filters that can rule on anything in pages of an index."""
    return {name: filter_ for name, filter_ in filters.items() if filter_.applies(tree, start)}


def withheld(
    filters: Mapping[str, PageFilter], tree: Tree, start: IndexName, origin: IndexName
) -> Callable[[ProjectName], bool] | None:
    """A predicate for the projects that filters hide as a whole in a layer; None when there are no filters. `filters` are those that apply."""
    if not filters:
        return None
    return lambda project: any(
        (ruling := each.withheld(tree, start, origin, project)) is not None and ruling.hides
        for each in filters.values()
    )


class Withholding:
    """An admission policy, and filters that may then remove joining layers. The first index of an order is the start.

    Callers that have only this policy cannot forget the filters. Its fingerprint is that of the inner policy, since the fingerprints
    of filters are in every ETag already.
    """

    def __init__(self, policy: AdmissionPolicy, filters: Mapping[str, PageFilter]) -> None:
        self._policy = policy
        self._filters = filters
        self._latest: tuple[Tree, IndexName, Mapping[str, PageFilter]] | None = None

    @property
    def fingerprint(self) -> str:
        return self._policy.fingerprint

    def admit(
        self, tree: Tree, order: Sequence[IndexName], standings: Sequence[Standing], project: ProjectName
    ) -> tuple[Verdict, ...]:
        """The policy's verdicts, without the layers that filters remove."""
        verdicts = self._policy.admit(tree, order, standings, project)
        active = self._applying(tree, order[0]) if order else {}
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

    def _applying(self, tree: Tree, start: IndexName) -> Mapping[str, PageFilter]:
        """`applying`, which depends on nothing else. The latest answer is kept: most requests are for one index."""
        latest = self._latest
        if latest is None or latest[0] is not tree or latest[1] != start:
            latest = self._latest = (tree, start, applying(self._filters, tree, start))
        return latest[2]


def _withheld(
    verdict: Verdict, filters: Mapping[str, PageFilter], tree: Tree, start: IndexName, project: ProjectName
) -> Verdict:
    for name, filter_ in filters.items():
        ruling = filter_.withheld(tree, start, verdict.index, project) if verdict.joins else None
        if ruling is not None and ruling.hides:
            return Verdict(index=verdict.index, joins=False, reason=f"{ruling.rule or name}: {ruling.reason}")
    return verdict


class Revised(Protocol):
    """A thing on which fingerprints depend, such as the book of advisories."""

    @property
    def revision(self) -> str:
        """Changes when the thing does; asked for each request."""
        ...


@runtime_checkable
class Foretells(Protocol):
    """A page filter that can say how long its fingerprint and its cut-off hold, and for which project."""

    @property
    def watched(self) -> Revised | None:
        """The thing whose revision changes whenever the fingerprint of a project could; filters may share it. None: no fingerprint ever changes."""
        ...

    def fingerprint_of(self, project: ProjectName) -> str:
        """As `PageFilter.fingerprint`, of the decisions about one project."""
        ...

    def until(self, tree: Tree, start: IndexName, moment: Timestamp) -> Timestamp:
        """The first instant after `moment` at which the cut-off may be another one."""
        ...


@runtime_checkable
class NeedsDigest(Protocol):
    """A page filter that decides by the sha256 of files. A file of which the upstream tells none is judged again when its bytes are here."""

    def needs_digest(self, origin: IndexName, file: File, build: Build) -> bool:
        """Whether the sha256 of a file, which is not known, could hide it."""
        ...


def needs_digest(origin: IndexName, file: File, filters: Mapping[str, PageFilter], build: Build) -> bool:
    """Whether a file may only be given out after its bytes were compared with what filters hide."""
    if file.sha256:
        return False
    return any(isinstance(each, NeedsDigest) and each.needs_digest(origin, file, build) for each in filters.values())


def fingerprints(
    filters: Mapping[str, PageFilter],
    tree: Tree,
    start: IndexName,
    moment: Timestamp,
    project: ProjectName | None = None,
) -> Fingerprints:
    """The dependencies of filters' decisions about a project, or all, besides the files and the tree. They are part of the key of every filtered result.

    Filters that do not apply are left out. Empty, if none applies.
    """
    return tuple(
        (
            name,
            each.fingerprint if project is None or not isinstance(each, Foretells) else each.fingerprint_of(project),
            each.cut_off(tree, start, moment),
        )
        for name, each in filters.items()
        if each.applies(tree, start)
    )


def judged(origin: IndexName, file: File, filters: Mapping[str, PageFilter], build: Build) -> tuple[Judgement, ...]:
    """Every ruling on one file; empty when it is simply shown. `filters` are those that apply. The times of `build` are not rounded."""
    return tuple(_rulings(origin, file, filters, _builds(filters, build)))


def why_hidden(origin: IndexName, file: File, filters: Mapping[str, PageFilter], build: Build) -> tuple[Judgement, ...]:
    """Every ruling that hides one file; empty when it is shown."""
    return tuple(each for each in judged(origin, file, filters, build) if each.hides)


def warnings_of(judgements: Iterable[Judgement]) -> tuple[str, ...]:
    """The warnings for clients about files that are shown: a sentence for each of the first few rulings, and how many more there are."""
    warnings = [each for each in judgements if each.ruling.mode == "warn"]
    told = tuple(f"{each.filename}: {each.rule}: {each.ruling.reason}" for each in warnings[:_WARNINGS])
    more = len(warnings) - len(told)
    return (*told, f"and {more} more") if more else told


def why_version_hidden(
    origin: IndexName, version: str, files: Sequence[File], filters: Mapping[str, PageFilter], build: Build
) -> tuple[Judgement, ...]:
    """Every ruling that hides what belongs to a version besides its files, such as documentation. `files` are those of the version.

    A version of which all files are hidden is hidden.
    """
    build = msgspec.structs.replace(build, release=lambda _origin, file: files or (file,))
    hidden = why_hidden(origin, File(filename="", version=version), filters, build)
    if hidden or not files:
        return hidden
    reasons = [why_hidden(origin, file, filters, build) for file in files]
    return reasons[0] if all(reasons) else ()


def needs_releases(filters: Mapping[str, PageFilter]) -> bool:
    """Whether `Build.release` must know the other files of releases."""
    return any(each.by_release for each in filters.values())


def releases_of(files: Iterable[tuple[IndexName, File]]) -> Callable[[IndexName, File], Sequence[File]]:
    """A value for `Build.release`: the files by layer and version."""
    found: dict[tuple[IndexName, str], list[File]] = {}
    for origin, file in files:
        found.setdefault((origin, canonical_version(file.version)), []).append(file)
    return lambda origin, file: found.get((origin, canonical_version(file.version))) or (file,)


def apply_filters(
    merged: MergedPage, filters: Mapping[str, PageFilter], build: Build
) -> tuple[MergedPage, tuple[Judgement, ...]]:
    """Remove hidden files from a page, and return all rulings in the page's order. The times of `build` are not rounded.

    Versions of which all files are hidden are removed, and so are versions without files that the index itself hides.
    If no filter applies, the page is returned unchanged, and nothing is decoded.
    """
    active = applying(filters, build.tree, build.start)
    if not active:
        return merged, ()
    glanced = _glanced(merged, active, build)
    if glanced is not None:
        return glanced
    pairs: Iterable[tuple[PageEntry, File]] = ((entry, decode_file(entry.row.body)) for entry in merged.entries)
    if needs_releases(active):
        pairs = tuple(pairs)
        build = msgspec.structs.replace(build, release=releases_of((entry.origin, file) for entry, file in pairs))
    builds = _builds(active, build)
    shown: list[PageEntry] = []
    judgements: list[Judgement] = []
    emptied: set[str] = set()
    for entry, file in pairs:
        rulings = _rulings(entry.origin, file, active, builds)
        judgements.extend(rulings)
        if any(each.hides for each in rulings):
            emptied.add(entry.row.version)
        else:
            shown.append(entry)
    kept = {entry.row.version for entry in shown}
    bare = {
        version
        for version in _bare(merged.versions, emptied | kept)
        if any(each.hides for each in _rulings(build.start, File(filename="", version=version), active, builds))
    }
    if not emptied and not bare:
        return merged, tuple(judgements)
    versions = _remaining(merged.versions, emptied | bare, kept)
    return _with(merged, versions, tuple(shown)), tuple(judgements)


def _glanced(
    merged: MergedPage, active: Mapping[str, PageFilter], build: Build
) -> tuple[MergedPage, tuple[Judgement, ...]] | None:
    """The same, without a look at releases on which no filter can rule; None if a filter cannot tell, or if the page has versions without files."""
    glancing = {name: each for name, each in active.items() if isinstance(each, Glances)}
    glance = Glance(merged)
    if len(glancing) < len(active) or (not glance.is_plain and _bare(merged.versions, glance.distinct)):
        return None
    suspected = glance.suspected(glancing, _builds(active, build))
    if not suspected:
        return merged, ()
    filters: dict[str, dict[str, PageFilter]] = {}
    whole: set[str] = set()
    for name, versions in suspected.items():
        for version in versions:
            filters.setdefault(version, {})[name] = active[name]
        if glancing[name].by_release or not glancing[name].by_version:
            whole.update(versions)
    spelled = glance.spelled
    files = glance.files([*compress(range(len(spelled)), map(filters.__contains__, spelled))], whole=whole)
    pairs = [(glance.origin(place), file) for place, file in files.items()]
    releases = releases_of(pair for pair in pairs if pair[1].version in whole)
    builds = _builds(active, msgspec.structs.replace(build, release=releases))
    alike = {version for version, each in filters.items() if all(glancing[name].by_version for name in each)}
    known: dict[tuple[IndexName, str], tuple[tuple[tuple[str, Ruling], ...], bool]] = {}
    judgements: list[Judgement] = []
    hidden: list[int] = []
    for place, (origin, file) in zip(files, pairs, strict=True):
        key = (origin, file.version)
        if (ruled := known.get(key)) is None:
            rulings = tuple(_ruled(origin, file, filters[file.version], builds))
            ruled = rulings, any(ruling.hides for _, ruling in rulings)
            if file.version in alike:
                known[key] = ruled
        judgements += [Judgement(file.filename, file.version, origin, name, ruling) for name, ruling in ruled[0]]
        if ruled[1]:
            hidden.append(place)
    if not hidden:
        return merged, tuple(judgements)
    return _with(merged, glance.versions_without(hidden, files), glance.without(hidden)), tuple(judgements)


def _with(merged: MergedPage, versions: tuple[str, ...], entries: Collection[PageEntry]) -> MergedPage:
    head = msgspec.structs.replace(merged.head, versions=versions)
    return msgspec.structs.replace(merged, head=head, versions=versions, entries=entries)


def _bare(versions: Sequence[str], filed: Collection[str]) -> set[str]:
    """The listed versions of a page that have no files. `filed` are the versions of its files."""
    others = {each for each in versions if each not in filed}
    return others - _same(others, filed) if others else others


def _same(others: Collection[str], filed: Iterable[str]) -> set[str]:
    """The versions among `others` that files spell in another way."""
    there = {canonical_version(each) for each in {*filed}}
    return {each for each in others if canonical_version(each) in there}


def _builds(filters: Mapping[str, PageFilter], build: Build) -> dict[str, Build]:
    tree, start = build.tree, build.start
    return {
        name: msgspec.structs.replace(
            build,
            moment=each.cut_off(tree, start, build.moment),
            now=each.cut_off(tree, start, build.today),
            release=build.release if each.by_release else alone,
        )
        for name, each in filters.items()
    }


def _rulings(
    origin: IndexName, file: File, filters: Mapping[str, PageFilter], builds: Mapping[str, Build]
) -> list[Judgement]:
    ruled = _ruled(origin, file, filters, builds)
    return [Judgement(file.filename, file.version, origin, name, ruling) for name, ruling in ruled]


def _ruled(
    origin: IndexName, file: File, filters: Mapping[str, PageFilter], builds: Mapping[str, Build]
) -> Iterable[tuple[str, Ruling]]:
    for name, filter_ in filters.items():
        ruling = filter_.judge(origin, file, builds[name])
        if ruling is not None:
            yield name, ruling


def _remaining(versions: tuple[str, ...], emptied: set[str], shown: set[str]) -> tuple[str, ...]:
    ranks = version_ranks({*versions, *emptied, *shown})
    gone = {ranks[version] for version in emptied} - {ranks[version] for version in shown}
    return tuple(version for version in versions if ranks[version] not in gone)


if TYPE_CHECKING:
    _: type[AdmissionPolicy] = Withholding
