"""The settings from which the filters of one configuration are made."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

from pkgindex_core.errors import Refused
from pkgindex_mirror.filters.bandersnatch.compatibility import EMPTY_ALLOWLIST, IGNORED_FILTERS
from pkgindex_mirror.filters.bandersnatch.sections import Settings


class PluginSettings:
    """The sections of a configuration, and what is switched back to bandersnatch's way."""

    def __init__(self, sections: Settings, switches: frozenset[str], base: Path) -> None:
        """`base` is the directory to which paths in the sections are relative."""
        self.sections = sections
        self.switches = switches
        self.base = base

    @property
    def lenient(self) -> bool:
        """Whether settings that cannot be read are ignored, as bandersnatch does."""
        return IGNORED_FILTERS in self.switches

    def text(self, section: str, key: str) -> str | None:
        return self.sections.get(section, {}).get(key)

    def has(self, section: str, key: str) -> bool:
        """Whether there is a section, or with `key` a key that is not empty."""
        return bool((self.text(section, key) or "").strip() if key else self.sections.get(section))

    def check_not_empty(self, word: str, entries: Sized, place: str) -> None:
        """Refuse an allowlist without entries."""
        if len(entries) == 0 and EMPTY_ALLOWLIST not in self.switches:
            raise Refused(
                f"the filter {word} is enabled, but {place} names no project",
                hint="name projects, or disable the filter to mirror all of them",
            )
