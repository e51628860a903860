"""Makes each filter of names, projects and files from its settings. A filter without settings, which would do nothing, is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.bandersnatch.compatibility import INVALID_VERSIONS, NONE_NULL, PAGES, RAW_NAMES
from pkgindex_mirror.filters.bandersnatch.file_filters import file_patterns, version_ranges, wanted_versions
from pkgindex_mirror.filters.bandersnatch.name_filters import AllowedNames, BlockedNames, MatchedNames
from pkgindex_mirror.filters.bandersnatch.package_lists import (
    allowed_packages,
    blocked_packages,
    names_of,
    required_packages,
)
from pkgindex_mirror.filters.bandersnatch.paths import SEARCH, PathPatterns, path_patterns
from pkgindex_mirror.filters.bandersnatch.platform_filter import ExcludedPlatforms, platform_marks
from pkgindex_mirror.filters.bandersnatch.plugin_settings import PluginSettings
from pkgindex_mirror.filters.bandersnatch.project_filters import ProjectMetadata, ProjectSize, VersionsCount
from pkgindex_mirror.filters.bandersnatch.sections import bytes_of, compiled_lines, whole_number
from pkgindex_mirror.filters.filtering import MirrorFilter

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "yes", "true", "on"), True),
    **dict.fromkeys(("0", "no", "false", "off"), False),
}


def _allowed(settings: PluginSettings, word: str) -> MirrorFilter:
    names = names_of(allowed_packages(settings.sections))
    settings.check_not_empty(word, names, "[allowlist] packages")
    return AllowedNames(word, names, "[allowlist] packages")


def _required(settings: PluginSettings, word: str) -> MirrorFilter:
    names = names_of(required_packages(settings.sections, settings.base, settings.switches))
    settings.check_not_empty(word, names, "[allowlist] requirements")
    return AllowedNames(word, names, "the requirement files")


def _blocked(settings: PluginSettings, word: str) -> MirrorFilter | None:
    packages = blocked_packages(settings.sections)
    names = names_of(each for each in packages if each.bare)
    return BlockedNames(word, names, "[blocklist] packages") if packages else None


def _matched(settings: PluginSettings, word: str) -> MirrorFilter | None:
    patterns = compiled_lines(settings.sections, "filter_regex", "packages")
    return MatchedNames(word, patterns, only_raw=RAW_NAMES in settings.switches) if patterns else None


def _project_metadata(settings: PluginSettings, word: str) -> MirrorFilter | None:
    patterns = _patterns(settings, word)
    return ProjectMetadata(word, patterns) if patterns else None


def _file_metadata(settings: PluginSettings, word: str) -> MirrorFilter | None:
    patterns = _patterns(settings, word)
    return file_patterns(word, patterns, by_document=PAGES in settings.switches) if patterns else None


def _patterns(settings: PluginSettings, section: str) -> list[PathPatterns]:
    text = (settings.text(section, SEARCH) or "no").lower()
    if text not in _BOOLEANS and not settings.lenient:
        raise Refused(f"[{section}] {SEARCH} = {text!r} is neither true nor false", hint="write true or false")
    return path_patterns(
        settings.sections,
        section,
        anywhere=_BOOLEANS.get(text, False),
        none_obeys_null=NONE_NULL not in settings.switches,
    )


def _size(settings: PluginSettings, word: str) -> MirrorFilter | None:
    text = settings.text(word, "max_package_size")
    limit = bytes_of(text) if text is not None else 0
    if limit is None and not settings.lenient:
        raise Refused(f"[{word}] max_package_size = {text!r} is no size", hint="write a size such as 1G or 500 MB")
    if not limit:
        return None
    return ProjectSize(
        word, limit, names_of(allowed_packages(settings.sections)), by_document=PAGES in settings.switches
    )


def _count(settings: PluginSettings, word: str) -> MirrorFilter | None:
    try:
        least = whole_number(settings.sections, word, "min_versions") or 0
        most = whole_number(settings.sections, word, "max_versions") or 0
        if 0 < most < least:
            raise Refused(f"[{word}] min_versions is above max_versions", hint="exchange them")
    except Refused:
        if not settings.lenient:
            raise
        least = most = 0
    if not least and not most:
        return None
    return VersionsCount(word, least, most, names_of(allowed_packages(settings.sections)))


def _platforms(settings: PluginSettings, word: str) -> MirrorFilter | None:
    words = (settings.text("blocklist", "platforms") or "").split()
    if not words:
        return None
    marks = platform_marks(words, strict=settings.lenient)
    return ExcludedPlatforms(word, marks, by_document=PAGES in settings.switches)


def _version_ranges(settings: PluginSettings, word: str) -> MirrorFilter | None:
    wanted = wanted_versions(settings.sections, word)
    if not wanted:
        return None
    strict = INVALID_VERSIONS in settings.switches
    return version_ranges(word, wanted, strict=strict, by_document=PAGES in settings.switches)


FILTERS: Final[Mapping[str, Callable[[PluginSettings, str], MirrorFilter | None]]] = {
    "allowlist_project": _allowed,
    "project_requirements": _required,
    "blocklist_project": _blocked,
    "regex_project": _matched,
    "regex_project_metadata": _project_metadata,
    "size_project_metadata": _size,
    "versions_count_project_metadata": _count,
    "exclude_platform": _platforms,
    "regex_release_file_metadata": _file_metadata,
    "version_range_release_file_metadata": _version_ranges,
}
"""By word, in the order in which they are applied."""
