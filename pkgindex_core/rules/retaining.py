"""The retention rule of an index: the releases of a project that it removes, and the reasons. Pure.

    final releases    the newest `retain_releases` stay, and those that were uploaded within `retain_age`
    pre-releases      the newest `retain_prereleases` stay, and those that were uploaded within `retain_age`

So a release goes if no part of the rule keeps it. A kind of release that no part is about stays. A development release is a pre-release.
These always stay:

* the newest final release of the project, or its newest pre-release if it has no final one
* versions that `retain_always` names
* releases of which another index of the store has a file with the same bytes: they were pushed, perhaps from here
* releases that were brought back by hand (`RESTORED`)
* versions that PEP 440 does not define, since their order is not certain

A release of which all files are yanked is not counted among the newest, since installers pass it over, and goes at its place like others.
The age of a release is that of its newest file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from pkgindex_core.clock import Timestamp
from pkgindex_core.formats.versions import canonical_version, is_pep440, is_stable, version_key
from pkgindex_core.models import File
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.rules.kept_options import RetentionRule

RESTORED: Final = "restore"
"""`Event.what` of a file that was brought back."""
_DAY: Final = 86_400 * 1_000_000
_NOWHERE: Final[Mapping[str, IndexName]] = {}


class ReleaseVerdict(Struct, frozen=True, kw_only=True):
    """The decision of the rule about one release, with the reason."""

    version: str
    goes: bool
    reason: str
    protected: bool = False
    """Whether it stays although neither count nor age keeps it."""
    files: tuple[str, ...]
    bytes: int


def judge(
    project: ProjectName,
    files: Iterable[File],
    rule: RetentionRule,
    now: Timestamp,
    *,
    elsewhere: Mapping[str, IndexName] = _NOWHERE,
) -> Sequence[ReleaseVerdict]:
    """A verdict for each release, newest first. `elsewhere`: releases that another index has too, by canonical version."""
    by_version: dict[str, list[File]] = defaultdict(list)
    for file in files:
        by_version[canonical_version(file.version)].append(file)
    ordered = sorted(by_version, key=version_key, reverse=True)
    counted = [each for each in ordered if not all(file.yanked for file in by_version[each])] or ordered
    newest = next((each for each in counted if is_stable(each)), next(iter(counted), ""))
    newer = {True: 0, False: 0}
    """The counted releases before a release, final ones and others."""
    verdicts = []
    for version in ordered:
        released, stable = by_version[version], is_stable(version)
        keeps = _kept(version, released, newer[stable], rule, now)
        newer[stable] += counted[newer[True] + newer[False] :][:1] == [version]
        shields = "" if keeps else _shield(project, version, released, newest, rule, elsewhere)
        verdicts.append(
            ReleaseVerdict(
                version=canonical_version(released[0].version, strip_zeros=False),
                goes=not keeps and not shields,
                reason=keeps or shields or _reason(version, released, rule, now),
                protected=bool(shields),
                files=tuple(sorted(file.filename for file in released)),
                bytes=sum(file.size or 0 for file in released),
            )
        )
    return verdicts


def _count(version: str, rule: RetentionRule) -> int:
    return rule.releases if is_stable(version) else rule.prereleases


def _kept(version: str, files: Collection[File], place: int, rule: RetentionRule, now: Timestamp) -> str:
    """Why the rule keeps a release; empty if it does not."""
    count = _count(version, rule)
    if not is_pep440(version):
        return "its version is not one of PEP 440, so it cannot be compared"
    if not count and not rule.age:
        return f"there is no rule for {_kind(version)}s"
    if place < count:
        return f"it is {_among(count, version)}"
    if rule.age and _age(files, now) < rule.age * 1_000_000:
        return f"it was uploaded {_days(files, now)} days ago"
    return ""


def _shield(
    project: ProjectName,
    version: str,
    files: Collection[File],
    newest: str,
    rule: RetentionRule,
    elsewhere: Mapping[str, IndexName],
) -> str:
    """Why a release stays although the rule does not keep it; empty if it does not."""
    if version == newest:
        return "it is the newest release of the project"
    for entry in rule.always:
        name, _, named = entry.partition("==")
        if name == project and (not named or canonical_version(named) == version):
            return f"retain_always names {entry}"
    if version in elsewhere:
        return f"{elsewhere[version]} has it too"
    if any(event.what == RESTORED for file in files for event in file.history):
        return "it was brought back"
    return ""


def _reason(version: str, files: Collection[File], rule: RetentionRule, now: Timestamp) -> str:
    count = _count(version, rule)
    parts = [f"it is not {_among(count, version)}"] if count else []
    parts += [f"it was uploaded {_days(files, now)} days ago"] if rule.age else []
    return " and ".join(parts)


def _kind(version: str) -> str:
    return "release" if is_stable(version) else "pre-release"


def _among(count: int, version: str) -> str:
    return f"the newest {_kind(version)}" if count == 1 else f"one of the {count} newest {_kind(version)}s"


def _age(files: Collection[File], now: Timestamp) -> int:
    """Microseconds since the newest file came. A file without a time is new."""
    return now - max(file.upload_time if file.upload_time is not None else now for file in files)


def _days(files: Collection[File], now: Timestamp) -> int:
    return _age(files, now) // _DAY
