"""Collects what there is to know about a configuration, with the places of the file."""

from __future__ import annotations

from pkgindex_mirror.bandersnatch.raw_settings import RawSettings
from pkgindex_mirror.bandersnatch.values import ConfigurationNotice, Level


class Noticing:
    """The notices about one file, in the order of its lines once they are sorted."""

    def __init__(self, raw: RawSettings) -> None:
        self.raw = raw
        """The settings whose places are told. Once old names are mapped, those with the new names."""
        self._found: list[tuple[int, ConfigurationNotice]] = []

    def error(self, section: str, key: str, problem: str, advice: str = "") -> None:
        """Notice something with which nothing can be mirrored, or too much would be."""
        self.add("error", section, key, problem, advice)

    def warning(self, section: str, key: str, problem: str, advice: str = "") -> None:
        """Notice something that has an effect that is probably not meant."""
        self.add("warning", section, key, problem, advice)

    def note(self, section: str, key: str, problem: str, advice: str = "") -> None:
        """Notice something that is as it should be, and good to know."""
        self.add("note", section, key, problem, advice)

    def add(self, level: Level, section: str, key: str, problem: str, advice: str = "") -> None:
        """Add a notice. The section and key are those of the file."""
        line = self.raw.lines.get((section, key), self.raw.lines.get((section, ""), 0))
        where = self.raw.where(section, key)
        self._found.append((line, ConfigurationNotice(level, where, problem, advice)))

    @property
    def notices(self) -> tuple[ConfigurationNotice, ...]:
        """Each notice once, in the order of the lines."""
        ordered = sorted(self._found, key=lambda found: found[0])
        return tuple(dict.fromkeys(notice for _, notice in ordered))
