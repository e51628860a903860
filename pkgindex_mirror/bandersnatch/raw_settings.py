"""The content of a configuration file before it is understood: texts by section and key, with their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Place = tuple[str, str]
"""Section and key."""


class RawSettings(Struct, frozen=True, kw_only=True):
    """The texts of a file."""

    form: Literal["ini", "toml"]
    sections: Mapping[str, Mapping[str, str]]
    """The keys that stand in a section themselves."""
    inherited: Mapping[str, Mapping[str, str]] = {}
    """By section, the keys that it has from `[DEFAULT]`, as they read there."""
    lines: Mapping[Place, int] = {}
    """The line of each key, and under the key "" that of each section."""
    faults: Mapping[Place, str] = {}
    """Problems of texts with `%`. They matter for the keys that are read."""

    def find(self, section: str, key: str) -> str | None:
        """The text of a key, also of one from `[DEFAULT]`."""
        found = self.sections.get(section, {}).get(key)
        return self.inherited.get(section, {}).get(key) if found is None else found

    def where(self, section: str, key: str = "") -> str:
        """The place of a key or section for messages: `line 7, [mirror] workers`."""
        shown = f"[{section}] {key}" if key else f"[{section}]"
        line = self.lines.get((section, key))
        return f"line {line}, {shown}" if line else shown
