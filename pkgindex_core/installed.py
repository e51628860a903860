"""Reads which distributions are installed, in which version, and with which entry points.

The module reads the `.dist-info` and `.egg-info` of the directories on the search path itself, because `importlib.metadata` is a twentieth of
a start. If the search path has anything else, such as a zip file, `importlib.metadata` reads all of it.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from typing import Final

from msgspec import Struct

_INFORMATION: Final = (".dist-info", ".egg-info")


class EntryPoint(Struct, frozen=True):
    """One line of a distribution's `entry_points.txt`."""

    name: str
    value: str
    """`module`, or `module:attribute`."""
    distribution: str
    version: str
    place: str
    """The directory on the search path in which the distribution is."""

    def load(self) -> object:
        """Import the module and return it, or its attribute. Raises what the import raises."""
        module, _, attribute = self.value.partition("[")[0].partition(":")
        return pkgutil.resolve_name(f"{module.strip()}:{attribute.strip()}")


class _Information(Struct, frozen=True):
    """The directory with the metadata of a distribution."""

    place: str
    directory: str

    @property
    def key(self) -> str:
        """The name of the distribution as other distributions of the same name have it."""
        return _key(self.directory.rpartition(".")[0].partition("-")[0])

    def read(self, *names: str) -> str:
        """The text of the first of these files that exists; empty without one."""
        for name in names:
            try:
                with open(os.path.join(self.place, self.directory, name), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - a hundred paths
                    return file.read()
            except (FileNotFoundError, NotADirectoryError):
                continue
        return ""

    def said(self) -> tuple[str, str]:
        """Name and version of the distribution."""
        fields = {"name": "", "version": ""}
        for line in self.read("METADATA", "PKG-INFO").splitlines():
            if not line:  # the description follows
                break
            field, _, value = line.partition(":")
            if field.lower() in fields:
                fields[field.lower()] = value.strip()
        return fields["name"], fields["version"]


@cache
def installed_version(distribution: str) -> str:
    """The version of a distribution; empty for one that is not installed, as when a program runs from a source tree."""
    if not _is_plain():
        from importlib import metadata

        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return ""
    found = (each for each in _distributions() if each.key == _key(distribution))
    return next((each.said()[1] for each in found), "")


def entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group, without those of a distribution that an earlier one of the same name on the search path shadows."""
    if not _is_plain():
        return _those_of_metadata(group)
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for each in _distributions():
        if each.key in seen:
            continue
        seen.add(each.key)
        text = each.read("entry_points.txt")
        if f"[{group}]" in text:
            name, version = each.said()
            found += (EntryPoint(*row, name, version, each.place) for row in _rows(text, group))
    return found


def _those_of_metadata(group: str) -> list[EntryPoint]:
    from importlib import metadata

    found = []
    for entry in metadata.entry_points(group=group):
        name, version, place = "", "", ""
        if entry.dist is not None:
            name, version, place = entry.dist.name, entry.dist.version, str(entry.dist.locate_file(""))
        found.append(EntryPoint(entry.name, entry.value, name, version, place))
    return found


def _is_plain() -> bool:
    """Whether all distributions are in directories on the search path."""
    finders = [each for each in sys.meta_path if hasattr(each, "find_distributions")]
    others = (each for each in sys.path if each.endswith(".egg") or os.path.isfile(each))  # noqa: PTH113 - not worth a path
    return finders == [PathFinder] and not any(others)


def _distributions() -> Iterator[_Information]:
    for place in sys.path:
        try:
            directories = os.listdir(place or ".")  # noqa: PTH208 - names
        except OSError:  # it does not exist, or is not ours to read
            continue
        yield from (_Information(place, each) for each in directories if each.endswith(_INFORMATION))


def _rows(text: str, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _key(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
