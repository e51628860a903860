"""Makes the filters of bandersnatch's `[plugins] enabled` from its sections."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from pkgindex_core.errors import Refused
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.filters.bandersnatch.compatibility import ALL_PLUGINS, PAGES, UNKNOWN_PLUGINS, switched_back
from pkgindex_mirror.filters.bandersnatch.foreign_plugins import (
    ForeignFileFilter,
    ForeignProjectFilter,
    ForeignReleaseJudge,
    foreign_plugins,
)
from pkgindex_mirror.filters.bandersnatch.making_filters import FILTERS
from pkgindex_mirror.filters.bandersnatch.making_judges import JUDGES
from pkgindex_mirror.filters.bandersnatch.plugin_settings import PluginSettings
from pkgindex_mirror.filters.bandersnatch.release_judges import ReleaseJudge
from pkgindex_mirror.filters.bandersnatch.release_stage import ReleaseStage
from pkgindex_mirror.filters.bandersnatch.sections import Settings
from pkgindex_mirror.filters.chosen_files import Filters
from pkgindex_mirror.filters.filtering import MirrorFilter

WORDS: Final = (*FILTERS, *JUDGES)
"""All filters by the words of `enabled`, in the order in which they are applied."""

SECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "allowlist_project": ("allowlist", "packages"),
    "project_requirements": ("allowlist", "requirements"),
    "blocklist_project": ("blocklist", "packages"),
    "regex_project": ("filter_regex", "packages"),
    "regex_project_metadata": ("regex_project_metadata", ""),
    "size_project_metadata": ("size_project_metadata", "max_package_size"),
    "versions_count_project_metadata": ("versions_count_project_metadata", ""),
    "exclude_platform": ("blocklist", "platforms"),
    "regex_release_file_metadata": ("regex_release_file_metadata", ""),
    "version_range_release_file_metadata": ("version_range_release_file_metadata", ""),
    "allowlist_release": ("allowlist", "packages"),
    "blocklist_release": ("blocklist", "packages"),
    "project_requirements_pinned": ("allowlist", "requirements"),
    "regex_release": ("filter_regex", "releases"),
    "latest_release": ("latest_release", "keep"),
}
"""The section and key without which a filter does nothing. `prerelease_release` needs none."""


def filters_of(
    enabled: Sequence[str], sections: Settings, *, strict: bool | Collection[str] = False, base: Path
) -> Filters:
    """The filters of a configuration of bandersnatch, in its order: projects, metadata, files, releases.

    `sections` have their references filled in, and one entry a line in lists. `strict` switches back to bandersnatch's way:
    all deviations (`compat = strict`) or those with the given words (see `compatibility`). `base` is the directory to which paths
    are relative. Raises `Refused` with the problems of all filters, before anything is chosen.
    """
    settings = PluginSettings(sections, switched_back(strict), base)
    words = _words(enabled, settings)
    foreign, unknown = foreign_plugins(words, sections, frozenset(WORDS), everything="all" in enabled)
    if unknown and UNKNOWN_PLUGINS not in settings.switches:
        known = [*WORDS, *(each.word for each in foreign)]
        raise Refused(
            [f"[plugins] enabled: there is no filter {word!r}" for word in unknown], hint=suggestion(unknown[0], known)
        )
    filters, judges, cautions = _made(words, settings)
    filters += [ForeignProjectFilter(each) for each in foreign if each.stage in {"project", "metadata"}]
    filters += [ForeignFileFilter(each) for each in foreign if each.stage == "release_file"]
    judges += [ForeignReleaseJudge(each) for each in foreign if each.stage == "release"]
    stage = [ReleaseStage(judges, by_document=PAGES in settings.switches)] if judges else []
    return Filters(filters, stage, cautions=cautions)


def _words(enabled: Sequence[str], settings: PluginSettings) -> list[str]:
    if "all" not in enabled:
        return list(dict.fromkeys(enabled))
    if ALL_PLUGINS in settings.switches:
        return list(WORDS)
    return [word for word in WORDS if word not in SECTIONS or settings.has(*SECTIONS[word])]


def _made(words: Sequence[str], settings: PluginSettings) -> tuple[list[MirrorFilter], list[ReleaseJudge], list[str]]:
    filters: list[MirrorFilter] = []
    judges: list[ReleaseJudge] = []
    cautions: list[str] = []
    refusals: list[Refused] = []
    for word in (word for word in WORDS if word in words):
        try:
            made = FILTERS[word](settings, word) if word in FILTERS else None
            judge = JUDGES[word](settings, word) if word in JUDGES else None
        except Refused as error:
            refusals.append(error)
            continue
        if made is not None:
            filters.append(made)
        elif judge is not None:
            judges.append(judge)
        else:
            place = " ".join(SECTIONS[word]).strip()
            cautions.append(f"the filter {word} is enabled, and does nothing without the setting {place}")
    if refusals:
        raise Refused([problem for each in refusals for problem in each.problems], hint=refusals[0].hint)
    return filters, judges, cautions
