"""The figures of the scrub for `/+metrics`. They are those of the store: all servers over it tell the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pkgindex_core.protocols.measuring import Figures, Meter

if TYPE_CHECKING:
    from pkgindex_core.services.administering.scrub_state import ScrubState

DAMAGED: Final = Meter(
    "pkgindex_scrub_damaged_files",
    "gauge",
    (),
    "Files that the scrub found damaged, and that are not whole again. Every server over the store tells the same.",
)
REPAIRED: Final = Meter(
    "pkgindex_scrub_repaired_files", "gauge", (), "Files that the last round of the scrub found damaged, and repaired."
)
READ: Final = Meter("pkgindex_scrub_read_bytes", "gauge", (), "Bytes that the last round of the scrub has read so far.")
ENDED: Final = Meter(
    "pkgindex_scrub_ended_timestamp_seconds",
    "gauge",
    (),
    "When the last whole round of the scrub ended; 0: there was none yet.",
)
METERS: Final = (DAMAGED, REPAIRED, READ, ENDED)


def scrub_figures(state: ScrubState) -> Sequence[Figures]:
    """The figures of this state."""
    values = (len(state.damaged), state.repaired, state.bytes, state.ended / 1_000_000)
    return [Figures(meter, {(): float(value)}) for meter, value in zip(METERS, values, strict=True)]
