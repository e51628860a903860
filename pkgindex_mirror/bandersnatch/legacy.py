"""Keys, sections and plugins of old versions of bandersnatch, and what they are called today."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from pkgindex_mirror.bandersnatch.entries import read_entries
from pkgindex_mirror.bandersnatch.noticing import Noticing
from pkgindex_mirror.bandersnatch.raw_settings import Place, RawSettings
from pkgindex_mirror.bandersnatch.setting_kinds import boolean

OLD_SECTIONS: Final = {"whitelist": "allowlist", "blacklist": "blocklist"}
"""Renamed in 5.0."""
OLD_PLUGINS: Final = {
    "whitelist_project": "allowlist_project",
    "whitelist_release": "allowlist_release",
    "blacklist_project": "blocklist_project",
    "blacklist_release": "blocklist_release",
}
"""Renamed in 5.0."""
PACKAGE_TYPES: Final = ("regex_release_file_metadata", "any:release_file.packagetype")
"""The setting that took the place of `packagetype`."""
RETIRED: Final = {
    "api-method": "a run asks the upstream in the cheapest way that it offers",
    "delete-packages": "say `removed = delete` or `removed = keep`",
    "packagetype": f"enable {PACKAGE_TYPES[0]}, and say in its section {PACKAGE_TYPES[1]} = …",
}
"""Keys of `[mirror]` that bandersnatch does not have any more, with advice."""
RETIRED_SECTIONS: Final = {
    "statistics": "bandersnatch has no statistics since 2.0",
    "swift": "bandersnatch has no Swift storage since 7.0",
}
"""Sections that have no effect any more."""


def modernised(raw: RawSettings, noticing: Noticing, *, ignored: bool) -> RawSettings:
    """The settings under their names of today. With `ignored` old names have no effect, as in bandersnatch, and are called out."""
    renaming = _Renaming(raw, noticing)
    if ignored:
        renaming.call_out()
        return replace(raw, sections=renaming.sections)
    renaming.rename_sections()
    renaming.map_mirror_keys()
    return replace(raw, sections=renaming.sections, lines=renaming.lines, faults=renaming.faults)


class _Renaming:
    """The settings while they get new names. A setting that has its new name too is left as it is."""

    def __init__(self, raw: RawSettings, noticing: Noticing) -> None:
        self.sections = {section: dict(keys) for section, keys in raw.sections.items()}
        self.lines = dict(raw.lines)
        self.faults = dict(raw.faults)
        self._noticing = noticing

    def call_out(self) -> None:
        """Take old sections and keys out, each with a warning."""
        for old, new in OLD_SECTIONS.items():
            if self.sections.pop(old, None) is not None:
                self._noticing.warning(
                    old, "", f"the section has no effect since its name is [{new}]", f"write [{new}]"
                )
        mirror = self.sections.get("mirror", {})
        for key, advice in RETIRED.items():
            if mirror.pop(key, None) is not None:
                self._noticing.warning("mirror", key, "bandersnatch does not have this key any more", advice)

    def rename_sections(self) -> None:
        for old, new in OLD_SECTIONS.items():
            if old not in self.sections:
                continue
            self._noticing.warning(old, "", f"the section is called [{new}] since bandersnatch 5.0", f"write [{new}]")
            self.lines.setdefault((new, ""), self.lines.get((old, ""), 0))
            for key in list(self.sections[old]):
                if key == "plugins":
                    self._move((old, key), ("plugins", "enabled"))
                else:
                    self._move((old, key), (new, key))
            self.sections.pop(old)

    def map_mirror_keys(self) -> None:
        mirror = self.sections.get("mirror", {})
        for key, advice in RETIRED.items():
            if key not in mirror:
                continue
            value = mirror.pop(key)
            self._noticing.warning("mirror", key, "bandersnatch does not have this key any more", advice)
            if key == "delete-packages":
                self._map_deleting(value)
            elif key == "packagetype":
                self._map_package_types(value)

    def _map_deleting(self, value: str) -> None:
        try:
            deletes = boolean(value.strip())
        except ValueError as error:
            self._noticing.error("mirror", "delete-packages", str(error))
            return
        self.sections["mirror"].setdefault("removed", "delete" if deletes else "keep")
        self.lines.setdefault(("mirror", "removed"), self.lines.get(("mirror", "delete-packages"), 0))

    def _map_package_types(self, value: str) -> None:
        section, key = PACKAGE_TYPES
        types = read_entries(value, "words").entries
        if types:
            self.sections.setdefault(section, {}).setdefault(key, "\n".join(f"{each}$" for each in types))
            self.lines.setdefault((section, key), self.lines.get(("mirror", "packagetype"), 0))
            plugins = self.sections.setdefault("plugins", {})
            enabled = read_entries(plugins.get("enabled", ""), "words").entries
            if section not in enabled and "all" not in enabled:
                plugins["enabled"] = f"{plugins.get('enabled', '')}\n{section}"

    def _move(self, old: Place, new: Place) -> None:
        target = self.sections.setdefault(new[0], {})
        if new[1] in target:
            self._noticing.warning(*old, f"this has no effect beside [{new[0]}] {new[1]}", "remove it")
            return
        target[new[1]] = self.sections[old[0]][old[1]]
        self.lines[new] = self.lines.get(old, 0)
        if old in self.faults:
            self.faults[new] = self.faults[old]
