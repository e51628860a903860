"""Project lists of mirrors, with the names of hosted indexes among them: compressed in sections, so that an upload changes one of them.

    stored lists  ->  sections of some thousand names, each compressed by itself  ->  one body
                        a section with other hosted names is read and written anew; the others are copied from the former body

A list of 886,000 names takes seconds to read, and a copy of its five megabytes a millisecond. The rows of the stored lists are never all in memory.

A body is in a file that all processes map, or in memory where that cannot be (`list_files`).

The former body is kept under a key that names the stored lists and everything else but the hosted names, so sections with equal hosted names are equal bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from operator import attrgetter

import msgspec
from msgspec import Struct

from pkgindex_core.compression import GZIP_HEADER, GzipPart, gzip_of, gzip_part
from pkgindex_core.digests import Sha256, sha256_of
from pkgindex_core.memory import LARGE, give_back
from pkgindex_core.models import Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import ProjectList, Renderer
from pkgindex_core.services.reading.list_files import KeptList, ListFiles, ListSection
from pkgindex_core.tools.bounded_cache import BoundedCache
from pkgindex_core.tools.name_streams import Part, Rows, aligned, united
from pkgindex_core.tools.single_flight import SingleFlight
from pkgindex_core.tools.workers import in_worker

Read = Callable[[str], AsyncIterator[Rows]]
"""Yields the rows of one stored list behind a name, in batches."""

_name_of = attrgetter("name")
_encode = msgspec.msgpack.Encoder().encode


class LongList(Struct, frozen=True, kw_only=True):
    """The names and the form of a list."""

    key: str
    """Names everything that the list depends on, but for the hosted names."""
    tag: str
    """The ETag, which names these too."""
    renderer: Renderer
    serial: Serial
    hosted: Rows
    """Sorted. They come first: of a name in several lists the first spelling is shown."""
    stored: Sequence[Read]


class LongLists:
    """Makes the bodies of long lists, and keeps the latest of each: in files that processes share (`list_files`), or else in memory."""

    def __init__(self, *, limit: int, workers: Executor, files: ListFiles | None = None) -> None:
        """`limit`: bytes of all bodies. One that is longer is made anew each time. `files`: None: bodies are in the memory of this process."""
        self.kept: BoundedCache[str, KeptList] = BoundedCache(limit, size_of=lambda each: len(each.body))
        self._making: SingleFlight[bytes | memoryview] = SingleFlight()
        self._workers = workers
        self._files = files

    async def body(self, wanted: LongList) -> bytes | memoryview:
        """The list with gzip. It is made once for all who wait for it."""
        if self._files is not None:
            self._files.use(wanted.key)
        kept = self.kept.get(wanted.key)
        if kept is not None and kept.tag == wanted.tag:
            return kept.body
        return await self._making.get(wanted.tag, lambda: self._make(wanted, kept))

    async def _make(self, wanted: LongList, former: KeptList | None) -> bytes | memoryview:
        """Take the list from its file, or make it of the sections there, or anew."""
        if self._files is not None:
            former = await self._files.read(wanted.key, former)
        if former is not None and former.tag == wanted.tag:
            kept = former
        else:
            kept = await self._made(wanted, former)
            if self._files is not None and len(kept.body) <= self.kept.limit:
                meanwhile = await self._files.read(wanted.key, former)
                if meanwhile is not None and meanwhile.tag == wanted.tag:  # another process made it too
                    kept = meanwhile
                else:
                    kept = await self._files.write(wanted.key, kept)
            if former is None and sum(each.part.size for each in kept.sections) >= LARGE:
                await in_worker(self._workers, give_back)
        self.kept.put(wanted.key, kept)
        return kept.body

    async def _made(self, wanted: LongList, former: KeptList | None) -> KeptList:
        sections: list[ListSection] = []
        if former is None:
            async for bound, stored in _divided(aligned([read("") for read in wanted.stored])):
                sections.append(await self._section(wanted, sections, bound, stored))
        else:
            for each in former.sections:
                after = sections[-1].bound or "" if sections else ""
                if each.hosted != _named(_hosted(wanted.hosted, after, each.bound)):
                    stored = tuple([await _between(read, after, each.bound) for read in wanted.stored])
                    each = await self._section(wanted, sections, each.bound, stored)  # noqa: PLW2901 - the same section
                sections.append(each)
        return await in_worker(self._workers, partial(_joined, wanted, sections))

    async def _section(
        self, wanted: LongList, before: Sequence[ListSection], bound: ProjectName | None, stored: Part
    ) -> ListSection:
        hosted = _hosted(wanted.hosted, before[-1].bound or "" if before else "", bound)

        def write() -> GzipPart:
            names = united((hosted, *stored))
            return gzip_part(wanted.renderer.list_part(ProjectList(names=names), first=not before))

        return ListSection(bound, _named(hosted), await in_worker(self._workers, write))


def _joined(wanted: LongList, sections: Sequence[ListSection]) -> KeptList:
    """The body. Its sections do not hold the bytes of a former one."""
    start = gzip_part(wanted.renderer.list_start(wanted.serial))
    end = gzip_part(wanted.renderer.list_end(wanted.serial), is_last=True)
    body, parts = gzip_of([start, *(each.part for each in sections), end])
    return KeptList(
        tag=wanted.tag,
        serial=wanted.serial,
        sections=[ListSection(each.bound, each.hosted, part) for each, part in zip(sections, parts[1:-1], strict=True)],
        first=len(GZIP_HEADER) + len(start.data),
        body=body,
    )


def _hosted(rows: Rows, after: str, bound: ProjectName | None) -> Rows:
    """The rows behind a name, up to another one."""
    first = bisect_right(rows, after, key=_name_of)
    return rows[first:] if bound is None else rows[first : bisect_right(rows, bound, key=_name_of)]


def _named(rows: Rows) -> Sha256:
    return sha256_of(_encode(rows))


async def _divided(parts: AsyncIterator[Part]) -> AsyncIterator[tuple[ProjectName | None, Part]]:
    """The parts with the names that end them; None for the last one, of which there is always one."""
    last: Part = ()
    async for part in parts:
        if last:
            yield max(rows[-1].name for rows in last if rows), last
        last = part
    yield None, last


async def _between(read: Read, after: str, bound: ProjectName | None) -> Rows:
    """The rows of a stored list behind a name, up to another one."""
    found: list[Rows] = []
    async for rows in read(after):
        cut = len(rows) if bound is None else bisect_right(rows, bound, key=_name_of)
        found.append(rows[:cut])
        if cut < len(rows):
            break
    return [row for rows in found for row in rows]
