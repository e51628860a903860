"""One page from many layers: the first layer to name a file wins.

Pure bookkeeping over stored rows; no body is decoded and no fragment touched. The result depends on the layers and on
nothing else: not on the order of their rows, so that the ETag that was computed before the page names its bytes.

* A filename is compared exactly and shown once; which layer it came from is kept, because links and access rules follow
  the source index. Different files of one version from several layers stand side by side, as in devpi.
* Versions are compared as PEP 440 says (1.0 is 1.0.0), listed once, with those that have no files, in version order.
* What the page says of its project is the first layer's that says it: display name, and project status with its reason.
* PEP 792: a quarantined project offers no distributions. A layer that is quarantined contributes nothing, and when the
  page's own status is `quarantined` the page is empty, whoever else has files. A hosted project that must not follow
  its upstream's status is given one of its own: `active`.
* A page of one layer that is kept in one piece passes through as it is: it was put in order when it was stored.
* A long page of one layer stays as it is stored, by filename: putting a million files in order of their versions takes a gigabyte.
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
"""Files from which on a page of one mirror is written as it is stored, by filename: no sooner although a difference lies over it, and no
later although it is at hand as a tuple, since a page that is learned has one name, and one form, before and after it is committed."""
RANKED = 50_000
"""Versions of a long page that are put in order; more of them are listed as their files come. Sorting them would stop all threads."""

_by_filename = attrgetter("filename")


def merge(project: ProjectName, layers: Sequence[tuple[IndexName, str, Page]]) -> MergedPage:
    """Lay pages over each other. `layers` are (index, link prefix, page) of those that join, most important first."""
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
    """The versions and the files of the layers that offer anything."""
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
    """Which layers offer anything, by what each of them says of the project, most important first (PEP 792)."""
    spoken = next((status for status in statuses if status in PROJECT_STATUSES), "")
    return [QUARANTINED not in {spoken, status} for status in statuses]


class LongEntries(Collection[PageEntry]):
    """The files of a long page of one layer, in the order in which they are stored, made while they are taken."""

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
    """By version, then filename. Sorting within versions costs a third of sorting everything by a pair."""
    groups: dict[int, list[PageRow]] = {}
    for row in rows:
        groups.setdefault(ranks[row.version], []).append(row)
    for rank in sorted(groups):
        group = groups[rank]
        if len(group) > 1:
            group.sort(key=_by_filename)
        yield from group
