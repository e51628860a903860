"""Advisories about packages of PyPI, as OSV writes them, and whether one is about a version. Pure.

    record (OSV JSON)  ->  Advisory  ->  Affecting: those about a version of a project

Source: the OSV schema, 1.7. A version is affected if it is listed, or lies in a range of the type ECOSYSTEM or SEMVER. Ranges of commits are
not about released files and are left out. An entry with neither versions nor ranges is about every version.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import SortKey, canonical_version, version_key
from pkgindex_core.names import ProjectName, normalized_or_none
from pkgindex_core.protocols.advisories import SEVERITIES, Advisory, Affected, AffectedSpan, Severity

ECOSYSTEM: Final = "PyPI"

_WORDS: Final[Mapping[str, Severity]] = {
    "LOW": "low",
    "MODERATE": "medium",
    "MEDIUM": "medium",
    "HIGH": "high",
    "CRITICAL": "critical",
}
_SHOWN: Final = 80
_VERSIONS: Final = 50_000
"""The most versions of a project that are remembered: far more than any has."""


class _AffectedPackage(Struct, frozen=True):
    ecosystem: str = ""
    name: str = ""


class _Range(Struct):
    kind: str = msgspec.field(name="type", default="")
    events: list[dict[str, str]] = []


class _AffectedEntry(Struct):
    package: _AffectedPackage = _AffectedPackage()
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    database_specific: dict[str, Any] | None = None
    ecosystem_specific: dict[str, Any] | None = None


class _Score(Struct):
    kind: str = msgspec.field(name="type", default="")
    score: str = ""


class _Record(Struct):
    id: str
    modified: str
    summary: str = ""
    details: str = ""
    withdrawn: str | None = None
    aliases: list[str] | None = None
    severity: list[_Score] | None = None
    affected: list[_AffectedEntry] | None = None
    database_specific: dict[str, Any] | None = None


_decoder: Final = msgspec.json.Decoder(_Record)


def read_advisory(record: bytes) -> Advisory | None:
    """Read a record. None if it is about no package of PyPI. Raises `Refused` if it is no record of OSV."""
    try:
        read = _decoder.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"this is no OSV record: {error}", hint="see the OSV schema (ossf.github.io)") from error
    if not read.id or not read.id.isascii() or not read.id.isprintable() or len(read.id) > _SHOWN or "/" in read.id:
        raise Refused("the id of an OSV record is a short word, such as GHSA-xxxx-xxxx-xxxx")
    affected = tuple(
        _affected(name, entry)
        for entry in read.affected or ()
        if entry.package.ecosystem.partition(":")[0] == ECOSYSTEM
        and (name := normalized_or_none(entry.package.name)) is not None
    )
    if not affected:
        return None
    return Advisory(
        id=read.id,
        modified=read.modified,
        summary=_one_line(read.summary or read.details),
        severity=_severity(read),
        aliases=tuple(read.aliases or ()),
        affected=affected,
        withdrawn=read.withdrawn or "",
    )


class Affecting:
    """The advisories about one project that hold. It answers for single versions, and reads each version and each range once.

    The ends of all ranges cut the order of versions into pieces. Versions in one piece have the same advisories, except those that one lists.
    """

    def __init__(self, advisories: Iterable[Advisory], project: ProjectName) -> None:
        self._advisories: list[tuple[Advisory, Sequence[_Ranges]]] = []
        for each in advisories:
            ranges = [_Ranges(affected) for affected in each.affected if affected.project == project]
            if ranges and not each.withdrawn:
                self._advisories.append((each, ranges))
        every = [one for _, ranges in self._advisories for one in ranges]
        self._ends = sorted({end for one in every for span in one.spans for end in span if end is not None})
        self._listed = {version for one in every for version in one.versions}
        self._pieces: dict[tuple[int, int], Sequence[Advisory]] = {}
        self._known: dict[str, Sequence[Advisory]] = {}

    def __bool__(self) -> bool:
        return bool(self._advisories)

    def about(self, version: str) -> Sequence[Advisory]:
        """The advisories about a version. An empty version stands for the project as a whole, and is affected if every version is."""
        found = self._known.get(version)
        if found is None:
            found = self._about(canonical_version(version) if version else "")
            if len(self._known) >= _VERSIONS:
                self._known.clear()
            self._known[version] = found
        return found

    def _about(self, version: str) -> Sequence[Advisory]:
        key = version_key(version) if version else None
        piece = (bisect_left(self._ends, key), bisect_right(self._ends, key)) if key is not None else (-1, -1)
        known = self._pieces.get(piece)
        if known is None or version in self._listed:
            known = [each for each, ranges in self._advisories if any(one.cover(version, key) for one in ranges)]
            if version not in self._listed:
                self._pieces[piece] = known
        return known


class _Ranges:
    """The affected versions of an entry, ready to be compared."""

    __slots__ = ("_all", "spans", "versions")

    def __init__(self, affected: Affected) -> None:
        self.versions = frozenset(affected.versions)
        self._all = not affected.versions and not affected.spans
        self.spans = [
            (
                None if span.introduced == "0" else version_key(span.introduced),
                version_key(span.fixed) if span.fixed else None,
                version_key(span.last) if span.last else None,
            )
            for span in affected.spans
        ]

    def cover(self, version: str, key: SortKey | None) -> bool:
        """Whether a canonical version is affected. Without one: whether all versions are."""
        if self._all or (version and version in self.versions):
            return True
        if key is None:
            return (None, None, None) in self.spans
        return any(
            (introduced is None or introduced <= key)
            and (fixed is None or key < fixed)
            and (last is None or key <= last)
            for introduced, fixed, last in self.spans
        )


def fixed_in(advisory: Advisory, project: ProjectName) -> tuple[str, ...]:
    """The versions in which it is fixed, in their order."""
    found = {span.fixed for each in advisory.affected if each.project == project for span in each.spans if span.fixed}
    return tuple(sorted(found, key=version_key))


def _affected(project: ProjectName, entry: _AffectedEntry) -> Affected:
    """Listed versions that the spans cover are left out: most databases list what the ranges say already."""
    spans = _spans(entry)
    ranges = _Ranges(Affected(project, (), spans))
    listed = dict.fromkeys(canonical_version(version) for version in entry.versions or ())
    more = tuple(version for version in listed if not spans or not ranges.cover(version, version_key(version)))
    return Affected(project, more, spans)


def _spans(entry: _AffectedEntry) -> tuple[AffectedSpan, ...]:
    found: list[AffectedSpan] = []
    for each in entry.ranges or ():
        if each.kind not in {"ECOSYSTEM", "SEMVER"}:
            continue
        start: str | None = None
        for event in _in_order(each.events):
            if "introduced" in event:
                start = event["introduced"] if start is None else start
            elif start is not None and ("fixed" in event or "last_affected" in event):
                found.append(AffectedSpan(start, event.get("fixed", ""), event.get("last_affected", "")))
                start = None
        if start is not None:
            found.append(AffectedSpan(start))
    return tuple(found)


def _in_order(events: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The events of a range by their versions. The schema permits any order; at one version the end of a span comes first."""
    kinds = ("fixed", "introduced", "last_affected")

    def place(event: Mapping[str, str]) -> Any:
        kind = next((each for each in kinds if each in event), "")
        at = event.get(kind, "")
        return at != "0", version_key(at), kinds.index(kind) if kind else -1

    return sorted((event for event in events if any(kind in event for kind in kinds)), key=place)


def _severity(read: _Record) -> Severity:
    """The severity that a database states in words, otherwise that of the highest CVSS vector."""
    for said in (read.database_specific, *(entry.database_specific for entry in read.affected or ())):
        if said and (word := _WORDS.get(str(said.get("severity", "")).upper())) is not None:
            return word
    vectors = [each.score for each in read.severity or () if each.kind.startswith("CVSS_")]
    return max((_of_vector(each) for each in vectors), key=SEVERITIES.index, default="unknown")


@lru_cache(maxsize=4096)
def _of_vector(vector: str) -> Severity:
    from cvss import CVSS2, CVSS3, CVSS4
    from cvss.exceptions import CVSSError

    kind = CVSS4 if vector.startswith("CVSS:4") else CVSS3 if vector.startswith("CVSS:3") else CVSS2
    try:
        said = str(kind(vector).severities()[0])
    except CVSSError:
        return "unknown"
    return _WORDS.get(said.upper(), "low" if said == "None" else "unknown")


def _one_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    shown = "".join(each if each.isprintable() else " " for each in line)
    return shown if len(shown) <= 200 else f"{shown[:199]}…"
