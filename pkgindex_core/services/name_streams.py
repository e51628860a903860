"""Sorted streams of project names: an upstream's 886,000 pass by a batch at a time and are never all in memory.

A stream is an async iterator of sorted batches of (normalised, display). What several streams have is said once, in the
spelling of the first. Besides one batch of each stream nothing is held.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from operator import itemgetter

from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import IndexReader

Names = list[tuple[ProjectName, str]]
Part = tuple[Names, ...]
"""What each stream has up to one name, the first stream's first; `united` makes one list of it."""

_BATCH = 5_000
_name_of = itemgetter(0)


async def listed(store: IndexReader, index: IndexName) -> AsyncIterator[Names]:
    """A mirror's upstream project list."""
    async for rows in store.listed_names(index):
        yield [(row.name, row.display_name) for row in rows]


async def held(names: Iterable[tuple[ProjectName, str]]) -> AsyncIterator[Names]:
    """Names that are in memory already, sorted."""
    ordered = list(names)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


async def without(stream: AsyncIterator[Names], withheld: Callable[[ProjectName], bool]) -> AsyncIterator[Names]:
    """A stream less some of its names."""
    async for names in stream:
        kept = [pair for pair in names if not withheld(pair[0])]
        if kept:
            yield kept
        await asyncio.sleep(0)  # a batch of nothing but others' names takes a while, too


async def side_by_side(streams: Sequence[AsyncIterator[Names]]) -> AsyncIterator[Part]:
    """Walk through sorted streams together: every part holds all that they have between two names."""
    fronts: list[Names] = [[] for _ in streams]
    open_streams = set(range(len(streams)))
    while True:
        for number in sorted(open_streams):
            while not fronts[number] and number in open_streams:
                batch = await anext(streams[number], None)
                if batch is None:
                    open_streams.discard(number)
                else:
                    fronts[number] = batch
        ends = [front[-1][0] for front in fronts if front]
        if not ends:
            return
        bound = min(ends)
        part: list[Names] = []
        for number, front in enumerate(fronts):
            cut = bisect_right(front, bound, key=_name_of)
            part.append(front[:cut])
            fronts[number] = front[cut:]
        yield tuple(part)
        await asyncio.sleep(0)  # streams that are in memory never wait for anything


def united(part: Part) -> Names:
    """One sorted list of a part, every name once."""
    several = [names for names in part if names]
    if len(several) == 1:
        return several[0]
    found: dict[ProjectName, str] = {}
    for names in reversed(several):
        found.update(names)
    return sorted(found.items())
