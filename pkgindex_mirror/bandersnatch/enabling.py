"""The enabled filters, by the names that they have today, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from msgspec import Struct

from pkgindex_core.installed import entry_points
from pkgindex_core.spelling import suggestion
from pkgindex_mirror.bandersnatch.entries import read_entries
from pkgindex_mirror.bandersnatch.legacy import OLD_PLUGINS
from pkgindex_mirror.bandersnatch.noticing import Noticing
from pkgindex_mirror.bandersnatch.plugins import ANY_KEY, FILTERS

ALL: Final = "all"
BANDERSNATCH: Final = "bandersnatch"
_GROUPS: Final = tuple(
    f"bandersnatch_filter_plugins.v2.{stage}" for stage in ("project", "metadata", "release", "release_file")
)
_PLACE: Final = ("plugins", "enabled")


class InstalledPlugins(Struct, frozen=True):
    """The filters of bandersnatch that others wrote and that are installed here."""

    distributions: Mapping[str, str] = {}
    """The distribution of each, by the name of its entry point."""
    loadable: bool = False
    """Whether bandersnatch is installed, without which they cannot be loaded."""


def installed_plugins() -> InstalledPlugins:
    """Look for filters that others wrote. None is loaded."""
    found = {
        entry.name: entry.distribution
        for group in _GROUPS
        for entry in entry_points(group)
        if not entry.value.startswith("bandersnatch_filter_plugins.")
    }
    return InstalledPlugins(dict(sorted(found.items())), find_spec(BANDERSNATCH) is not None)


def enabled_plugins(noticing: Noticing, compat: frozenset[str], installed: InstalledPlugins) -> tuple[str, ...]:
    """Read `[plugins] enabled`. Each filter is there once, in the order of the file."""
    text = noticing.raw.find(*_PLACE)
    if text is None:
        return ()
    read = read_entries(text, "names", split="one-line-lists" not in compat)
    for line in read.crowded:
        noticing.warning(
            *_PLACE,
            f"{line!r} is read as several filters; bandersnatch takes it for one, which it does not know, and mirrors everything",
            "write each filter on a line of its own, indented",
        )
    names = [_present(name, noticing, compat) for name in read.entries]
    if ALL in names:
        return _all_plugins(noticing, compat, installed)
    if not names:
        noticing.warning(
            *_PLACE, "no filter is enabled", "name filters, or remove the key to mirror everything on purpose"
        )
    return tuple(dict.fromkeys(name for name in names if _is_usable(name, noticing, compat, installed)))


def _present(name: str, noticing: Noticing, compat: frozenset[str]) -> str:
    if name not in OLD_PLUGINS or "legacy-keys" in compat:
        return name
    noticing.warning(
        *_PLACE, f"{name} is called {OLD_PLUGINS[name]} since bandersnatch 5.0", f"write {OLD_PLUGINS[name]}"
    )
    return OLD_PLUGINS[name]


def _is_usable(name: str, noticing: Noticing, compat: frozenset[str], installed: InstalledPlugins) -> bool:
    if name in FILTERS:
        return True
    distribution = installed.distributions.get(name)
    if distribution is not None:
        if installed.loadable:
            return True
        problem = f"{name} is a plugin of {distribution} for bandersnatch, which is not installed here"
        advice = "install bandersnatch beside it"
    else:
        known = [*FILTERS, *installed.distributions]
        problem = f"there is no filter {name!r}"
        advice = f"{suggestion(name, known)} If it is a plugin, install it here"
    if "unknown-plugins" in compat:
        noticing.warning(*_PLACE, f"{problem}; it is ignored, as bandersnatch does", advice)
    else:
        noticing.error(*_PLACE, f"{problem}; without it more would be mirrored than is meant", advice)
    return False


def _all_plugins(noticing: Noticing, compat: frozenset[str], installed: InstalledPlugins) -> tuple[str, ...]:
    """The filters that `all` stands for."""
    if "all-plugins" in compat:
        chosen = [*FILTERS]
    else:
        chosen = [name for name, plugin in FILTERS.items() if not plugin.needs or _has_settings(name, noticing)]
    if installed.loadable:
        chosen += installed.distributions
    noticing.warning(
        *_PLACE,
        f"all enables what is installed and has settings: {', '.join(chosen)}",
        "name the filters that you want",
    )
    return tuple(chosen)


def _has_settings(name: str, noticing: Noticing) -> bool:
    for section, key in FILTERS[name].needs:
        keys = noticing.raw.sections.get(section, {})
        if keys if key == ANY_KEY else noticing.raw.find(section, key) is not None:
            return True
    return False
