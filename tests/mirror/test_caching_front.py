"""The front of the order gives all entries in order, whatever is added, dropped and forgotten meanwhile."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from pkgindex_core.clock import Timestamp
from pkgindex_core.digests import sha256_of
from pkgindex_mirror.caching.front import Front
from pkgindex_mirror.caching.notes import Entry

ENTRIES: list[Entry] = [(Timestamp(number), sha256_of(str(number).encode())) for number in range(20)]


class Order:
    """Stands for the notes: reads the order in batches of three."""

    def __init__(self) -> None:
        self.entries = list(ENTRIES)
        self.reads = 0

    async def read(self, after: Entry | None) -> Sequence[Entry]:
        self.reads += 1
        start = bisect_right(self.entries, after) if after is not None else 0
        return self.entries[start : start + 3]


async def all_behind(front: Front, last: Entry | None = None) -> list[Entry]:
    found = []
    while (last := await front.after(last)) is not None:
        found.append(last)
    return found


async def test_entries_come_in_order_and_are_read_once() -> None:
    order = Order()
    front = Front(order.read)
    assert await all_behind(front) == ENTRIES
    reads = order.reads
    assert (await front.after(None), await front.after(ENTRIES[4])) == (ENTRIES[0], ENTRIES[5])
    assert order.reads == reads


async def test_what_is_added_among_those_that_were_read_comes_in_its_place() -> None:
    order = Order()
    order.entries = ENTRIES[::2]
    front = Front(order.read)
    await front.after(None)
    for entry in (ENTRIES[1], ENTRIES[15]):
        order.entries = sorted([*order.entries, entry])
        front.add(entry)
    assert await all_behind(front) == order.entries


async def test_a_dropped_entry_comes_no_more() -> None:
    order = Order()
    front = Front(order.read)
    await all_behind(front)
    front.drop(ENTRIES[3])
    front.drop((Timestamp(3), sha256_of(b"other")))
    assert await front.after(ENTRIES[2]) == ENTRIES[4]


async def test_a_front_that_is_cleared_meanwhile_goes_on_behind_the_last_entry() -> None:
    order = Order()
    front = Front(order.read)
    assert await front.after(ENTRIES[9]) == ENTRIES[10]
    front.clear()
    assert await front.after(ENTRIES[10]) == ENTRIES[11]
