"""Advisories about packages of PyPI, as OSV writes them, and whether one is about a version. Pure.

    record (OSV JSON)  ->  Advisory, with what is decided by  ->  affects(advisory, project, version)

Source: the OSV schema, 1.7. A version is affected if it is listed, or lies in a range of the type ECOSYSTEM or SEMVER. Ranges of commits are
not about released files and are left out. An entry with neither versions nor ranges is about every version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Struct

from pkgindex_core.errors import Refused
from pkgindex_core.formats.versions import canonical_version, version_key
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


def affects(advisory: Advisory, project: ProjectName, version: str) -> bool:
    """Whether an advisory that holds is about a version.

    An empty version stands for the project as a whole, and is affected if every version is.
    """
    if advisory.withdrawn:
        return False
    return any(each.project == project and _covers(each, version) for each in advisory.affected)


def fixed_in(advisory: Advisory, project: ProjectName) -> tuple[str, ...]:
    """The versions in which it is fixed, in their order."""
    found = {span.fixed for each in advisory.affected if each.project == project for span in each.spans if span.fixed}
    return tuple(sorted(found, key=version_key))


def _covers(affected: Affected, version: str) -> bool:
    if not affected.versions and not affected.spans:
        return True
    if not version:
        return any(not span.fixed and not span.last and span.introduced == "0" for span in affected.spans)
    wanted = canonical_version(version)
    if wanted in affected.versions:
        return True
    if not affected.spans:
        return False
    key = version_key(wanted)
    return any(
        (span.introduced == "0" or version_key(span.introduced) <= key)
        and (not span.fixed or key < version_key(span.fixed))
        and (not span.last or key <= version_key(span.last))
        for span in affected.spans
    )


def _affected(project: ProjectName, entry: _AffectedEntry) -> Affected:
    """Listed versions that the spans cover are left out: most databases list what the ranges say already."""
    spans = _spans(entry)
    ranges = Affected(project, (), spans)
    listed = dict.fromkeys(canonical_version(version) for version in entry.versions or ())
    more = tuple(version for version in listed if not spans or not _covers(ranges, version))
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
