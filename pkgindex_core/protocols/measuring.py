"""The role `Measured`, for sources that count what they do, and the values of their counts.

A `Meter` is one thing that is counted, with its meaning. `Figures` are its values now. Counts begin at 0 when the process starts.
Labels have few values: names of indexes and hosts that are configured, and words of the code. They never have names of projects,
files or users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from pkgindex_core.models import IndexConfig


class Meter(Struct, frozen=True):
    """One thing that is counted or measured."""

    name: str
    """As Prometheus has it: `pkgindex_…`, with the unit; a counter ends in `_total`."""
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str
    """One sentence, with the values of labels that are words of the code."""


class Histogram(Struct, frozen=True):
    """The value of a histogram."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """How many values were at most each bound and above the one before; one more for the values above the last bound."""
    total: float
    """The sum of all values."""


class Figures(Struct, frozen=True):
    """The values of a meter, by the values of its labels."""

    meter: Meter
    values: Mapping[tuple[str, ...], float | Histogram]


@runtime_checkable
class Measured(Protocol):
    """A source that tells its counts."""

    async def figures(self, indexes: Sequence[IndexConfig]) -> Sequence[Figures]:
        """The counts about these indexes, which are of this source, and their upstreams, and those about no index."""
        ...
