"""Makes filters from settings in a plain form, as a TOML table or a JSON object has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pkgindex_core.clock import Clock, SystemClock
from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.chosen_files import Filters
from pkgindex_mirror.filters.filtering import MirrorFilter
from pkgindex_mirror.filters.own.filter_settings import FilterSettings, byte_count, moment, read_settings, seconds
from pkgindex_mirror.filters.own.fitting import FittingFiles
from pkgindex_mirror.filters.own.licences import Licences
from pkgindex_mirror.filters.own.name_patterns import NamePatterns
from pkgindex_mirror.filters.own.newest import NewestReleases
from pkgindex_mirror.filters.own.platform_targets import platform_targets
from pkgindex_mirror.filters.own.python_targets import python_targets
from pkgindex_mirror.filters.own.size_limits import LargeFiles, LargeProjects, LargeReleases
from pkgindex_mirror.filters.own.standings import ExcludedStatuses, FileKinds, PreReleaseVersions, YankedFiles
from pkgindex_mirror.filters.own.upload_times import Cooldown, UploadWindow

Making = Callable[[FilterSettings, Clock], Iterator[MirrorFilter]]


def own_filters(settings: Mapping[str, Any], clock: Clock | None = None) -> Filters:
    """The filters of the settings that are given, in the order of `README.md`.

    Raises `Refused` with all problems of the settings. `clock` tells the age of files.
    """
    read = read_settings(settings)
    time = clock or SystemClock()
    refusals: list[Refused] = []
    filters = _gathered((_names, _licences, _standings, _fitting, _times, _file_sizes), read, time, refusals)
    counting = _gathered((_newest, _total_sizes), read, time, refusals)
    if refusals:
        raise Refused([problem for each in refusals for problem in each.problems], hint=refusals[0].hint)
    return Filters(filters, counting)


def _gathered(
    makings: tuple[Making, ...], settings: FilterSettings, clock: Clock, refusals: list[Refused]
) -> list[MirrorFilter]:
    filters: list[MirrorFilter] = []
    for make in makings:
        try:
            filters += make(settings, clock)
        except Refused as error:
            refusals.append(error)
    return filters


def _names(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if settings.names or settings.except_names:
        yield NamePatterns(settings.names, settings.except_names)


def _licences(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if settings.licences or settings.except_licences or settings.unknown_licence == "drop":
        keep_unknown = settings.unknown_licence == "keep"
        yield Licences(settings.licences, settings.except_licences, keep_unknown=keep_unknown)


def _standings(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if settings.except_statuses:
        yield ExcludedStatuses(settings.except_statuses)
    if settings.kinds:
        yield FileKinds(settings.kinds)
    if settings.yanked == "drop":
        yield YankedFiles()
    if settings.prereleases != "keep":
        yield PreReleaseVersions(settings.prereleases)


def _fitting(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    targeted = (settings.pythons, settings.implementations, settings.platforms, settings.architectures)
    if any(targeted) or settings.sdists != "always":
        yield FittingFiles(
            python_targets(settings.pythons, settings.implementations),
            platform_targets(settings.platforms, settings.architectures),
            settings.sdists,
        )


def _times(settings: FilterSettings, clock: Clock) -> Iterator[MirrorFilter]:
    after = moment("uploaded_after", settings.uploaded_after)
    before = moment("uploaded_before", settings.uploaded_before)
    keep_unknown = settings.unknown_upload_time == "keep"
    if after is not None or before is not None:
        yield UploadWindow(after, before, keep_unknown=keep_unknown)
    if age := seconds("cooldown", settings.cooldown):
        yield Cooldown(age, clock, keep_unknown=keep_unknown)


def _file_sizes(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if limit := byte_count("max_file_size", settings.max_file_size):
        yield LargeFiles(limit)


def _newest(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if settings.latest or settings.latest_per_minor or settings.latest_minors:
        yield NewestReleases(settings.latest, settings.latest_per_minor, settings.latest_minors)


def _total_sizes(settings: FilterSettings, _clock: Clock) -> Iterator[MirrorFilter]:
    if limit := byte_count("max_release_size", settings.max_release_size):
        yield LargeReleases(limit)
    if limit := byte_count("max_project_size", settings.max_project_size):
        yield LargeProjects(limit)
