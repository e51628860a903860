"""Counts what mirrors do, by index: what requests got, and what flights found.

Plain numbers, changed from one event loop. Counting a request for a page that is current is one look-up and one addition.
`measuring` gives them names and meanings, and `upstream_counts` are those of upstreams.
"""

from __future__ import annotations

from typing import Final

from pkgindex_core.clock import Timestamp
from pkgindex_core.names import IndexName
from pkgindex_core.protocols import Freshness
from pkgindex_mirror.readthrough.checks import GONE
from pkgindex_mirror.readthrough.outcomes import ASKED_AGAIN, UNANSWERED

STALE: Final = {ASKED_AGAIN: "asked_again", GONE: "gone", UNANSWERED: "unanswered"}
"""The word for each reason of a stale page that is not a failure."""


class IndexCounts:
    """The counts of one mirror."""

    __slots__ = (
        *("hit", "negative", "miss", "refreshed", "absent", "unknown"),
        *("stale", "asked", "fetched", "sidecars", "answered"),
    )

    def __init__(self) -> None:
        self.hit = self.negative = self.miss = self.refreshed = self.absent = self.unknown = 0
        self.stale = dict.fromkeys((*STALE.values(), "failed"), 0)
        self.asked = dict.fromkeys(("new", "unchanged", "absent", "failed"), 0)
        self.fetched = dict.fromkeys(("stored", "streamed", "failed", "joined"), 0)
        self.sidecars = dict.fromkeys(("stored", "failed"), 0)
        self.answered: Timestamp | None = None
        """When the upstream last told what it has, or that it has nothing."""

    def told(self, freshness: Freshness, *, asked: bool, holds: bool) -> None:
        """Count what a request got. `holds`: a page was stored before. Those that are current and were not asked are hits already."""
        if freshness.state == "stale":
            self.stale[STALE.get(freshness.reason, "failed")] += 1
        elif not asked:
            return
        elif freshness.state == "absent":
            self.absent += 1
        elif holds:
            self.refreshed += 1
        else:
            self.miss += 1


class IndexesCounts(dict[IndexName, IndexCounts]):
    """The counts of all mirrors that were asked for anything. A look-up makes them, so it is for indexes that exist."""

    def __missing__(self, index: IndexName) -> IndexCounts:
        counts = self[index] = IndexCounts()
        return counts
