"""Sorted streams of project names. An upstream's 886,000 names are never all in memory.

A stream is an async iterator of batches of rows, sorted by normalised name. A name of several streams comes out once: in the
spelling of the first, with the highest serial of all. Only one batch of each stream is held in memory.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from operator import attrgetter

import msgspec

from pkgindex_core.models import ProjectRow
from pkgindex_core.names import IndexName, ProjectName
from pkgindex_core.protocols import Projects

Rows = Sequence[ProjectRow]
Part = tuple[Rows, ...]
"""The rows of each stream up to one name, in the order of the streams; `united` merges them into one list."""

_FIRST = 256
"""Rows of the first batch of a long read: a reader that shows a part of the names stops behind it."""
_BATCH = 5_000
_name_of = attrgetter("name")


async def held(rows: Iterable[ProjectRow]) -> AsyncIterator[Rows]:
    """A stream of sorted rows that are in memory already."""
    ordered = list(rows)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


async def stored_names(store: Projects, index: IndexName, after: str = "") -> AsyncIterator[Rows]:
    """The projects of an index that are in the store, behind a name."""
    limit = _FIRST
    while True:
        rows = await store.projects(index, after=after, limit=limit)
        if rows:
            yield rows
        if len(rows) < limit:
            return
        after, limit = rows[-1].name, _BATCH


def without(stream: AsyncIterator[Rows], withheld: Callable[[ProjectName], bool] | None) -> AsyncIterator[Rows]:
    """A stream without some of its names; None: the whole stream."""
    return stream if withheld is None else _without(stream, withheld)


async def _without(stream: AsyncIterator[Rows], withheld: Callable[[ProjectName], bool]) -> AsyncIterator[Rows]:
    async for rows in stream:
        kept = [row for row in rows if not withheld(row.name)]
        if kept:
            yield kept
        await asyncio.sleep(0)  # other tasks run between batches, also when whole batches are withheld


async def aligned(streams: Sequence[AsyncIterator[Rows]]) -> AsyncIterator[Part]:
    """Read sorted streams together: every part holds all their rows between two names."""
    fronts: list[Rows] = [[] for _ in streams]
    open_streams = set(range(len(streams)))
    while True:
        for number in sorted(open_streams):
            while not fronts[number] and number in open_streams:
                batch = await anext(streams[number], None)
                if batch is None:
                    open_streams.discard(number)
                else:
                    fronts[number] = batch
        ends = [front[-1].name for front in fronts if front]
        if not ends:
            return
        bound = min(ends)
        part: list[Rows] = []
        for number, front in enumerate(fronts):
            cut = bisect_right(front, bound, key=_name_of)
            part.append(front[:cut])
            fronts[number] = front[cut:]
        yield tuple(part)
        await asyncio.sleep(0)  # streams in memory never wait, and other tasks must run


def united(part: Part) -> Rows:
    """Merge a part into one sorted list with every name once."""
    several = [names for names in part if names]
    if len(several) == 1:
        return several[0]
    found: dict[ProjectName, ProjectRow] = {}
    for names in several:
        for row in names:
            found[row.name] = joined(found.get(row.name), row)
    return sorted(found.values(), key=_name_of)


def joined(first: ProjectRow | None, other: ProjectRow) -> ProjectRow:
    """Merge two rows of the same name, in the spelling of the first."""
    if first is None:
        return other
    return first if first.stamp >= other.stamp else msgspec.structs.replace(first, stamp=other.stamp)


async def json_array(stream: AsyncIterator[Rows]) -> AsyncGenerator[bytes, None]:
    """Write the names of a stream as a JSON array, in pieces."""
    yield b"["
    first = True
    async for rows in stream:
        if rows:
            encoded = msgspec.json.encode([row.name for row in rows])[1:-1]
            yield encoded if first else b"," + encoded
            first = False
    yield b"]"
