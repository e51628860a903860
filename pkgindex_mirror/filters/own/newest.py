"""The newest releases of a project, counted among those that the other filters leave.

A release with nothing but yanked files does not count; it stays if it is newer than the oldest that does. The newest final release
always stays, so that the newest pre-releases alone never use up the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pkgindex_core.formats.versions import SortKey, version_key
from pkgindex_core.models import File
from pkgindex_mirror.filters.quiet_filter import QuietFilter
from pkgindex_mirror.filters.releases import by_release, parsed_version
from pkgindex_mirror.syncing.values import Refusal, UpstreamProject

Series = tuple[int, ...]


class _RankedRelease(Struct, frozen=True):
    version: str
    key: SortKey
    counts: bool
    final: bool
    series: Series
    """Epoch, major and minor number. All versions that are not of PEP 440 are one series."""


class NewestReleases(QuietFilter):
    """Keeps the newest releases of a project (`latest`), of each minor series, or of the newest minor series. 0: no limit."""

    def __init__(self, latest: int, latest_per_minor: int, latest_minors: int) -> None:
        super().__init__("latest", [latest, latest_per_minor, latest_minors])
        self._latest = latest
        self._per_minor = latest_per_minor
        self._minors = latest_minors

    def refuses_files(self, project: UpstreamProject, files: Sequence[File]) -> Mapping[str, Refusal]:
        groups = by_release(project, files)
        releases = sorted((_release(version, group) for version, group in groups.items()), key=_key, reverse=True)
        final = next((each for each in releases if each.final and each.counts), None)
        refused: dict[str, Refusal] = {}
        for version, reason in self._reasons(releases).items():
            if final is not None and version == final.version:
                continue
            refusal = self.refusal(reason)
            refused.update((file.filename, refusal) for file in groups[version])
        return refused

    def _reasons(self, releases: Sequence[_RankedRelease]) -> dict[str, str]:
        reasons: dict[str, str] = {}
        if self._latest:
            reasons |= dict.fromkeys(
                _older(releases, self._latest), f"it is not among the {self._latest} newest releases"
            )
        by_series: dict[Series, list[_RankedRelease]] = {}
        for each in releases:
            by_series.setdefault(each.series, []).append(each)
        if self._per_minor:
            for series in by_series.values():
                reason = f"it is not among the {self._per_minor} newest releases of its minor series"
                reasons |= dict.fromkeys(_older(series, self._per_minor), reason)
        if self._minors:
            counted = [series for series, members in by_series.items() if any(each.counts for each in members)]
            if len(counted) > self._minors:
                least = counted[self._minors - 1]
                old = [each.version for each in releases if each.series < least]
                reasons |= dict.fromkeys(old, f"it is not in the {self._minors} newest minor series")
        return reasons


def _older(releases: Sequence[_RankedRelease], count: int) -> list[str]:
    """The versions behind the first `count` releases that count. The newest come first."""
    for place, each in enumerate(releases):
        count -= each.counts
        if count == 0:
            return [older.version for older in releases[place + 1 :]]
    return []


def _release(version: str, files: Sequence[File]) -> _RankedRelease:
    parsed = parsed_version(version)
    return _RankedRelease(
        version=version,
        key=version_key(version),
        counts=any(file.yanked is False for file in files),
        final=parsed is not None and not parsed.is_prerelease,
        series=(parsed.epoch, parsed.major, parsed.minor) if parsed is not None else (-1,),
    )


def _key(release: _RankedRelease) -> SortKey:
    return release.key
