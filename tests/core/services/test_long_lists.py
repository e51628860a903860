"""A list that is made of sections is the list that is written at once, however it came to be, and what did not change is not read again."""

from __future__ import annotations

import gc
import gzip
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkgindex_core.compression import compress, decompress, gzip_of, gzip_part, recoded
from pkgindex_core.formats.html_page import HtmlRenderer
from pkgindex_core.formats.json_page import JsonRenderer
from pkgindex_core.models import ProjectRow, Serial
from pkgindex_core.names import ProjectName
from pkgindex_core.protocols import ProjectList, Renderer
from pkgindex_core.services.reading.long_lists import LongList, LongLists, Read
from pkgindex_core.tools.name_streams import Rows, united

_LIMIT = 1_000_000
_NAMES = [ProjectName(f"p{number:03}") for number in range(120)]


@pytest.fixture(scope="module")
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class Stored:
    """A stored list, in batches of seven, which knows what was read of it."""

    def __init__(self, names: Sequence[ProjectName], stamp: int) -> None:
        self.rows = [ProjectRow(name, f"Stored-{name}", Serial(stamp)) for name in sorted(names)]
        self.read_rows = 0

    async def read(self, after: str) -> AsyncIterator[Rows]:
        rows = [row for row in self.rows if row.name > after]
        for start in range(0, len(rows), 7):
            self.read_rows += len(rows[start : start + 7])
            yield rows[start : start + 7]


def hosted(names: Sequence[ProjectName], stamp: int = 9) -> Rows:
    return [ProjectRow(name, f"Ours-{name}", Serial(stamp)) for name in sorted(names)]


def wanted(ours: Rows, stored: Sequence[Read], renderer: Renderer, *, tag: str) -> LongList:
    return LongList(key="all", tag=tag, renderer=renderer, serial=Serial(7), hosted=ours, stored=stored)


def at_once(ours: Rows, stored: Sequence[Stored], renderer: Renderer) -> bytes:
    part = ProjectList(names=united((ours, *(each.rows for each in stored))))
    serial = Serial(7)
    return renderer.list_start(serial) + renderer.list_part(part, first=True) + renderer.list_end(serial)


@pytest.mark.parametrize("renderer", [JsonRenderer(), HtmlRenderer()], ids=["JSON", "HTML"])
@pytest.mark.parametrize("seed", range(8))
async def test_sections_make_the_list_that_is_written_at_once(
    workers: ThreadPoolExecutor, renderer: Renderer, seed: int
) -> None:
    rng = random.Random(seed)
    stored = [Stored(rng.sample(_NAMES, rng.choice([0, 1, 40, 90])), stamp) for stamp in range(rng.randrange(1, 4))]
    lists = LongLists(limit=_LIMIT, workers=workers)
    ours: set[ProjectName] = set(rng.sample(_NAMES, rng.choice([0, 3])))
    for turn in range(12):
        ours ^= set(rng.sample([ProjectName("a"), *_NAMES, ProjectName("z")], rng.randrange(3)))
        rows = hosted([*ours], stamp=rng.randrange(1, 4))
        body = await lists.body(wanted(rows, [each.read for each in stored], renderer, tag=f"{turn}"))
        plain = at_once(rows, stored, renderer)
        assert zlib.decompress(body, 31) == gzip.decompress(body) == decompress(body, "gzip") == plain
        assert decompress(recoded(body, "zstd"), "zstd") == plain


async def test_an_upload_reads_one_section(workers: ThreadPoolExecutor) -> None:
    stored, lists = Stored(_NAMES, 1), LongLists(limit=_LIMIT, workers=workers)
    first = await lists.body(wanted(hosted([]), [stored.read], JsonRenderer(), tag="1"))
    assert stored.read_rows == len(_NAMES)
    stored.read_rows = 0
    second = await lists.body(wanted(hosted([ProjectName("p050x")]), [stored.read], JsonRenderer(), tag="2"))
    assert stored.read_rows <= 14
    assert b"p050x" in gzip.decompress(second)
    assert b"p050x" not in gzip.decompress(first)
    stored.read_rows = 0
    assert await lists.body(wanted(hosted([]), [stored.read], JsonRenderer(), tag="2")) == second
    assert not stored.read_rows


async def test_no_more_memory_is_kept_than_is_counted(workers: ThreadPoolExecutor) -> None:
    """Of many hosted names only the compressed list stays."""
    stored, lists = Stored(_NAMES, 1), LongLists(limit=_LIMIT, workers=workers)
    gc.collect()
    tracemalloc.start()
    try:
        rows = hosted([ProjectName(f"h{number:05}") for number in range(5000)])
        await lists.body(wanted(rows, [stored.read], JsonRenderer(), tag="1"))
        del rows
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        counted = lists.kept.size
        lists.kept.drop("all")
        gc.collect()
        assert 0 < before - tracemalloc.get_traced_memory()[0] < counted + 30_000  # and the sections themselves
    finally:
        tracemalloc.stop()


async def test_a_list_that_is_too_long_is_not_kept(workers: ThreadPoolExecutor) -> None:
    stored, lists = Stored(_NAMES, 1), LongLists(limit=100, workers=workers)
    for turn in (1, 2):
        await lists.body(wanted(hosted([]), [stored.read], JsonRenderer(), tag="1"))
        assert stored.read_rows == turn * len(_NAMES)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5))
def test_pieces_of_gzip_are_one_member(pieces: list[bytes]) -> None:
    body, views = gzip_of([gzip_part(each, is_last=place == len(pieces) - 1) for place, each in enumerate(pieces)])
    reader = zlib.decompressobj(31)
    assert reader.decompress(body) == b"".join(pieces)
    assert reader.eof
    assert not reader.unused_data
    again, _ = gzip_of(views)
    assert again == body
    assert decompress(recoded(compress(b"".join(pieces), "gzip"), "identity"), "identity") == b"".join(pieces)
