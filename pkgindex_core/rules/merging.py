"""Merges the pages of several layers into one: the first layer with a filename wins.

Pure. It works on stored rows and decodes neither bodies nor fragments. The result depends on the layers alone and not on
the order of their rows, so that the ETag, which is computed before the page, names its bytes.

* Filenames are compared exactly, and each is shown once. An entry keeps its layer, because links and access rules follow
  the index of the file. Different files of one version from several layers stand side by side, as in devpi.
* Versions are compared by PEP 440 (1.0 is 1.0.0). Each is listed once, in version order, also when it has no files.
* The first layer that has a display name gives it; the same holds for the project status with its reason.
* PEP 792: a quarantined project offers no distributions. A quarantined layer gives nothing. When the status of the page
  itself is `quarantined`, the page is empty, even if other layers have files. A hosted project that must not follow its
  upstream's status is given one of its own: `active`.
* A page of one layer that is kept in one piece is used unchanged: it was sorted when it was stored.
* A long page of one layer stays sorted by filename: sorting a million files by version takes a gigabyte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

from pkgindex_core.formats.kept_pages import KeptEntries, KeptRows
from pkgindex_core.formats.versions import as_they_come, listed_versions, version_ranks
from pkgindex_core.models import PROJECT_STATUSES, QUARANTINED, Page, PageHead, PageRow, Serial
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols.policies import MergedPage, PageEntry

LONG = 20_000
"""The number of files from which on a page of one mirror is written in order of filename. The limit is the same for learned and for
committed pages, because a learned page has one name and must have one form before and after its commit."""
RANKED = 50_000
"""The most versions of a long page that are sorted. More versions keep the order of their files: sorting them would block all threads."""

_by_filename = attrgetter("filename")


def merge(project: ProjectName, layers: Sequence[tuple[IndexName, str, Page]]) -> MergedPage:
    """Merge pages. `layers` are (index, link prefix, page) of the joining layers, the most important first."""
    heads = [page.head for _, _, page in layers]
    serial = max((page.stamp for _, _, page in layers), default=Serial(0))
    spoken = next((head for head in heads if head.status in PROJECT_STATUSES), None)
    offering = [layer for layer, offers in zip(layers, offered([head.status for head in heads]), strict=True) if offers]

    versions, entries = _laid_over(offering)
    return MergedPage(
        project=project,
        head=PageHead(
            display_name=next((head.display_name for head in heads if head.display_name), ""),
            versions=versions,
            status=spoken.status if spoken else "",
            status_reason=spoken.status_reason if spoken else "",
        ),
        versions=versions,
        entries=entries,
        serial=serial,
    )


def _laid_over(layers: Sequence[tuple[IndexName, str, Page]]) -> tuple[tuple[str, ...], Collection[PageEntry]]:
    """The versions and the files of the offering layers."""
    alone = layers[0] if len(layers) == 1 else None
    if alone is not None and isinstance(alone[2].rows, KeptRows):
        index, prefix, page = alone
        return alone[2].rows.versions(page.head.versions), KeptEntries(prefix, index, alone[2].rows)
    spelled = dict.fromkeys(row.version for _, _, page in layers for row in page.rows)
    spelled |= dict.fromkeys(version for _, _, page in layers for version in page.head.versions)
    if alone is not None and len(alone[2].rows) >= LONG and (alone[2].content or not isinstance(alone[2].rows, tuple)):
        index, prefix, page = alone
        versions = listed_versions(version_ranks(spelled)) if len(spelled) <= RANKED else as_they_come(spelled)
        rows = sorted(page.rows, key=_by_filename) if isinstance(page.rows, tuple) else page.rows
        return versions, LongEntries(prefix, index, rows)
    ranks = version_ranks(spelled)
    return listed_versions(ranks), _entries(layers, ranks)


def offered(statuses: Sequence[str]) -> Sequence[bool]:
    """Whether each layer offers files, by the project's statuses in all layers, the most important first (PEP 792)."""
    spoken = next((status for status in statuses if status in PROJECT_STATUSES), "")
    return [QUARANTINED not in {spoken, status} for status in statuses]


class LongEntries(Collection[PageEntry]):
    """The files of a long page of one layer, in stored order. Entries are made during iteration."""

    def __init__(self, prefix: str, origin: IndexName, rows: Collection[PageRow]) -> None:
        self._prefix = prefix
        self._origin = origin
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[PageEntry]:
        return (PageEntry(self._prefix, self._origin, row) for row in self._rows)

    def __contains__(self, entry: object) -> bool:
        return any(each == entry for each in self)


def _entries(layers: Sequence[tuple[IndexName, str, Page]], ranks: Mapping[str, int]) -> tuple[PageEntry, ...]:
    if len(layers) == 1:
        index, prefix, page = layers[0]
        return tuple([PageEntry(prefix, index, row) for row in _in_order(page.rows, ranks)])
    winners: dict[str, tuple[IndexName, str]] = {}
    rows: list[PageRow] = []
    for index, prefix, page in layers:
        source = (index, prefix)
        for row in page.rows:
            if row.filename not in winners:
                winners[row.filename] = source
                rows.append(row)
    entries = []
    for row in _in_order(rows, ranks):
        index, prefix = winners[row.filename]
        entries.append(PageEntry(prefix, index, row))
    return tuple(entries)


def _in_order(rows: Iterable[PageRow], ranks: Mapping[str, int]) -> Iterable[PageRow]:
    """Sort by version, then filename. Sorting within versions takes a third of the time of sorting by a pair."""
    groups: dict[int, list[PageRow]] = {}
    for row in rows:
        groups.setdefault(ranks[row.version], []).append(row)
    for rank in sorted(groups):
        group = groups[rank]
        if len(group) > 1:
            group.sort(key=_by_filename)
        yield from group
