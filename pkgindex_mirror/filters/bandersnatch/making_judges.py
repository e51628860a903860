"""Makes each filter of releases from its settings. A filter without settings, which would do nothing, is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from packaging.utils import canonicalize_name

from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.bandersnatch.compatibility import INVALID_VERSIONS, PAGES, RAW_NAMES
from pkgindex_mirror.filters.bandersnatch.latest_release import LatestReleases, SortBy
from pkgindex_mirror.filters.bandersnatch.package_lists import allowed_packages, blocked_packages, required_packages
from pkgindex_mirror.filters.bandersnatch.plugin_settings import PluginSettings
from pkgindex_mirror.filters.bandersnatch.release_judges import (
    BlockedReleases,
    ListedReleases,
    MatchedReleases,
    PreReleases,
    ReleaseJudge,
)
from pkgindex_mirror.filters.bandersnatch.sections import compiled_lines, lines_of, whole_number

_ORDERS: Final = frozenset({"version", "time"})


def _listed(settings: PluginSettings, word: str) -> ReleaseJudge:
    packages = allowed_packages(settings.sections)
    settings.check_not_empty(word, packages, "[allowlist] packages")
    return ListedReleases(word, packages, pinning=False)


def _pinned(settings: PluginSettings, word: str) -> ReleaseJudge:
    packages = required_packages(settings.sections, settings.base, settings.switches)
    settings.check_not_empty(word, packages, "[allowlist] requirements")
    return ListedReleases(word, packages, pinning=True)


def _blocked(settings: PluginSettings, word: str) -> ReleaseJudge | None:
    packages = blocked_packages(settings.sections)
    return BlockedReleases(word, packages) if packages else None


def _pre_releases(settings: PluginSettings, word: str) -> ReleaseJudge:
    names = [canonicalize_name(line) for line in lines_of(settings.sections, "filter_prerelease", "packages")]
    return PreReleases(word, names, only_raw=RAW_NAMES in settings.switches)


def _matched(settings: PluginSettings, word: str) -> ReleaseJudge | None:
    patterns = compiled_lines(settings.sections, "filter_regex", "releases")
    return MatchedReleases(word, patterns) if patterns else None


def _latest(settings: PluginSettings, word: str) -> ReleaseJudge | None:
    try:
        keep = whole_number(settings.sections, word, "keep") or 0
    except Refused:
        if not settings.lenient:
            raise
        keep = 0
    sort_by = (settings.text(word, "sort_by") or "version").strip()
    if keep < 0:
        raise Refused(f"[{word}] keep = {keep} is below 0", hint="write the number of releases to keep")
    if sort_by not in _ORDERS and not settings.lenient:
        raise Refused(f"[{word}] sort_by = {sort_by!r} is not known", hint="write version or time")
    if not keep:
        return None
    return LatestReleases(
        word,
        keep,
        cast(SortBy, sort_by if sort_by in _ORDERS else "version"),
        strict=INVALID_VERSIONS in settings.switches,
        by_document=PAGES in settings.switches,
    )


JUDGES: Final[Mapping[str, Callable[[PluginSettings, str], ReleaseJudge | None]]] = {
    "allowlist_release": _listed,
    "blocklist_release": _blocked,
    "project_requirements_pinned": _pinned,
    "prerelease_release": _pre_releases,
    "regex_release": _matched,
    "latest_release": _latest,
}
"""By word, in the order in which they are applied."""
