"""The sections of filters: their lists with one entry a line, and what is wrong with them.

Filters read their settings themselves. Here is noticed what would make one of them fail, or let more pass than is meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from packaging.version import InvalidVersion, Version

from pkgindex_mirror.bandersnatch.entries import is_requirement, read_entries
from pkgindex_mirror.bandersnatch.noticing import Noticing
from pkgindex_mirror.bandersnatch.plugins import (
    ANY_KEY,
    EMPTY_ALLOWS_NOTHING,
    FILTERS,
    OWN_SECTION,
    SECTIONS,
    Content,
    content,
)
from pkgindex_mirror.bandersnatch.setting_kinds import boolean
from pkgindex_mirror.bandersnatch.values import Level, Sections, plain

OTHERS: Final = frozenset({"mirror", "plugins", "s3"})
"""Sections that are no settings of filters."""
_SIZE: Final = re.compile(r"\d+(?:\.\d+)?\s*(?:[bkmgtpezy][a-z]*)?\Z", re.IGNORECASE)
"""The first letter of the unit decides."""


def filter_sections(noticing: Noticing, compat: frozenset[str]) -> Sections:
    """The sections of filters, each list with one entry a line. Unknown sections are as they are in the file."""
    raw = noticing.raw
    found: dict[str, dict[str, str]] = {}
    for section, keys in raw.sections.items():
        if section in OTHERS:
            continue
        known = {key: text for key, text in raw.inherited.get(section, {}).items() if key in SECTIONS.get(section, {})}
        found[section] = {
            key: _normalised(noticing, compat, section, key, text) for key, text in {**known, **keys}.items()
        }
    return Sections(found)


def _normalised(noticing: Noticing, compat: frozenset[str], section: str, key: str, text: str) -> str:
    kind = content(section, key)
    if kind is None:
        return text
    if fault := noticing.raw.faults.get((section, key)):
        noticing.error(section, key, fault, "write %% for a percent sign")
    if kind == "text":
        return text.strip()
    read = read_entries(text, kind, split="one-line-lists" not in compat)
    for line in read.crowded:
        noticing.warning(
            section,
            key,
            f"{line!r} is read as several entries; bandersnatch takes it for one",
            "write each entry on a line of its own, indented",
        )
    entries = read.entries
    if (section, key) == ("allowlist", "packages"):
        entries = tuple(entry for entry in entries if not entry.startswith("-"))
        if entries != read.entries:
            noticing.warning(section, key, "lines that begin with - are ignored", "name files in requirements")
    return "\n".join(entries)


def check_filters(noticing: Noticing, compat: frozenset[str], plugins: tuple[str, ...], sections: Sections) -> None:
    """Notice what is wrong with the settings of filters."""
    for name in plugins:
        if name in FILTERS:
            _check_needs(noticing, compat, name, sections)
    readers = _readers(plugins)
    has_others = not set(plugins) <= set(FILTERS)
    for section, keys in sections.items():
        for key, text in keys.items():
            kind = content(section, key)
            place = (section, key if key in SECTIONS.get(section, {}) else ANY_KEY)
            if kind is None or not text:
                continue
            if place not in readers and section != OWN_SECTION:
                _call_out_idle(noticing, section, key, "note" if has_others else "warning")
            elif kind == "text":
                _check_text(noticing, compat, section, key, text)
            else:
                _check_entries(noticing, kind, section, key, text)
    _check_versions_count(noticing, compat, plugins, sections)
    if {"allowlist_project", "project_requirements"} <= set(plugins):
        noticing.note(
            "plugins",
            "enabled",
            "with allowlist_project and project_requirements a project must be in both lists",
            "to mirror the projects of either list, put both into one",
        )


def _readers(plugins: tuple[str, ...]) -> set[tuple[str, str]]:
    return {place for name in plugins if name in FILTERS for place in (*FILTERS[name].needs, *FILTERS[name].takes)}


def _check_needs(noticing: Noticing, compat: frozenset[str], name: str, sections: Sections) -> None:
    """Notice a filter without any of the settings that it needs."""
    needs = FILTERS[name].needs
    if not needs or any(_given(sections, *place) for place in needs):
        return
    section, key = needs[0]
    place = (section, "" if key == ANY_KEY else key) if section in sections else ("plugins", "enabled")
    missing = f"[{section}]" if key == ANY_KEY else f"[{section}] {key}"
    if name not in EMPTY_ALLOWS_NOTHING:
        noticing.warning(
            *place, f"{name} is enabled, but {missing} is empty: it lets everything pass", f"fill {missing}"
        )
    elif "empty-allowlist" in compat:
        effect = "drops every release" if FILTERS[name].stage == "release" else "lets everything pass"
        noticing.warning(*place, f"{name} is enabled, but {missing} is empty: it {effect}, as in bandersnatch")
    else:
        noticing.error(
            *place,
            f"{name} is enabled, but {missing} is empty, so that nothing is allowed",
            f"fill {missing}; to mirror everything, do not enable {name}",
        )


def _given(sections: Sections, section: str, key: str) -> bool:
    keys = sections.get(section, {})
    if key == ANY_KEY:
        return any(text for name, text in keys.items() if name not in SECTIONS[section])
    return bool(keys.get(key))


def _call_out_idle(noticing: Noticing, section: str, key: str, level: Level) -> None:
    names = [
        name
        for name, plugin in FILTERS.items()
        if (section, key) in plugin.needs or (section, ANY_KEY) in plugin.needs or (section, key) in plugin.takes
    ]
    noticing.add(
        level,
        section,
        key,
        "this has no effect: no enabled filter reads it",
        f"enable {' or '.join(names)} in [plugins], or remove it",
    )


def _check_text(noticing: Noticing, compat: frozenset[str], section: str, key: str, text: str) -> None:
    check = _TEXTS.get((section, key))
    if check is None:
        return
    problem = check(text)
    if not problem:
        return
    if "ignored-filters" in compat:
        noticing.warning(section, key, f"{problem}; the filter lets everything pass, as in bandersnatch")
    else:
        noticing.error(section, key, f"{problem}; without it more would be mirrored than is meant")


def _check_versions_count(
    noticing: Noticing, compat: frozenset[str], plugins: tuple[str, ...], sections: Sections
) -> None:
    section = "versions_count_project_metadata"
    least, most = sections.text(section, "min_versions"), sections.text(section, "max_versions")
    fewest, top = plain(least), plain(most)
    if section in plugins and isinstance(fewest, int) and isinstance(top, int) and fewest > top > 0:
        level: Level = "warning" if "ignored-filters" in compat else "error"
        problem = f"at least {least} and at most {most} releases contradict each other"
        noticing.add(level, section, "max_versions", problem, "let min_versions be the smaller one")


def _check_entries(noticing: Noticing, kind: Content, section: str, key: str, text: str) -> None:
    for entry in text.split("\n"):
        for problem in _ENTRIES.get(kind, _nothing)(entry):
            noticing.error(section, key, problem)


def _nothing(_entry: str) -> Iterator[str]:
    yield from ()


def _requirement(entry: str) -> Iterator[str]:
    if not is_requirement(entry):
        yield f"{entry!r} is no requirement such as demo or demo>=1.0"


def _pattern(entry: str) -> Iterator[str]:
    try:
        re.compile(entry)
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{entry!r} is no regular expression: {error}"


def _version(entry: str) -> Iterator[str]:
    try:
        Version(entry)
    except InvalidVersion:
        yield f"{entry!r} is no version"


_ENTRIES: Final[Mapping[Content, Callable[[str], Iterator[str]]]] = {
    "requirements": _requirement,
    "name patterns": _pattern,
    "patterns": _pattern,
    "versions": _version,
}


def _count(text: str) -> str:
    return "" if text.isascii() and text.isdigit() else f"{text!r} is no whole number"


def _size(text: str) -> str:
    return "" if _SIZE.match(text) else f"{text!r} is no size such as 500M or 2 GiB"


def _truth(text: str) -> str:
    try:
        boolean(text)
    except ValueError as error:
        return str(error)
    return ""


def _order(text: str) -> str:
    return "" if text in {"version", "time"} else f"{text!r} is neither version nor time"


_TEXTS: Final[Mapping[tuple[str, str], Callable[[str], str]]] = {
    ("latest_release", "keep"): _count,
    ("latest_release", "sort_by"): _order,
    ("regex_project_metadata", "search"): _truth,
    ("regex_release_file_metadata", "search"): _truth,
    ("size_project_metadata", "max_package_size"): _size,
    ("versions_count_project_metadata", "min_versions"): _count,
    ("versions_count_project_metadata", "max_versions"): _count,
}
