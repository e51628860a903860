"""Writes many entries, some thousands at a time, so that memory never holds a page twice. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from io import BytesIO
from itertools import islice
from typing import Final, TypeVar

Entry = TypeVar("Entry")

BATCH: Final = 8192


def written_in_batches(
    start: bytes,
    write: Callable[[bytes, Sequence[Entry]], bytes],
    entries: Collection[Entry],
    *,
    joint: bytes = b"",
    end: bytes,
) -> bytes:
    """Join `start`, the batches that `write(before, some)` makes of the entries, with `joint` between two batches, and `end`."""
    if not entries:
        return start + end
    if len(entries) <= BATCH:
        return write(start, tuple(entries)) + end
    out = BytesIO()
    rest = iter(entries)
    before = start
    while some := tuple(islice(rest, BATCH)):
        out.write(write(before, some))
        before = joint
    out.write(end)
    return out.getvalue()
