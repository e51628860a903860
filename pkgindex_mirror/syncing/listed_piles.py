"""Projects of a list as bytes, ordered by name: a million `Listed` would be 300 MB. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pkgindex_core.names import ProjectName
from pkgindex_mirror.documents.sorted_piles import SortedPile
from pkgindex_mirror.syncing.values import Listed

Entry = tuple[ProjectName, str, int | None]
"""Name, spelling of the upstream, and serial."""


class ListedPile:
    """Filled with `add` and `extend`, then read any number of times: each project once, in the order of names."""

    def __init__(self) -> None:
        self._entries: SortedPile[Entry] = SortedPile(Entry)  # an empty spelling is that of the name
        self.count = 0
        """The number of projects that were added."""

    def add(self, name: ProjectName, raw: str, serial: int | None) -> None:
        """Add a project."""
        self._entries.add((name, "" if raw == name else raw, serial))
        self.count += 1

    def extend(self, names: list[ProjectName], raws: list[str], serials: Iterable[int | None]) -> None:
        """Add projects: the items at one place belong together."""
        spelled = ["" if raw == name else raw for name, raw in zip(names, raws, strict=True)]
        self._entries.extend(zip(names, spelled, serials, strict=True))
        self.count += len(names)

    def clear(self) -> None:
        """Forget the projects, but not their number."""
        self._entries.clear()

    def __iter__(self) -> Iterator[Listed]:
        return (Listed(*entry) for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """All projects in order. Of a project that was added twice: its first spelling, and its highest serial."""
        entries = iter(self._entries)
        last = next(entries, None)
        if last is None:
            return
        for entry in entries:
            if entry[0] != last[0]:
                yield (last if last[1] else (last[0], last[0], last[2]))
                last = entry
            elif (entry[2] or -1) > (last[2] or -1):
                last = (last[0], last[1], entry[2])
        yield (last if last[1] else (last[0], last[0], last[2]))
