"""The figures of the book of advisories for `/+metrics`. They are those of the machine: all its processes share the book."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.protocols.measuring import Figures, Meter

if TYPE_CHECKING:
    from pkgindex_core.protocols.advisories import FeedState

KNOWN: Final = Meter("pkgindex_advisories", "gauge", (), "Advisories that were taken in from the feed.")
TAKEN: Final = Meter(
    "pkgindex_advisories_taken_timestamp_seconds", "gauge", (), "When the feed was taken in last; 0: it never was."
)
CHECKED: Final = Meter(
    "pkgindex_advisories_checked_timestamp_seconds",
    "gauge",
    (),
    "When the feed last said that nothing is newer; 0: never. An alarm on its age finds a feed that fails.",
)
MISSED: Final = Meter(
    "pkgindex_advisories_missed_indexes",
    "gauge",
    (),
    "Indexes whose policies about advisories let everything through, since none were taken in yet.",
)
METERS: Final = (KNOWN, TAKEN, CHECKED, MISSED)


def advisory_figures(state: FeedState, missed: int) -> Sequence[Figures]:
    """The figures of this state, and of the number of indexes that miss advisories."""
    values = (state.records, (state.taken or 0) / 1_000_000, (state.checked or 0) / 1_000_000, missed)
    return [Figures(meter, {(): float(value)}) for meter, value in zip(METERS, values, strict=True)]
