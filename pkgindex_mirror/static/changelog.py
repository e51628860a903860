"""The pages of the changelog: the files of a tree in the order in which they were uploaded, a fixed number on each page. Pure.

Pages are counted from the oldest file on. A new file then changes the last page alone, and each page stays where it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from html import escape
from itertools import chain
from typing import Final

from pkgindex_core.clock import Timestamp, to_rfc3339
from pkgindex_mirror.static.entries import CatalogueEntry, ListedChange

CHANGES_A_PAGE: Final = 1000


def moved(
    pairs: Iterable[tuple[CatalogueEntry | None, CatalogueEntry | None]],
) -> tuple[set[ListedChange], set[ListedChange]]:
    """The files that left the changelog, and those that joined it. A pair has the former and the new entry of a project."""
    left: set[ListedChange] = set()
    joined: set[ListedChange] = set()
    for before, after in pairs:
        had = {*before.changes} if before is not None else set()
        has = {*after.changes} if after is not None else set()
        left |= had - has
        joined |= has - had
    return left, joined


def first_moved(
    starts: Sequence[ListedChange], left: Collection[ListedChange], joined: Collection[ListedChange]
) -> int:
    """The first page that changes, counted from 0. `starts` are the oldest files of the pages."""
    first = min((bisect_right(starts, each) for each in chain(left, joined)), default=len(starts)) - 1
    # When files leave, the page before theirs may become the last one. Then its link to a newer page goes away.
    return max(0, first - 1 if left else first)


def in_pages(changes: Iterable[ListedChange]) -> list[list[ListedChange]]:
    """Files by page, the oldest first."""
    ordered = sorted(changes)
    return [ordered[start : start + CHANGES_A_PAGE] for start in range(0, len(ordered), CHANGES_A_PAGE)]


def change_rows(page: Iterable[ListedChange]) -> bytes:
    """The rows of a page, the newest file first."""
    rows = [
        f'<tr><td>{_moment(each.uploaded)}</td><td><a href="../simple/{each.project}/index.html">{each.project}</a></td>'
        f"<td>{escape(each.version)}</td><td>{escape(each.filename)}</td><td>{escape(each.uploader)}</td></tr>\n"
        for each in page
    ]
    return "".join(rows[::-1]).encode("utf-8", "replace")


def _moment(uploaded: int) -> str:
    return to_rfc3339(Timestamp(uploaded))[:19].replace("T", " ") if uploaded else ""
