"""Projects of a list as bytes, ordered by name: a million `Listed` would be 300 MB. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pkgindex_core.names import ProjectName
from pkgindex_mirror.sorted_piles import SortedPile
from pkgindex_mirror.syncing.values import Listed

Entry = tuple[ProjectName, str, int | None]
"""Name, spelling of the upstream, and serial."""


class ListedPile:
    """Filled with `add`, then read any number of times: each project once, in the order of names."""

    def __init__(self) -> None:
        self._entries: SortedPile[Entry] = SortedPile(_line, _entry)
        self.count = 0
        """The number of `add`s."""

    def add(self, name: ProjectName, raw: str, serial: int | None) -> None:
        """Add a project. Name and spelling are valid names, so neither contains a blank."""
        self._entries.add((name, raw, serial))
        self.count += 1

    def clear(self) -> None:
        """Forget the projects, but not their number."""
        self._entries.clear()

    def __iter__(self) -> Iterator[Listed]:
        return (Listed(*entry) for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """All projects in order. Of a project that was added twice: its first spelling, and its highest serial."""
        return _once(iter(self._entries))


def _line(entry: Entry) -> str:
    name, raw, serial = entry
    return f"{name} {'' if serial is None else serial} {'' if raw == name else raw}"


def _entry(line: str) -> Entry:
    name, serial, raw = line.split(" ")
    return ProjectName(name), raw or name, int(serial) if serial else None


def _once(entries: Iterator[Entry]) -> Iterator[Entry]:
    last: Entry | None = None
    for entry in entries:
        if last is None:
            last = entry
        elif entry[0] == last[0]:
            if (entry[2] or -1) > (last[2] or -1):
                last = (last[0], last[1], entry[2])
        else:
            yield last
            last = entry
    if last is not None:
        yield last
