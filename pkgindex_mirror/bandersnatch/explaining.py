"""Explains a configuration: each value with its origin and meaning, and each filter in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from pkgindex_core.urls import masked
from pkgindex_mirror.bandersnatch.deviations import DEVIATIONS
from pkgindex_mirror.bandersnatch.mirror_settings import COMPAT, DEFAULT
from pkgindex_mirror.bandersnatch.options import MIRROR_OPTIONS, S3_OPTIONS, S3_PARAMETER, MirrorOption
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS, OWN_SECTION, SECTIONS, Stage
from pkgindex_mirror.bandersnatch.reading import ExaminedConfiguration
from pkgindex_mirror.bandersnatch.values import S3Settings, Sections

HIDDEN: Final = "(hidden)"


class ExplainedValue(Struct, frozen=True):
    """One effective value. Secrets are hidden, also in URLs."""

    section: str
    key: str
    value: str
    """As in the file; empty: none."""
    origin: str
    """`default`, `line 7`, `environment variable HTTPS_PROXY` …"""
    meaning: str


class ExplainedFilter(Struct, frozen=True):
    """One enabled filter."""

    filter: str
    stage: Stage | None
    """None for one that others wrote, and for those of `[pkgindex]`."""
    meaning: str
    settings: Mapping[str, str]
    """Its settings by `[section] key`, with one entry a line."""


class ExplainedConfiguration(Struct, frozen=True):
    """An explanation."""

    path: str
    values: tuple[ExplainedValue, ...]
    filters: tuple[ExplainedFilter, ...]
    """In the order in which they judge."""
    summary: str
    """A sentence about all filters together."""


def explained(examined: ExaminedConfiguration) -> ExplainedConfiguration:
    """Explain a configuration."""
    configuration = examined.configuration
    values = list(_values("mirror", MIRROR_OPTIONS, configuration, examined.origins))
    values += [
        ExplainedValue("mirror", COMPAT, word, "file", f"As bandersnatch: {DEVIATIONS[word].theirs}.")
        for word in sorted(configuration.compat)
    ]
    if configuration.s3 is not None:
        values += _values("s3", S3_OPTIONS, configuration.s3, examined.origins, prefix="s3.")
        values += _parameters(configuration.s3)
    order = {name: place for place, name in enumerate(FILTERS)}
    names = sorted(configuration.plugins, key=lambda name: order.get(name, len(order)))
    filters = tuple(_explained(name, configuration.sections) for name in names)
    if own := configuration.sections.get(OWN_SECTION):
        settings = {f"[{OWN_SECTION}] {key}": text for key, text in own.items() if text}
        filters += (ExplainedFilter(OWN_SECTION, None, "Only what these settings permit is mirrored.", settings),)
    return ExplainedConfiguration(str(examined.path), tuple(values), filters, _summary(len(filters)))


def _values(
    section: str, options: tuple[MirrorOption, ...], settings: object, origins: Mapping[str, str], *, prefix: str = ""
) -> Iterator[ExplainedValue]:
    for option in options:
        value = _shown(getattr(settings, option.field))
        shown = HIDDEN if option.secret and value else masked(value)
        origin = origins.get(f"{prefix}{option.field}", DEFAULT)
        yield ExplainedValue(section, option.key, shown, origin, option.meaning)


def _parameters(settings: S3Settings) -> Iterator[ExplainedValue]:
    for name, text in settings.parameters.items():
        shown = HIDDEN if "key" in name.lower() else text
        yield ExplainedValue("s3", f"{S3_PARAMETER}{name}", shown, "file", f"The argument {name} of writing requests.")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _explained(name: str, sections: Sections) -> ExplainedFilter:
    plugin = FILTERS.get(name)
    if plugin is None:
        return ExplainedFilter(name, None, "A plugin that others wrote for bandersnatch.", {})
    settings: dict[str, str] = {}
    for section, key in (*plugin.needs, *plugin.takes):
        keys = sections.get(section, {})
        found = [each for each in keys if each not in SECTIONS[section]] if key == ANY_KEY else [key]
        settings.update({f"[{section}] {each}": keys[each] for each in found if keys.get(each)})
    return ExplainedFilter(name, plugin.stage, plugin.meaning, settings)


def _summary(count: int) -> str:
    if not count:
        return "No filter is enabled: everything that the upstream has is mirrored."
    return (
        "Only what every filter lets pass is mirrored." if count > 1 else "Only what the filter lets pass is mirrored."
    )
