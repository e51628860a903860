"""The words for what these filters do on purpose differently from bandersnatch. Each word switches back to bandersnatch's way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

EMPTY_ALLOWLIST: Final = "empty-allowlist"
"""An allowlist without entries is an error. bandersnatch allows everything, or with a filter of releases nothing."""
UNKNOWN_PLUGINS: Final = "unknown-plugins"
"""An enabled filter that is not known is an error. bandersnatch ignores it."""
IGNORED_FILTERS: Final = "ignored-filters"
"""A setting that cannot be read is an error. bandersnatch ignores the setting, or the whole filter."""
ALL_PLUGINS: Final = "all-plugins"
"""`all` enables the filters that have settings, and `prerelease_release`. bandersnatch enables those without settings too."""
RAW_NAMES: Final = "raw-names"
"""Names are compared normalised, and patterns with both spellings. bandersnatch uses the upstream's spelling."""
INVALID_VERSIONS: Final = "invalid-versions"
"""`latest_release` takes unparsable versions for the oldest, and an unreadable `requires_python` permits all. bandersnatch leaves out
the one (before 8.1: fails at it) and fails at the other."""
NONE_NULL: Final = "none-null"
"""The tag `none` obeys `match-null`. bandersnatch rejects what has no such entry."""
REQUIREMENT_FILES: Final = "requirement-files"
"""Requirement files may have hashes, continued lines, `-r` and `-c`. bandersnatch fails at hashes and ignores lines with `-`."""
PAGES: Final = "pages"
"""Package types, versions and the newest version are read from the page, if that has them. bandersnatch asks for the JSON document."""

DEVIATIONS: Final = frozenset(
    {
        EMPTY_ALLOWLIST,
        UNKNOWN_PLUGINS,
        IGNORED_FILTERS,
        ALL_PLUGINS,
        RAW_NAMES,
        INVALID_VERSIONS,
        NONE_NULL,
        REQUIREMENT_FILES,
        PAGES,
    }
)


def switched_back(strict: bool | Collection[str]) -> frozenset[str]:
    """The words that are switched back: all with True, none with False. Words for other parts of a mirror are left out."""
    if isinstance(strict, bool):
        return DEVIATIONS if strict else frozenset()
    return DEVIATIONS.intersection(strict)
